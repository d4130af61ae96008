"""The arms of the study of ALSDGC: what scales or clips, around which optimizer, and how figures show it."""

from dataclasses import dataclass

from pydantic import JsonValue

from regrad.report.palette import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, YELLOW
from regrad.report.words import LABELS
from regrad.results import Part
from regrad.studies.study import Arm


@dataclass(frozen=True)
class ScaledArm(Arm):
    """An arm of this study."""

    # ``"rung"`` for ALSDGC from printed to repaired; ``"rival"`` for other clippers and optimizers; ``"constant"`` for
    # fixed loss scales; else empty
    family: str = ""
    # the fixed norm that it clips at; None for every other arm. The best of these is a control.
    max_norm: float | None = None
    scaler: Part | None = None  # its loss scaler or clipper; None for an arm that has none
    warms_up: bool = False  # whether the scaler also takes the preset's ``warmup_steps``
    optimizer: str = ""  # a whole optimizer of its own; empty for the task's
    center: float = 0.0  # learning rate at the middle of its own optimizer's grid
    # what the middle of the task's grid is multiplied by under SGD, whose steps shrink with clipping and grow with V0's
    # scale
    factor: float = 1.0
    lr_factor: float = 1.0  # what its learning rate is multiplied by where none is tuned (part ``adam``)

    def scaler_part(self, warmup: int) -> Part | None:
        """Return the scaler as a spec of a preset names it, whose averages need ``warmup`` steps."""
        if self.max_norm is not None:
            return clipped("fixed", max_norm=self.max_norm)
        if self.scaler is None or not self.warms_up:
            return self.scaler
        return Part(name=self.scaler.name, options=self.scaler.options | {"warmup_steps": warmup})


def alsdgc(variant: str, **options: JsonValue) -> Part:
    return Part(name="alsdgc", options={"variant": variant, **options})


def clipped(clipper: str = "", **options: JsonValue) -> Part:
    return Part(name="clipped", options={"clipper": clipper, **options} if clipper else options)


# fmt: off
TABLE = (
    ScaledArm("none", "no clipping", GREY, "d"),
    ScaledArm("lr-x2", "learning rate x 2", BLACK, "*", lr_factor=2.0),
    ScaledArm("clip-0.1", "norm 0.1", GREEN, "v", max_norm=0.1, factor=8.0),
    ScaledArm("clip-0.3", "norm 0.3", GREEN, "^", max_norm=0.3, factor=4.0),
    ScaledArm("clip-1", "norm 1", GREEN, "s", max_norm=1.0, factor=2.0),
    ScaledArm("clip-3", "norm 3", GREEN, "<", max_norm=3.0),
    ScaledArm("clip-10", "norm 10", GREEN, ">", max_norm=10.0),
    ScaledArm("V0", LABELS["V0"], RED, "o", family="rung", scaler=alsdgc("V0"), warms_up=True, factor=1 / 64),
    ScaledArm("V1", LABELS["V1"], ORANGE, "v", family="rung", scaler=alsdgc("V1"), warms_up=True),
    ScaledArm("V2", LABELS["V2"], YELLOW, "^", family="rung", scaler=alsdgc("V2"), warms_up=True),
    ScaledArm("V3", LABELS["V3"], SKY, "<", family="rung", scaler=alsdgc("V3"), warms_up=True),
    ScaledArm("V4", LABELS["V4"], BLUE, "D", family="rung", scaler=alsdgc("V4"), warms_up=True),
    # All of the machinery, with scale and threshold where they start.
    ScaledArm("placebo", "frozen", PINK, "X", factor=2.0,
              scaler=alsdgc("V2", frozen=True, init_scale=2.0**16, init_threshold=1.0)),
    ScaledArm("grad_scaler", "GradScaler", BLACK, "P", scaler=clipped(loss_scale="dynamic")),
    ScaledArm("autoclip-10", "AutoClip 10", BLACK, "v", factor=2.0, family="rival",
              scaler=clipped("autoclip", percent=10.0)),
    ScaledArm("autoclip-50", "AutoClip 50", BLACK, "^", family="rival", scaler=clipped("autoclip", percent=50.0)),
    ScaledArm("autoclip-90", "AutoClip 90", BLACK, "<", family="rival", scaler=clipped("autoclip", percent=90.0)),
    ScaledArm("zclip", "ZClip", PINK, "h", family="rival", scaler=clipped("zclip")),
    ScaledArm("zclip-capped", "ZClip, capped", PINK, "p", family="rival", scaler=clipped("zclip", capped=True)),
    ScaledArm("agc", "AGC", ORANGE, "P", family="rival", scaler=clipped("agc")),
    ScaledArm("adagc", "AdaGC", ORANGE, "h", family="rival", optimizer="adagc", center=5e-3),
    ScaledArm("lamb", "LAMB", YELLOW, "P", family="rival", optimizer="lamb", center=2e-2),
    ScaledArm("emaclip", "EMA clipping", SKY, "P", family="rival", scaler=clipped("ema"), warms_up=True),
    ScaledArm("scale-1", "scale 1", GREY, "v", family="constant", scaler=clipped(loss_scale=1.0)),
    ScaledArm("scale-128", "scale 128", GREY, "^", family="constant", scaler=clipped(loss_scale=128.0)),
    ScaledArm("scale-1024", "scale 1024", GREY, "<", family="constant", scaler=clipped(loss_scale=1024.0)),
    ScaledArm("scale-65536", "scale 65536", GREY, ">", family="constant", scaler=clipped(loss_scale=65536.0)),
)
# fmt: on
ARMS: dict[str, ScaledArm] = {arm.name: arm for arm in TABLE}


def of_family(family: str) -> tuple[str, ...]:
    return tuple(arm.name for arm in TABLE if arm.family == family)


NORMS = tuple(arm.name for arm in TABLE if arm.max_norm is not None)
RUNGS, RIVALS, CONSTANTS = map(of_family, ("rung", "rival", "constant"))
ALL_ARMS = ("none", *NORMS, *RUNGS, "placebo", "grad_scaler", *RIVALS)
MOST_ARMS = tuple(arm for arm in ALL_ARMS if arm not in ("grad_scaler", "autoclip-50", "autoclip-90", "zclip-capped"))
CORE_ARMS = ("none", *NORMS, "V0", "V4", "autoclip-10")
# What claims read, and beside it on the plain network what else clips; an arm that never acts there is not among them.
CLAIMED_ARMS = ("none", *NORMS, "V0", "V4")
PLAIN_ARMS = (*CLAIMED_ARMS, "V3", "autoclip-10", "zclip", "agc", "lamb")
# Arms that no claim reads.
CONTEXT = ("V1", "V2", "V3", "placebo", "grad_scaler", *(arm for arm in RIVALS if arm != "lamb"))
