"""The places of the sign that are compared, from the earliest to the latest."""

from collections.abc import Iterable
from dataclasses import dataclass

from regrad.report.palette import BLUE, GREEN, ORANGE, PINK, RED, SKY, YELLOW
from regrad.results import Record
from regrad.studies.study import Arm


@dataclass(frozen=True)
class SignArm(Arm):
    """One place of the sign."""

    signed: str = ""  # what the sign is taken of, for sentences that have said "sign" already
    placement: str = "example"  # one of ``regrad.transforms.placements.PLACEMENTS``
    group_size: int = 1  # k, examples averaged before an ``"example"`` sign; 1 for the other placements


ARMS: dict[str, SignArm] = {
    arm.name: arm
    for arm in (
        SignArm("example", "sign of each example", RED, "o", signed="each example"),
        SignArm("group-2", "sign of 2-example means", ORANGE, "v", signed="2-example means", group_size=2),
        SignArm("group-4", "sign of 4-example means", YELLOW, "^", signed="4-example means", group_size=4),
        SignArm("group-8", "sign of 8-example means", PINK, "<", signed="8-example means", group_size=8),
        SignArm("group-16", "sign of 16-example means", SKY, ">", signed="16-example means", group_size=16),
        SignArm("batch", "sign of the batch mean", GREEN, "s", signed="the batch mean", placement="batch"),
        SignArm("ema", "sign of the moving average", BLUE, "D", signed="the moving average", placement="ema"),
    )
}
HEADLINE = ("example", "batch", "ema")  # the places that the paper compares
REFERENCE = ARMS["ema"]  # the sign applied last; the others' differences are to it, and the noise is measured along it


def arms_of(records: Iterable[Record]) -> list[SignArm]:
    """Return the arms that have runs, from the earliest sign to the latest."""
    names = {record.spec.tags["arm"] for record in records}
    return [arm for arm in ARMS.values() if arm.name in names]
