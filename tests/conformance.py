"""The optimizers that must pass every property of conformance_properties.py, one line each.

To add an optimizer, add an ``Entry`` to ``TABLE``. ``make(params, **hyperparameters)`` builds it from
parameters, (name, parameter) pairs or groups; a wrapper's ``make`` builds its base, too. A property that
cannot hold is skipped by name with the reason; a skip that is not needed any more fails its own test.
torch's own optimizers go through the same properties, as a control of the properties themselves.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.optim import Optimizer

from regrad.optim.dgs import DGS
from regrad.optim.micro_adam import MicroAdam
from regrad.optim.sgg import SGG
from regrad.optim.sign_sgd import SignSGD
from regrad.transforms.dgs import READINGS


def no_arguments(optimizer: Optimizer) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Entry:
    """An optimizer in one setting.

    ``lr`` makes the loss of a small quadratic fall within 50 steps. ``options`` are its other
    hyperparameters, ``bad`` single (hyperparameter, value) pairs that must be refused by name.
    ``arguments(optimizer)`` gives the keyword arguments of a step. ``named`` says that parameters
    must come with names.
    """

    name: str
    make: Callable[..., Optimizer]
    lr: float = 0.02
    options: Mapping[str, Any] = field(default_factory=dict)
    bad: tuple[tuple[str, Any], ...] = ()
    arguments: Callable[[Optimizer], dict[str, Any]] = no_arguments
    named: bool = False
    skips: Mapping[str, str] = field(default_factory=dict)


def statistics(optimizer: Optimizer) -> dict[str, Any]:
    """A per-example variance of 1 everywhere, for whatever parameters the optimizer holds by name."""
    groups = optimizer.param_groups
    pairs = [pair for g in groups for pair in zip(g["param_names"], g["params"], strict=True)]
    return {"statistics": {"variance": {name: torch.ones_like(p) for name, p in pairs}}, "batch_size": 4}


BAD_NUMBERS = (-0.1, math.nan, math.inf, True, None, "0.1")
BAD_RATES = tuple(("lr", value) for value in BAD_NUMBERS)
BAD_SIGN = (
    *BAD_RATES,
    *(("momentum", value) for value in (*BAD_NUMBERS, 1.0)),
    *(("weight_decay", value) for value in BAD_NUMBERS),
    ("placement", "late"), ("placement", 1), ("maximize", 1), ("foreach", 0),
)  # fmt: skip
BAD_MICRO = (
    *BAD_RATES,
    *(("eps", value) for value in BAD_NUMBERS),
    *(("weight_decay", value) for value in BAD_NUMBERS),
    *(("preconditioner", value) for value in BAD_NUMBERS),
    *(("floor", value) for value in (-0.1, 1.1, math.nan, True)),
    ("betas", 0.9), ("betas", (0.9,)), ("betas", (1.0, 0.9)), ("betas", (0.9, math.nan)), ("maximize", 1),
)  # fmt: skip
# torch lets inf, True and (in SGD) nan through, and checks the constructor's defaults only
BAD_TORCH = (("lr", -0.1), ("weight_decay", -0.1))
UNCHECKED = {"a_late_group_is_checked_too": "torch checks the constructor's defaults only"}
NAN_RATE = {"a_rate_that_is_not_a_number_is_refused": "torch's SGD accepts lr=nan"}

NO_FOREACH = {"foreach_equals_the_plain_loop": "no foreach path: the statistics cost more than the step"}
NEEDS_REAL = {"complex_equals_pairs_of_reals": "statistics of complex parameters are not defined; refused"}
NO_COMPLEX = {"complex_equals_pairs_of_reals": "clusters of complex momentum are not defined; refused"}
NEEDS_NAMES = {"state_dict_round_trip_unnamed": "statistics are looked up by name; refused without"}


def micro(preconditioner: str | float, **options: Any) -> Entry:
    """A member of MicroAdam's family that needs statistics."""
    return Entry(
        f"MicroAdam-{preconditioner}", MicroAdam,
        options={"preconditioner": preconditioner, **options}, bad=BAD_MICRO,
        arguments=statistics, named=True, skips={**NO_FOREACH, **NEEDS_REAL, **NEEDS_NAMES},
    )  # fmt: skip


