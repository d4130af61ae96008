"""Which claims a look decides, and which runs the others need more seeds of: pure functions of the first seeds."""

from collections.abc import Callable, Iterable, Sequence

from regrad.report.ledger.kinds.rows import Row
from regrad.report.ledger.schema import Claim
from regrad.results import Record
from regrad.statistics.sequential import Looks

ClaimRows = Callable[[Sequence[Record]], Sequence[Row]]


def cut(records: Iterable[Record], n: int) -> list[Record]:
    """Return the records that a look at n seeds reads: all tuning runs, and of the others the seeds below n."""
    return [r for r in records if r.spec.tags.get("phase") == "tune" or r.spec.seed < n]


def open_runs(
    claims: Sequence[Claim],
    claim_rows: ClaimRows,
    records: Sequence[Record],
    looks: Looks,
    *,
    preset: str,
    device: str,
) -> set[tuple[str, str]]:
    """Return the (part, arm) whose runs are needed up to the seeds of the last look.

    Those that rows of an open claim name under ``runs``. A claim is open where the first look leaves it inconclusive
    and not futile; one that is not tested (a gate, an arm without rows) stays so, whatever seeds come.

    Only tuning runs and seeds below ``looks.ns[0]`` are read, so the answer does not change when later seeds arrive.
    Ask when the plan's runs of the first look are all there: before that, a row may be computed from half a grid.

    Args:
        claims: The ledger's claims of one study, all of them: a family's size is part of the rule.
        claim_rows: The study's pure function from records to rows.
        records: The study's records; those of later seeds are passed over.
        looks: The preset's looks; with a single one nothing is ever open.
        preset: Preset of the records.
        device: Device of the records.
    """
    raise NotImplementedError
