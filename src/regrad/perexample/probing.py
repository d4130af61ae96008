"""Which tensors are examples, and whether examples keep to themselves: two passes of a few of them tell, once.

A tensor whose shape does not follow the number of examples is none of them. Without a second number, positions
[T, …] would pass for examples whenever T = B, and examples moved off the first axis would go unnoticed. Examples
that see each other, or change places, keep every shape: a backward pass from the loss of one example alone must
leave the norms of all others zero, and its own must be what the example has without the others.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from regrad.perexample.batches import Losses, batch_size, check_losses, pick, shapes
from regrad.perexample.calls import Seen
from regrad.perexample.distributed import is_sharded
from regrad.perexample.ledger import Ledger
from regrad.perexample.loop import gradients_of, mean_loss
from regrad.perexample.passes import run_backward, run_under
from regrad.perexample.purity import watch_pass
from regrad.perexample.refusals import Refused
from regrad.perexample.requests import Request
from regrad.perexample.sums import Sums
from regrad.perexample.surgery import Surgery

_REMEMBERED: WeakKeyDictionary[nn.Module, dict[Any, tuple[Seen, Seen]]] = WeakKeyDictionary()
_AT_MOST = 8
# Few examples, and numbers unlikely to divide an axis of something else.
_SIZES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31)
# How far an example's norm in company may be from its norm alone, where nothing is wrong: products of other shapes
# round otherwise. What goes wrong is rarely so close.
_NEAR, _NEAR_IN_HALF = 0.05, 0.3
# Gradients below this share of the loss may be nothing but rounding.
_NOISE = 1e-5


def recall(model: nn.Module, losses: Losses, batch: Any, *, parameters: Mapping[str, Tensor]) -> Seen | None:
    """What an earlier probe of these parameters with batches of this shape saw."""
    pair = _REMEMBERED.get(model, {}).get((*parameters, _key(model, losses, batch)))
    return None if pair is None else _other_than(pair, batch_size(batch))


def probe(model: nn.Module, losses: Losses, batch: Any, *, parameters: Mapping[str, Tensor]) -> Seen:
    """What a forward pass with another number of examples sees, after a check that examples keep to themselves.

    Raises:
        Refused: if two pairs of numbers agree that the surgery cannot follow the model.
    """
    sizes, first = _sizes(model, batch), None
    for small, large in (sizes[:2], sizes[2:4]):
        try:
            pair = _look_twice(model, losses, batch, parameters=parameters, sizes=(small, large))
        except Refused as refusal:
            # A number may have been an axis of something, after all; a true reason comes back with any other.
            first = first or refusal
            continue
        memory = _REMEMBERED.setdefault(model, {})
        while len(memory) >= _AT_MOST:
            memory.pop(next(iter(memory)))
        memory[(*parameters, _key(model, losses, batch))] = pair
        return _other_than(pair, batch_size(batch))
    assert first is not None
    raise first


def _look_twice(
    model: nn.Module, losses: Losses, batch: Any, *, parameters: Mapping[str, Tensor], sizes: tuple[int, ...]
) -> tuple[Seen, Seen]:
    small, large = sizes
    size, surgeries = batch_size(batch), []

    def look(n: int, seen: Seen | None, places: list[int]) -> Tensor:
        ledger = Ledger(Sums(Request({"norm": "norm"}), parameters, n, n), 0, 1)
        surgeries.append(Surgery(ledger, n, seen))
        return run_under(surgeries[-1], model, losses, pick(batch, places))

    try:
        watch_pass(model, partial(look, large, None, _places(large, size)))
        seen = Seen(large, surgeries[-1].call_shapes)
        places = _places(small, size)
        try:
            # Turned around: what was sorted is sorted no more, and models that sort it have something to do.
            values = look(small, seen, places[::-1])
            places = places[::-1]
        except Refused:
            raise
        except Exception:  # noqa: BLE001 (a model may insist on the order)
            values = look(small, seen, places)
    except Refused:
        raise
    except Exception as error:
        raise _explain(error, model, losses, batch, sizes) from error
    # One example has no company; under sharding the backward pass of one process alone would wait for the others.
    if values.requires_grad and size > 1 and not is_sharded(model):
        _check_alone(surgeries[-1], values, model, losses, pick(batch, places))
    return Seen(small, surgeries[-1].call_shapes), seen


def _explain(error: Exception, model: nn.Module, losses: Losses, batch: Any, sizes: tuple[int, ...]) -> Refused:
    """Whose mistake it is: the caller's own number of examples shows the caller's, and is let out."""
    size = batch_size(batch)
    check_losses(losses(model, batch), size)
    what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    try:
        for n in sizes:
            check_losses(losses(model, pick(batch, _places(n, size))), n)
    except Exception:  # noqa: BLE001 (the caller's code, whatever it raises)
        return Refused(
            f"losses: fail with another number of examples than {size} ({what}); "
            "what has an entry for each example must be a part of the batch"
        )
    return Refused(f"model or losses: fail where functions are watched ({what})")


def _check_alone(surgery: Surgery, values: Tensor, model: nn.Module, losses: Losses, few: Any) -> None:
    """Refuse examples whose gradients depend on their company or their place."""
    size = surgery.size
    if not bool(torch.isfinite(values).all()):
        return
    for place in (0, size - 1):
        surgery.ledger.sums = Sums(Request({"norm": "norm"}), surgery.ledger.sums.parameters, size, size)
        seeds = torch.zeros_like(values)
        seeds[place] = 1
        run_backward(surgery, values, seeds, keep=place == 0)
        norms = surgery.ledger.sums.squared_norms.sqrt()
        own = float(norms[place])
        if bool((norms > 0).sum() > (own > 0)):
            raise Refused(_why_not_alone(surgery, own), final=not surgery.folded and own > 0)
        _compare_with_alone(own, model, losses, few, place)


def _why_not_alone(surgery: Surgery, own: float) -> str:
    if surgery.folded:
        return "model: the examples are folded with another axis on the first one, other than example by example"
    if own > 0:
        return (
            "model or losses: the loss of one example has a gradient through others, so no per-example gradient "
            "exists; take out what looks at the whole batch (in-batch negatives, a mean over the batch)"
        )
    return "model: the examples change places (sorted by length?), so norms would go to the wrong ones"


def _compare_with_alone(own: float, model: nn.Module, losses: Losses, few: Any, place: int) -> None:
    loss = mean_loss(model, losses, few, slice(place, place + 1))
    if _near(own, alone := _norm(loss, model), loss):
        return
    # torch's own backward pass goes wrong in a batch of one where a fixed batch normalisation takes the layout of a
    # gradient for another; beside its own copy an example is as good as alone.
    if _near(own, _norm(mean_loss(model, losses, pick(few, [place, place]), slice(0, 2)), model), loss):
        return
    with torch.enable_grad():
        company = _norm(losses(model, few)[place], model)
    if _near(own, company, loss):
        raise Refused(
            f"model or losses: an example's gradient has norm {own:.3g} among others and {alone:.3g} alone, so it "
            "depends on them; take out what looks at the whole batch",
            final=True,
        )
    raise Refused(f"model: an example's gradient has norm {own:.3g} here, and by autograd {company:.3g}")


def _norm(loss: Tensor, model: nn.Module) -> float:
    if not loss.requires_grad:
        return 0.0
    squares = [g.double().square().sum() for g in gradients_of(loss, model).values()]
    return float(torch.stack([s.cpu() for s in squares]).sum().sqrt())


def _near(one: float, other: float, loss: Tensor) -> bool:
    larger = max(one, other)
    half = torch.finfo(loss.dtype).bits == 16
    most = max((_NEAR_IN_HALF if half else _NEAR) * larger, _NOISE * (1 + abs(float(loss.detach()))))
    # What overflows is the caller's to see.
    return not torch.isfinite(torch.tensor([one, other])).all() or abs(one - other) <= most


def _places(count: int, size: int) -> list[int]:
    """The batch's own examples, in their order, over again if need be: made-up ones might be no tokens."""
    return [place * size // count for place in range(count)]


def _sizes(model: nn.Module, batch: Any) -> tuple[int, ...]:
    """Numbers of examples that divide no axis of the batch or of the model's tensors."""
    axes = {n for shape in shapes(batch) for n in shape[1:]}
    axes |= {n for x in (*model.parameters(), *model.buffers()) for n in x.shape}
    apart = [n for n in _SIZES if all(axis % n or axis == 0 for axis in axes)]
    return (*apart, *(n for n in _SIZES if n not in apart))[:4]


def _other_than(pair: tuple[Seen, Seen], size: int) -> Seen:
    return pair[0] if pair[0].size != size else pair[1]


def _key(model: nn.Module, losses: Losses, batch: Any) -> Any:
    # In evaluation mode a model may call other functions. The number of examples is what the probe varies, but copies
    # of one example show nothing of what several would do to each other.
    modes = tuple(module.training for module in model.modules())
    return _identity(losses), modes, batch_size(batch) > 1, tuple(shape[1:] for shape in shapes(batch))


def _identity(losses: Any) -> Any:
    """What tells one function of losses from another: a lambda made anew for each step is the same code."""
    if isinstance(losses, partial):
        return _identity(losses.func), tuple(map(_identity, losses.args))
    code = getattr(losses, "__code__", None)
    if code is None:
        call = getattr(type(losses).__call__, "__code__", None)
        return (call, id(losses)) if call is not None else id(losses)
    # What it closes over may switch it; tensors and models do not tell.
    cells = [cell.cell_contents for cell in getattr(losses, "__closure__", None) or ()]
    return code, tuple(_identity(x) if hasattr(x, "__code__") else x for x in cells if _is_switch(x))


def _is_switch(x: Any) -> bool:
    return x is None or isinstance(x, bool | int | str | float) or hasattr(x, "__code__")
