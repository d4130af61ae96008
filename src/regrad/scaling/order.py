"""Which optimizer is which: the order in which a scaler first sees them.

Acts on: nothing; it finds the state that belongs to an optimizer.
"""

from collections.abc import Iterator
from weakref import WeakKeyDictionary

from torch.optim import Optimizer


class OrderOfUse:
    """Number optimizers 0, 1, … as they are first met, without keeping them alive.

    A copy, pickled or not, starts anew: it will meet other objects, in the same order.
    """

    def __init__(self) -> None:
        self._numbers: WeakKeyDictionary[Optimizer, int] = WeakKeyDictionary()
        self._met = 0

    def __contains__(self, optimizer: Optimizer) -> bool:
        """Say whether the optimizer has been met."""
        return optimizer in self._numbers

    def number(self, optimizer: Optimizer) -> int:
        """Return the optimizer's number; an unknown optimizer gets the next."""
        if optimizer not in self._numbers:
            self._numbers[optimizer] = self._met
            self._met += 1
        return self._numbers[optimizer]

    def __iter__(self) -> Iterator[tuple[int, Optimizer]]:
        """Go through the optimizers still alive, with their numbers."""
        return ((number, optimizer) for optimizer, number in list(self._numbers.items()))

    def __getstate__(self) -> dict[str, object]:
        """Forget everything."""
        return {}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Start anew."""
        self.__init__()  # type: ignore[misc]


def count_entries(optimizer: Optimizer) -> int:
    """Return the number of parameter entries of all groups."""
    return sum(p.numel() for group in optimizer.param_groups for p in group["params"])
