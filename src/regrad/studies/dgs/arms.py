"""The arms of the DGS study: DGS in each of its readings, and the optimizers that the document compares it with.

E3 of the study's letters is E1 (a test proves it), E2 is no descent direction, and the program is plain SGD: no arms.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from regrad.report.palette import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY
from regrad.report.words import LABELS
from regrad.results import Part
from regrad.studies.study import Arm

TASKS = ("language", "transfer", "own")  # what the abstract names beyond CIFAR
IMAGES, SPIKING = ("images", "images32"), ("spiking", "spiking32")  # the second where the deeper network is tuned apart


@dataclass(frozen=True, kw_only=True)
class DGSArm(Arm):
    """An optimizer, as it is or with its gradient scaled by DGS."""

    optimizer: str
    options: Mapping[str, JsonValue] = field(default_factory=dict)  # its hyperparameters but the learning rate
    center: float  # middle of its learning-rate grid, from a few runs of the image task on other seeds
    reading: str = ""  # what it takes DGS to be, one of ``regrad.transforms.dgs.READINGS``; empty for another optimizer
    # whether its sums go over the entries of one tensor, or over tensors, instead of over all entries
    by_tensor: bool = False
    # the arm whose optimizer gets the gradient scaled by DGS's four steps; empty where nothing is scaled
    base: str = ""
    parts: tuple[str, ...] = ("images",)

    def part(self, lr: float) -> Part:
        reading: dict[str, JsonValue] = {"reading": self.reading} if self.reading else {}
        return Part(name=self.optimizer, options={"lr": lr, **self.options, **reading})

    @property
    def gradient(self) -> Part | None:
        return Part(name="dgs_scaled") if self.base else None


EVERYWHERE = ("images", "reset", "stability", *TASKS)
LARS: dict[str, JsonValue] = {"trust_coefficient": 0.02}
TABLE = (
    DGSArm("sgd", "SGD", GREY, "v", optimizer="sgd", center=0.5, parts=("images", "stability")),
    DGSArm("momentum", "SGD, momentum", BLACK, "^", optimizer="sgd", options={"momentum": 0.9}, center=0.1,
           parts=("images", *TASKS)),
    DGSArm("adam", "Adam", BLUE, "D", optimizer="adam", center=1e-2, parts=(*EVERYWHERE, "spiking")),
    DGSArm("adamw", "AdamW", SKY, "<", optimizer="adamw", options={"weight_decay": 0.01}, center=1e-2),
    DGSArm("lars", "LARS", PINK, "P", optimizer="lars", options=LARS, center=0.5, parts=("images", "spiking")),
    DGSArm("sign", "signSGD", GREEN, "X", optimizer="sign_sgd", options={"momentum": 0.0}, center=2e-3),
    DGSArm("E1", LABELS["E1"], RED, "o", optimizer="dgs", reading="equation", center=3e-3, parts=EVERYWHERE),
    DGSArm("E1L", LABELS["E1L"], RED, "s", optimizer="dgs", reading="equation_per_tensor", center=3e-3, by_tensor=True),
    DGSArm("E1T", LABELS["E1T"], RED, "^", optimizer="dgs",
           reading="equation_tensor_norms", center=0.05, by_tensor=True),
    DGSArm("E4", LABELS["E4"], SKY, "h", optimizer="dgs", reading="equation_magnitude_rate", center=0.02),
    DGSArm("S1", LABELS["S1"], ORANGE, "o", optimizer="dgs", reading="steps", center=2e-3, parts=EVERYWHERE),
    DGSArm("S1T", LABELS["S1T"], ORANGE, "s", optimizer="dgs", reading="steps_per_tensor", center=0.1, by_tensor=True),
    DGSArm("lars+dgs", "LARS, scaled by DGS", PINK, "P", optimizer="lars", options=LARS, center=0.5, base="lars",
           parts=("spiking",)),
    DGSArm("adam+dgs", "Adam, scaled by DGS", BLUE, "D", optimizer="adam", center=1e-2, base="adam",
           parts=("spiking",)),
)  # fmt: skip
ARMS: dict[str, DGSArm] = {arm.name: arm for arm in TABLE}
READINGS: dict[str, DGSArm] = {arm.reading: arm for arm in TABLE if arm.reading}
SCALED: dict[str, DGSArm] = {arm.base: arm for arm in TABLE if arm.base}  # by the arm that they scale


def arms_in(part: str) -> list[DGSArm]:
    return [arm for arm in TABLE if part in arm.parts]
