"""Acts on: per-example gradients. Whether a caller's function acts elementwise, as every method takes for granted."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from regrad.perexample.requests import banded_sign

# The largest and the smallest entry are not among those picked, and those are in no order.
_ENTRIES = ((-2.0, -0.3, 0.0), (0.5, 1.0, 3.0))
_PICKED = (4, 1, 3)


def check_elementwise(functions: Mapping[str, Callable[[Tensor], Tensor]], device: torch.device) -> None:
    """Try each function on six numbers, all at once and three of them alone.

    On the CPU, so that no device is waited for; one that fails there, and is for another device, is taken on trust.

    Raises:
        ValueError: for one that mixes entries, changes its argument or returns another shape; methods hand it pieces
            of different shapes, so their answers would be wrong, and differently so.
    """
    for key, function in functions.items():
        if not isinstance(function, banded_sign):
            _check(key.removesuffix("()"), function, trusted=device.type != "cpu")


def _check(name: str, function: Callable[[Tensor], Tensor], *, trusted: bool) -> None:
    entries, picked = torch.tensor(_ENTRIES), torch.tensor(_PICKED)
    given = entries.clone()
    try:
        whole, again = function(given), function(entries.clone())
        part = function(entries.flatten()[picked])
    except Exception as error:
        if trusted:  # it may hold a tensor of the device
            return
        what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise ValueError(_sentence(name, f"on [2, 3] or [3] it raised {what}")) from error
    if not isinstance(whole, Tensor) or whole.shape != entries.shape:
        made = list(whole.shape) if isinstance(whole, Tensor) else type(whole).__name__
        raise ValueError(_sentence(name, f"of [2, 3] it made {made}"))
    if not torch.equal(given, entries):
        raise ValueError(_sentence(name, "it changes its argument in place"))
    # What draws random numbers cannot be compared.
    if torch.equal(whole, again) and not torch.allclose(part, whole.flatten()[picked], equal_nan=True):
        raise ValueError(_sentence(name, "an entry's value depends on the other entries"))


def _sentence(name: str, what: str) -> str:
    return f"statistics: {name!r} must act elementwise, as torch.sign does; {what}"
