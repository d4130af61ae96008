"""Looks: seeds are bought where they decide, and a claim that is decided early stops.

A claim is judged on the seeds below n₁ at level α₁; if that leaves it open, on those below n₂ at α₂; and so on. The
levels add up to 5 %, so that all tries of one claim together err no more often than one try at 5 % would, by the union
bound alone: no distribution of the tries together is assumed, which ranks and rates would not have. What a look decides
depends on the seeds below its own n alone, so that seeds that another claim asked for change nothing, and a plan that
follows the looks never takes back a run.

The rule at look k, for one claim of a family of m:

* *Superiority*, either way: stop where the claim's p < αₖ / m. Holm's first step tests at α / m, so a claim that
  stopped survives Holm's correction whatever the rest of its family turns out to be.
* *Shortfall*: stop where the interval of level 1 − αₖ, corrected for the claim's own comparisons, is below the margin.
* *Futility*: stop where a verdict would need more than ``FUTILE`` seeds. It is not binding: the levels are those of a
  design without it, so running on would be no error.

Holm's correction mixes claims that stopped at different looks, and each enters with its *repeated* p-value,
p · 5 % / αₖ (`Looks.repeated`). It is below 5 % exactly where p < αₖ, and below 5 % / m exactly where p < αₖ / m: the
scale on which every look has the same threshold. At the level u of one of Holm's steps it errs with probability at most
u · (α₁ + … + αₖ) / 5 %, by the union bound: at most u.

The first level is O'Brien and Fleming's for two looks at 5 and 10 seeds, whose second was 4.75 %: the design that the
first ten seeds were bought under. A third look was added when ten seeds had left claims open, and could not be had for
nothing: what the first look leaves of 5 % is shared by the other two alike, so that a verdict of the second look
stands only where its p is below 2.24 % now, and otherwise waits for the third as open ones do.

Source: O'Brien and Fleming 1979, "A multiple testing procedure for clinical trials"; repeated p-values and the union
bound: Jennison and Turnbull 2000, "Group sequential methods", chapter 9.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

ALPHA = 0.05
FUTILE = 30  # seeds: half as many again as the last look has, beyond what anybody would run here


@dataclass(frozen=True)
class Looks:
    """When a claim is judged.

    Attributes:
        ns: Seeds at each look, rising; a look reads the seeds below its number.
        alphas: Two-sided level of each look, rising; together at most 5 %.
    """

    ns: tuple[int, ...]
    alphas: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse looks that do not rise, one by one."""
        if not self.ns or len(self.ns) != len(self.alphas):
            raise ValueError(f"looks: {len(self.ns)} ns, {len(self.alphas)} alphas; allowed: one level each")
        if self.ns[0] < 1 or not rising(self.ns):
            raise ValueError(f"looks: ns {list(self.ns)}; allowed: rising, at least 1")
        if not (self.alphas[0] > 0 and rising(self.alphas) and math.fsum(self.alphas) <= ALPHA):
            raise ValueError(f"looks: alphas {list(self.alphas)}; allowed: rising, above 0, together at most {ALPHA:g}")

    @property
    def last(self) -> int:
        """Index of the last look."""
        return len(self.ns) - 1

    def level(self, look: int, family: int) -> float:
        """Return the level of a difference at a look: before the last, one that Holm's correction cannot undo."""
        return self.alphas[look] if look == self.last else self.alphas[look] / max(family, 1)

    def repeated(self, p: float, look: int) -> float:
        """Return a look's p-value on the scale on which 5 % is the threshold of every look."""
        return min(1.0, p * ALPHA / self.alphas[look])


def single(n: int, alpha: float = ALPHA) -> Looks:
    """Return the design of one look at n seeds."""
    return Looks((n,), (alpha,))


def rising(values: Iterable[float]) -> bool:
    """Whether each value is above the one before."""
    return all(first < second for first, second in pairwise(values))


DESIGN = Looks((5, 10, 20), (0.0051, 0.0224, 0.0225))
