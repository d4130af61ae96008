"""Acts on: per-example gradients. Sees every function the forward pass calls with a trainable parameter.

While a `Surgery` is active each such call is carried out by the rule of its function (`rules/`), whose
backward deposits per-example factors in the ledger *instead of* forming the ordinary weight gradient. What
has no rule is either a tensor made of parameters alone (a slice of a table, a normalised weight), followed
until it meets an example, or is handled by the fallback, or refused by name.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

from regrad.perexample.ledger import Ledger, Target, identity
from regrad.perexample.rules.fallback import fallback_rule
from regrad.perexample.rules.table import OWN_LAYOUT, RULES, SPREADS, VIEWS

Shapes = tuple[torch.Size, ...]


@dataclass
class Call:
    """One call of a function with at least one trainable parameter, as a rule receives it."""

    surgery: "Surgery"  # to register uses with
    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def bind(self, *names: str) -> list[Any]:
        """The arguments by name in the function's order, None where absent."""
        given = dict(zip(names, self.args, strict=False)) | self.kwargs
        return [given.get(name) for name in names]

    def refuse(self, why: str) -> ValueError:
        """An error that names the function and the parameter; the caller raises it."""
        return self.surgery.refusal(self, why)


class Surgery(TorchFunctionMode):
    """Active during the forward pass, and during the backward pass for what checkpointing computes again.

    Args:
        ledger: where uses are registered.
        size: examples in this micro-batch.
        probe: what a forward pass with another number of examples saw, or None to go by this one's shapes
            alone.
    """

    def __init__(self, ledger: Ledger, size: int, probe: "list[Shapes] | None"):
        super().__init__()
        self.ledger, self.size, self.probe = ledger, size, probe
        # Every rule's function takes it as an input, so its backward runs even where nothing else needs a gradient.
        self.anchor = torch.zeros((), requires_grad=True, device=ledger.sums.squared_norms.device)
        # By identity, which a weight keeps on its way to a layer; targets keep it alive, so no id comes twice.
        # Sharded parameters are not what the forward pass uses; `follow` tells what is.
        self.handles = {id(p): h for h, p in enumerate(ledger.parameters.values()) if not hasattr(p, "device_mesh")}
        self.by_name = {name: h for h, name in enumerate(ledger.parameters)}
        self.call_shapes: list[Shapes] = []
        # Kept for what checkpointing computes again in the backward pass, out of the probe's order.
        self.verdicts: dict[Any, bool] = {}
        self.backward = False
        ledger.targets = [Target((name,), p, identity) for name, p in ledger.parameters.items()]

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        # Most calls of a model touch activations only; this line is what they pay.
        if not any(id(x) in self.handles for x in _tensors(args, kwargs)) or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        call = Call(self, func, args, kwargs)
        if func in SPREADS:
            return self._spread(call)
        if func not in OWN_LAYOUT and not self._meets_examples(call):
            return self._derive(call)
        rule = RULES.get(func)
        answer = NotImplemented if rule is None else rule(call)
        return fallback_rule(call) if answer is NotImplemented else answer

    def use(self, tensor: Any) -> int:
        """Register a use of a weight; the handle to deposit under, or −1 if nothing trainable is behind it."""
        handle = self.handles.get(id(tensor), -1)
        if handle >= 0 and not self.backward:
            self.ledger.expected[handle] = self.ledger.expected.get(handle, 0) + 1
        return handle

    def follow(self, name: str, parameter: Any) -> None:
        """From now on this tensor is what the forward pass uses for a parameter; sharding makes a new one."""
        if name in self.by_name and parameter is not None:
            handle = self.by_name[name]
            self.handles[id(parameter)] = handle
            self.ledger.targets[handle].tensor = self.ledger.parameters[name] = parameter

    def is_tracked(self, tensor: Any) -> bool:
        """Whether a parameter, or a tensor made of parameters alone."""
        return id(tensor) in self.handles

    def is_shared(self, weight: Any) -> bool:
        """Whether a weight is the same for all examples: tracked, or in need of no gradient."""
        return weight is None or self.is_tracked(weight) or not weight.requires_grad

    def refusal(self, call: Call, why: str) -> ValueError:
        """An error naming function and parameter."""
        names = {
            name
            for x in _tensors(call.args, call.kwargs)
            if self.is_tracked(x)
            for name in self.ledger.targets[self.handles[id(x)]].names
        }
        return ValueError(f"{_name_of(call.func)} of {', '.join(sorted(names))}: {why}")

    def _meets_examples(self, call: Call) -> bool:
        """Whether the call joins parameters with something of the batch (or of parameters and constants alone)."""
        others = [x for x in _tensors(call.args, call.kwargs) if not self.is_tracked(x)]
        shapes = tuple(x.shape for x in others)
        if self.backward:
            return self.verdicts.get((call.func, shapes), any(s[:1] == (self.size,) for s in shapes))
        before = self._shapes_in_probe(len(shapes), call)
        self.call_shapes.append(shapes)
        verdict = False
        for now, then in zip(shapes, before, strict=True):
            verdict |= self._is_batched(now, then, call)
        self.verdicts[call.func, shapes] = verdict
        return verdict

    def _spread(self, call: Call) -> Any:
        """An expanded weight may thereby get its example axis (a class token, an initial state)."""
        # Done to see its shape: in the probe the new axis has another length, and then it counts the examples.
        answer = call.func(*call.args, **call.kwargs)
        before = self._shapes_in_probe(1, call)[0] if not self.backward else None
        if not self.backward:
            self.call_shapes.append((answer.shape,))
        weight = call.args[0]
        if answer.shape[:1] == weight.shape[:1] or not self._is_batched(answer.shape, before, call):
            return self._derive(call)
        return SPREADS[call.func](call, answer.shape)

    def _shapes_in_probe(self, count: int, call: Call) -> tuple[Any, ...]:
        """Shapes of the `count` tensors that the same call met in the probe; None each if there was no probe."""
        if self.probe is None:
            return (None,) * count
        # The same call is the one with the same number: shapes, which would tell more, are what is in question.
        index = len(self.call_shapes)
        if index >= len(self.probe) or len(self.probe[index]) != count:
            raise self.refusal(call, "the forward pass depends on how many examples there are; use method='loop'")
        return self.probe[index]

    def _is_batched(self, now: torch.Size, then: torch.Size | None, call: Call) -> bool:
        if then is None:
            return len(now) > 0 and now[0] == self.size
        # What does not grow with the number of examples holds none of them, whatever its first axis happens to be.
        if now == then:
            return False
        if len(now) != len(then) or now[0] != self.size or now[1:] != then[1:]:
            raise self.refusal(
                call,
                f"a {list(now)} tensor does not keep the {self.size} examples on its first axis; do not flatten it",
            )
        return True

    def _derive(self, call: Call) -> Any:
        """A function of parameters and constants alone: its answer is followed as one more weight."""
        answer = call.func(*call.args, **call.kwargs)
        outputs = answer if isinstance(answer, tuple | list) else (answer,)
        for index, output in enumerate(outputs):
            if isinstance(output, Tensor) and output.requires_grad and not self.is_tracked(output):
                self._follow(call, output, index=None if output is answer else index)
        return answer

    def _follow(self, call: Call, output: Tensor, *, index: int | None) -> None:
        weights = (x for x in _tensors(call.args, call.kwargs) if self.is_tracked(x))
        behind = [self.ledger.targets[self.handles[id(weight)]] for weight in weights]
        names = tuple(dict.fromkeys(name for target in behind for name in target.names))
        # A view can be taken of the sums as well, and elementwise functions commute with it; of anything else only
        # autograd knows the way back to the parameter. A copy (a reshape may make one) is no view.
        view = None
        inner = behind[0].view
        is_view = len(behind) == 1 and inner is not None and call.func in VIEWS
        if is_view and output.untyped_storage().data_ptr() == behind[0].tensor.untyped_storage().data_ptr():
            view = _compose(call, index, inner)
        self.handles[id(output)] = len(self.ledger.targets)
        self.ledger.targets.append(Target(names, output, view))
        self.ledger.derived.update(names)


def _compose(call: Call, index: int | None, inner: Any) -> Callable[[Tensor], Tensor]:
    def view(weight: Tensor) -> Tensor:
        answer = call.func(inner(weight), *call.args[1:], **call.kwargs)
        return answer if index is None else answer[index]

    return view


def _tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    for x in (*args, *kwargs.values()):
        if isinstance(x, Tensor):
            yield x
        elif isinstance(x, tuple | list):
            yield from (y for y in x if isinstance(y, Tensor))


def _name_of(func: Callable[..., Any]) -> str:
    return resolve_name(func) or getattr(func, "__name__", repr(func))
