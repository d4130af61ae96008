"""Acts on: per-example gradients. Experts of a mixture, each of which meets the tokens that were sent to it.

What an expert meets is a selection of the tokens of all examples, of no fixed length. While the experts run, each
row's example is followed from the selection on; a linear layer is given the rows back as [B, most rows, …], filled
up with zeros, which contribute nothing.
"""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from regrad.perexample.calls import Call, tensors_of
from regrad.perexample.rules.linear import linear

if TYPE_CHECKING:
    from regrad.perexample.surgery import Surgery

# As transformers calls the arguments of its experts.
_ARGUMENTS = ["hidden_states", "top_k_index", "top_k_weights"]


def holds_experts(module: nn.Module) -> bool:
    """Whether a module is a bank of experts as transformers writes them: stacked weights, tokens and their choices."""
    if not any(p.ndim == 3 for p in module._parameters.values() if p is not None):
        return False
    return list(inspect.signature(module.forward).parameters)[:3] == _ARGUMENTS


def experts_forward(surgery: "Surgery", module: Any) -> Callable[..., Any]:
    """What to put in place of the module's forward."""
    original = module.forward

    def forward(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        rows = len(hidden_states)
        if hidden_states.ndim != 2 or rows % surgery.size:
            raise ValueError(f"{type(module).__name__}: tokens {list(hidden_states.shape)} are not [B·T, d]")
        owner = torch.arange(rows, device=hidden_states.device) // (rows // surgery.size)
        with _Followed(surgery, hidden_states, owner):
            return original(hidden_states, *args, **kwargs)

    return forward


class _Followed(TorchFunctionMode):
    """Knows of each tensor made of selected tokens whose they are; nothing of it is compared with the probe."""

    def __init__(self, surgery: "Surgery", tokens: Tensor, owner: Tensor):
        super().__init__()
        self.surgery = surgery
        # By identity, with the tensors kept alive, so that no id comes twice.
        self.owners = {id(tokens): (tokens, owner)}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            return self._carry_out(Call(self.surgery, func, args, kwargs, {}))

    def _carry_out(self, call: Call) -> Any:
        given = list(tensors_of(call.args, call.kwargs))
        if any(map(self.surgery.is_tracked, given)) and torch.is_grad_enabled():
            return self._meet_weights(call, given)
        answer = call.func(*call.args, **call.kwargs)
        source = self.owners.get(id(given[0])) if given else None
        if source is not None and call.func in (Tensor.__getitem__, Tensor.index_select, torch.index_select):
            index = call.args[-1]
            if isinstance(index, Tensor) and index.ndim == 1 and isinstance(answer, Tensor):
                self.owners[id(answer)] = (answer, source[1][index])
            return answer
        owner = next((self.owners[id(x)][1] for x in given if id(x) in self.owners), None)
        for x in answer if isinstance(answer, tuple | list) else (answer,):
            if owner is not None and isinstance(x, Tensor) and x.shape[:1] == owner.shape:
                self.owners[id(x)] = (x, owner)
        return answer

    def _meet_weights(self, call: Call, given: list[Tensor]) -> Any:
        if call.func is functional.linear and id(call.args[0]) in self.owners:
            x, weight, bias = call.bind("input", "weight", "bias")
            y = self._linear(x, weight, bias)
            self.owners[id(y)] = (y, self.owners[id(x)][1])
            return y
        if any(x.requires_grad and not self.surgery.is_tracked(x) for x in given):
            raise call.refuse("experts meet their tokens by linear layers only; use experts_implementation='eager'")
        return self.surgery.track(call, call.func(*call.args, **call.kwargs))

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        owner, size = self.owners[id(x)][1], self.surgery.size
        counts = torch.bincount(owner, minlength=size)
        order = owner.argsort(stable=True)
        place = torch.empty_like(owner)
        place[order] = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner[order]]
        apart = x.new_zeros(size, max(1, int(counts.max())), x.shape[-1]).index_put((owner, place), x)
        return linear(self.surgery, apart, weight=weight, bias=bias)[owner, place]
