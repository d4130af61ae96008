"""The arms: Adam with ν_c = μ² + c σ², plain, clipped or with weight decay; and the rules for its rate as B grows."""

from collections.abc import Container
from dataclasses import dataclass

from pydantic import JsonValue

from regrad.report.palette import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY
from regrad.studies.study import Arm

TUNED = ("language", "images")  # parts in which every arm is tuned
ALL = (*TUNED, "stability")
HEADLINE = ("adam", "micro_adam", "micro_adam_var")  # the methods that the paper names


@dataclass(frozen=True, kw_only=True)
class AdamArm(Arm):
    """Adam with one preconditioner."""

    preconditioner: JsonValue  # MicroAdam's option
    c: float | None  # what σ² weighs in ν; None for Adam's own 1/B
    # per-example statistic that the preconditioner takes beside the mean; None where the mean is enough
    statistic: str | None
    tick: str = ""  # c as an axis says it, where ``micro_adam_var``, which leaves out μ², is the limit
    clip: bool = False  # whether the batch's gradient is clipped to a global norm
    decay: bool = False  # whether it has decoupled weight decay
    parts: tuple[str, ...] = ("language",)

    @property
    def plain(self) -> bool:
        """Whether the preconditioner is all that sets it apart."""
        return not (self.clip or self.decay)


@dataclass(frozen=True, kw_only=True)
class Rule(Arm):
    """How Adam's learning rate goes with the batch size in part ``scaling``: η ∝ B^exponent."""

    exponent: float
    tick: str  # what η is proportional to
    heading: str  # of its column in a table


# c rising, then the same clipped, then with weight decay: the order of runs, tables and legends.
ARMS: dict[str, AdamArm] = {
    arm.name: arm
    for arm in (
        AdamArm("micro_adam_msq", "MicroAdamMSQ", GREEN, "s", preconditioner="mean_square", c=0.0, tick="0",
                statistic="variance", parts=TUNED),
        AdamArm("adam", "Adam", BLUE, "D", preconditioner="adam", c=None, tick="1/B", statistic=None, parts=ALL),
        AdamArm("c=0.25", "c = 0.25", SKY, "^", preconditioner=0.25, c=0.25, tick="¼", statistic="variance"),
        AdamArm("micro_adam", "MicroAdam", ORANGE, "v", preconditioner="micro", c=1.0, tick="1",
                statistic="mean_square", parts=ALL),
        AdamArm("c=4", "c = 4", PINK, "<", preconditioner=4.0, c=4.0, tick="4", statistic="variance"),
        AdamArm("micro_adam_var", "MicroAdamVar", RED, "o", preconditioner="variance", c=1.0, tick="∞",
                statistic="variance", parts=ALL),
        AdamArm("micro_adam_msq+clip", "MicroAdamMSQ, clipped", GREEN, "s", preconditioner="mean_square", c=0.0,
                statistic="variance", clip=True, parts=TUNED),
        AdamArm("adam+clip", "Adam, clipped", BLUE, "D", preconditioner="adam", c=None, statistic=None, clip=True,
                parts=TUNED),
        AdamArm("micro_adam+clip", "MicroAdam, clipped", ORANGE, "v", preconditioner="micro", c=1.0,
                statistic="mean_square", clip=True, parts=ALL),
        AdamArm("micro_adam_var+clip", "MicroAdamVar, clipped", RED, "o", preconditioner="variance", c=1.0,
                statistic="variance", clip=True, parts=ALL),
        AdamArm("adam+decay", "Adam, decay 0.1", BLUE, "D", preconditioner="adam", c=None, statistic=None, decay=True),
        AdamArm("micro_adam+decay", "MicroAdam, decay 0.1", ORANGE, "v", preconditioner="micro", c=1.0,
                statistic="mean_square", decay=True),
    )
}  # fmt: skip
ADAM = ARMS["adam"]  # what the others are compared with, and whose runs part ``scaling`` varies
RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("lr~B^0", "η ∝ B⁰", GREY, "v", exponent=0.0, tick="B⁰", heading="LR fixed"),
        Rule("lr~B^0.5", "η ∝ √B", BLUE, "D", exponent=0.5, tick="√B", heading="LR as √B"),
        Rule("lr~B^1", "η ∝ B", ORANGE, "o", exponent=1.0, tick="B", heading="LR as B"),
    )
}
ROOT = RULES["lr~B^0.5"]  # the rule of claims C7 and C8, under which the split is measured


def arms_in(part: str, left_out: Container[str] = ()) -> list[AdamArm]:
    return [arm for arm in ARMS.values() if part in arm.parts and arm.name not in left_out]


def at_batch_size(size: int) -> str:
    """Return the arm's name of Adam tuned at a batch size of its own, in part ``batches``."""
    return f"B={size}"
