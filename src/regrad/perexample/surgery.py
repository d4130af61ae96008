"""Acts on: per-example gradients. Sees every function the forward pass calls with a trainable parameter.

While a `Surgery` is active each such call is carried out by the rule of its function (`rules/`), whose
backward deposits per-example factors in the ledger *instead of* forming the ordinary weight gradient. What
has no rule is either a tensor made of parameters alone (a slice of a table, a normalised weight), followed
until it meets an example, or is handled by the fallback, or refused by name.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from regrad.perexample.calls import Call, Seen, Shapes, leaves_behind, map_tensors, name_of, tensors_of
from regrad.perexample.ledger import Ledger, Target, identity
from regrad.perexample.refusals import Refused
from regrad.perexample.rules.broadcast import copies_rule
from regrad.perexample.rules.fallback import fallback_rule
from regrad.perexample.rules.matrices import OF_WEIGHTS
from regrad.perexample.rules.table import OWN_LAYOUT, POSITIONWISE, RULES, SPREADS, VIEWS

HOOKS = {Tensor.register_hook}


class Surgery(TorchFunctionMode):
    """Active during the forward pass, and during the backward pass for what checkpointing computes again.

    Args:
        ledger: where uses are registered.
        size: examples in this micro-batch.
        probe: what a forward pass with another number of examples saw, or None to go by this one's shapes
            alone.
    """

    def __init__(self, ledger: Ledger, size: int, probe: "Seen | None"):
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
        self.verdicts: dict[Any, list[int]] = {}
        self.backward = False
        self.model: Any = None  # whose forward pass it watches
        self.ruled = False  # whether modules have other forward passes meanwhile
        self.folded = False  # whether an example had several rows of a first axis
        ledger.targets = [Target((name,), p, identity) for name, p in ledger.parameters.items()]

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        # Most calls of a model touch activations only; this line is what they pay.
        if not any(id(x) in self.handles for x in tensors_of(args, kwargs)) or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        call = Call(self, func, args, kwargs, {})
        if func in HOOKS:
            raise self.refusal(call, "only a gradient formed by autograd passes the hook")
        if func in SPREADS:
            return self._spread(call)
        if func not in OWN_LAYOUT and not self.meets_examples(call):
            return self._derive(call)
        rule = RULES.get(func)
        answer = NotImplemented if rule is None else self._apply(rule, call)
        return fallback_rule(call) if answer is NotImplemented else answer

    def _apply(self, rule: Callable[[Call], Any], call: Call) -> Any:
        """Of [B·k, …] many rules are given [B, k, …], and what they answer is folded again."""
        k = call.fold
        # Their backward passes are those of real numbers.
        if any(x.is_complex() for x in tensors_of(call.args, call.kwargs)):
            return NotImplemented
        if k == 1 or rule not in POSITIONWISE:
            return rule(call)
        if any(own != k for own in call.folds.values()):
            return NotImplemented
        inner = map_tensors(call, lambda x: x.unflatten(0, (-1, k)) if id(x) in call.folds else x)
        answer = rule(inner)
        return answer if answer is NotImplemented else answer.flatten(0, 1)

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

    def refusal(self, call: Call, why: str, *, final: bool = False) -> ValueError:
        """An error naming function and parameter; `final` as for `Refused`."""
        return Refused(f"{self.describe(call)}: {why}", final=final)

    def describe(self, call: Call) -> str:
        """A call by its function and its parameters."""
        names = {
            name
            for x in tensors_of(call.args, call.kwargs)
            if self.is_tracked(x)
            for name in self.ledger.targets[self.handles[id(x)]].names
        }
        shown = ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        return f"{name_of(call.func)} of {shown}"

    def meets_examples(self, call: Call) -> bool:
        """Whether the call joins parameters with something of the batch (or of parameters and constants alone)."""
        others = [x for x in tensors_of(call.args, call.kwargs) if not self.is_tracked(x)]
        for x, rows in zip(others, self._rows_of(tuple(x.shape for x in others), call), strict=True):
            if rows:
                call.folds[id(x)] = rows
                self.folded |= rows > 1
            elif x.requires_grad and not x.is_leaf and self._hides_parameters(x):
                raise self.refusal(
                    call,
                    f"a {list(x.shape)} tensor needs a gradient, and is neither an example's nor made of parameters "
                    "by functions that torch shows",
                )
        return bool(call.folds)

    def _rows_of(self, now: Shapes, call: Call) -> list[int]:
        """For each of these shapes how many rows of the first axis an example has; 0 if it holds no examples."""
        key = (call.func, *now)
        if self.backward:
            guess = [1 if shape[:1] == (self.size,) else 0 for shape in now]
            return self.verdicts.get(key, guess)
        index = len(self.call_shapes)
        self.call_shapes.append(tuple(now))
        if self.probe is None:
            rows = [self._guess_rows(shape, call) for shape in now]
        else:
            # The same call is the one with the same number: shapes, which would tell more, are what is in question.
            then = self.probe.calls[index] if index < len(self.probe.calls) else ()
            if len(then) != len(now):
                raise self.refusal(call, "the forward pass calls other functions for another number of examples")
            rows = [self._compare_rows(*pair, call) for pair in zip(now, then, strict=True)]
        self.verdicts[key] = rows
        return rows

    def _guess_rows(self, now: torch.Size, call: Call) -> int:
        """In the first of two passes: its number of examples was chosen to divide no axis of anything else."""
        if any(length and length % self.size == 0 for length in now[1:]):
            raise self._moved(now, call)
        return now[0] // self.size if now and now[0] % self.size == 0 else 0

    def _compare_rows(self, now: torch.Size, then: torch.Size, call: Call) -> int:
        assert self.probe is not None
        # What does not grow with the number of examples holds none of them, whatever its first axis happens to be.
        if now == then:
            return 0
        grows = len(now) == len(then) and now[1:] == then[1:] and now[0] * self.probe.size == then[0] * self.size
        if not grows or now[0] % self.size:
            raise self._moved(now, call)
        return now[0] // self.size

    def _moved(self, now: torch.Size, call: Call) -> ValueError:
        return self.refusal(
            call, f"a {list(now)} tensor does not keep the {self.size} examples on its first axis; keep [B, …]"
        )

    def _hides_parameters(self, x: Tensor) -> bool:
        """Whether the gradient with respect to `x` goes on to parameters or rules (or to the caller's own leaves)."""
        if self.backward:
            return False
        wanted = {id(self.anchor), *(id(p) for p in self.ledger.parameters.values())}
        return any(id(leaf) in wanted for leaf in leaves_behind(x))

    def _spread(self, call: Call) -> Any:
        """An expanded weight may thereby get its example axis (a class token, an initial state)."""
        # Done to see its shape: in the probe the new axis has another length, and then it counts the examples.
        answer = call.func(*call.args, **call.kwargs)
        weight = call.args[0]
        rows = self._rows_of((answer.shape,), call)[0]
        if rows == 1 and answer.shape[:1] != weight.shape[:1]:
            return SPREADS[call.func](call, answer.shape)
        return copies_rule(call, answer, rows) if rows else self.track(call, answer)

    def _derive(self, call: Call) -> Any:
        """A function of parameters and constants alone: its answer is followed as one more weight."""
        # Checkpointing may unpack in another order what it finds saved here, where no rule stands between.
        with torch.autograd.graph.saved_tensors_hooks(_as_it_is, _as_it_is):
            answer = OF_WEIGHTS.get(call.func, call.func)(*call.args, **call.kwargs)
        if isinstance(answer, Tensor) and answer.requires_grad and not self.is_tracked(answer):
            rows = self._rows_of((answer.shape,), call)[0]
            return copies_rule(call, answer, rows) if rows else self.track(call, answer)
        return self.track(call, answer)

    def track(self, call: Call, answer: Any) -> Any:
        """Follow an answer made of parameters alone."""
        outputs = answer if isinstance(answer, tuple | list) else (answer,)
        for index, output in enumerate(outputs):
            if isinstance(output, Tensor) and output.requires_grad and not self.is_tracked(output):
                self._follow(call, output, index=None if output is answer else index)
        return answer

    def _follow(self, call: Call, output: Tensor, *, index: int | None) -> None:
        weights = (x for x in tensors_of(call.args, call.kwargs) if self.is_tracked(x))
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


def _as_it_is(x: Tensor) -> Tensor:
    return x