def around(base: Callable[..., Optimizer], **settings: Any) -> Callable[..., Optimizer]:
    """SGG that groups early and moves its scales far, around ``base``, which gets all hyperparameters."""
    return lambda params, **options: SGG(base(params, **options), interval=3, beta3=0.5, **settings)


BAD_DGS = (
    *BAD_RATES,
    *(("beta", value) for value in (*BAD_NUMBERS, 0.0)),
    *(("eps", value) for value in (*BAD_NUMBERS, 0.0)),
    *(("gamma", value) for value in BAD_NUMBERS),
    *(("momentum", value) for value in (*BAD_NUMBERS, 1.0)),
    *(("weight_decay", value) for value in BAD_NUMBERS),
    ("reading", "E1"), ("reading", 1), ("maximize", 1), ("foreach", 0),
)  # fmt: skip
ABSOLUTE = {"complex_equals_pairs_of_reals": "the readings define |g| of a real gradient; complex is refused"}


def dgs(reading: str, name: str = "", **options: Any) -> Entry:
    """A reading of Dynamic Gradient Scaling; ``lr`` suits the default γ = "1/n", where D is a mean."""
    options = {"reading": reading, **options}
    return Entry(f"DGS-{name or reading}", DGS, options=options, bad=BAD_DGS, skips=ABSOLUTE)


TABLE = [
    Entry("torch-SGD", torch.optim.SGD, options={"momentum": 0.9}, bad=BAD_TORCH,
          skips={**UNCHECKED, **NAN_RATE}),
    Entry("torch-Adam", torch.optim.Adam, bad=BAD_TORCH, skips=UNCHECKED),
    Entry("torch-AdamW", torch.optim.AdamW, options={"weight_decay": 0.1}, bad=BAD_TORCH, skips=UNCHECKED),
    Entry("SignSGD-example", SignSGD, lr=0.05, options={"placement": "example"}, bad=BAD_SIGN),
    Entry("SignSGD-batch", SignSGD, options={"placement": "batch"}, bad=BAD_SIGN),
    Entry("SignSGD-ema", SignSGD, bad=BAD_SIGN),
    Entry("SignSGD-plain", SignSGD, options={"momentum": 0.0, "weight_decay": 0.1}, bad=BAD_SIGN),
    Entry("SignSGD-foreach", SignSGD, options={"foreach": True, "weight_decay": 0.1}, bad=BAD_SIGN,
          skips={"foreach_equals_the_plain_loop": "the entry sets foreach itself"}),
    Entry("MicroAdam-adam", MicroAdam, options={"preconditioner": "adam", "weight_decay": 0.1}, bad=BAD_MICRO,
          skips=NO_FOREACH),
    micro("micro"), micro("variance"), micro("mean_square", weight_decay=0.1),
    micro(0.1, floor=0.1), micro(2.0),
    Entry("SGG-SGD", around(torch.optim.SGD), options={"momentum": 0.9}, bad=BAD_TORCH,
          skips={**UNCHECKED, **NAN_RATE, **NO_COMPLEX}),
    Entry("SGG-AdamW", around(torch.optim.AdamW), options={"weight_decay": 0.1}, bad=BAD_TORCH,
          skips={**UNCHECKED, **NO_COMPLEX}),
    Entry("SGG-NAdam", around(torch.optim.NAdam), bad=BAD_TORCH, skips={**UNCHECKED, **NO_COMPLEX}),
    Entry("SGG-RAdam", around(torch.optim.RAdam), bad=BAD_TORCH, skips={**UNCHECKED, **NO_COMPLEX}),
    *(dgs(reading) for reading in READINGS),
    dgs("equation", "momentum", momentum=0.9, weight_decay=0.1), dgs("steps", "Signum", momentum=0.9),
    dgs("equation", "sum", gamma=0.02),
]  # fmt: skip
