"""The state of an ALSDGC scaler as plain numbers, and back.

Acts on: nothing.
"""

from dataclasses import asdict
from typing import Any

from regrad.scaling.controller import Clip, Controller
from regrad.scaling.order import OrderOfUse, count_entries
from regrad.scaling.variants import Rung, Settings
from regrad.transforms.clipping import Moments


def saved(variant: str, control: Controller, order: OrderOfUse) -> dict[str, Any]:
    """Return a controller's numbers; the hyperparameters are not part of them."""
    for number, optimizer in order:  # a group may have been added since
        control.clips[number].entries = count_entries(optimizer)
    return {
        "variant": variant,
        "scale": control.scale,
        "multiple": control.multiple,
        "good_steps": control.good_steps,
        "losses": list(control.losses),
        "optimizers": [asdict(clip) | {"norms": list(clip.norms)} for clip in control.clips],
    }


def restored(state: dict[str, Any], rung: Rung, settings: Settings) -> Controller:
    """Return a controller with the numbers that :func:`saved` returned."""
    clips = [Clip(**entry | {"norms": Moments(*entry["norms"])}) for entry in state["optimizers"]]
    numbers = {name: state[name] for name in ("scale", "multiple", "good_steps")}
    return Controller(rung, settings, losses=Moments(*state["losses"]), clips=clips, **numbers)
