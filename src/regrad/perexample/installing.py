"""What the surgery hangs on modules while it works, and takes off again whatever happens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import stateless

from regrad.perexample.contributions import Dense
from regrad.perexample.deposits import deposit, rule_backward
from regrad.perexample.rules.experts import experts_forward, holds_experts
from regrad.perexample.rules.recurrent import RECURRENT, recurrent_forward
from regrad.perexample.rules.registry import MODULE_RULES
from regrad.perexample.surgery import Surgery


@contextmanager
def install(surgery: Surgery, model: nn.Module, *, sharded: bool) -> Iterator[None]:
    """Carry out users' rules for their own layers, and follow the whole parameters that sharding swaps in."""
    hooks, ruled = [], []
    try:
        for prefix, module in model.named_modules():
            # A compiled script has neither parameters of its own nor a forward to replace.
            if isinstance(module, torch.jit.ScriptModule):
                continue
            rule = MODULE_RULES.get(type(module))
            names = {name: f"{prefix}.{name}" if prefix else name for name in module._parameters}
            if sharded and names:
                hooks.append(module.register_forward_pre_hook(_follower(surgery, names)))
            forward = _other_forward(surgery, module, rule)
            if forward is not None:
                surgery.ruled = True
                ruled.append((module, module.__dict__.get("forward")))
                module.forward = _in_this_thread(forward, module.forward)  # type: ignore[method-assign]
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, forward in ruled:
            del module.forward
            if forward is not None:
                module.forward = forward  # type: ignore[method-assign]


def _other_forward(surgery: Surgery, module: nn.Module, rule: Any) -> Callable[..., Any] | None:
    """What carries out a module that its functions do not show: one with a user's rule, a recurrent one, experts."""
    if rule is not None:
        return _ruled_forward(surgery, module, rule)
    if not module._parameters or not any(map(surgery.is_tracked, module.parameters())):
        return None
    if type(module) in RECURRENT:
        return recurrent_forward(surgery, module)
    return experts_forward(surgery, module) if holds_experts(module) else None


def _in_this_thread(ours: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Another thread may use the model meanwhile, and is not watched."""
    own = get_ident()
    return lambda *args, **kwargs: (ours if get_ident() == own else original)(*args, **kwargs)


def _follower(surgery: Surgery, names: dict[str, str]) -> Callable[..., None]:
    def follow(module: nn.Module, _: Any) -> None:
        for name, full_name in names.items():
            surgery.follow(full_name, module._parameters[name])

    return follow


def _ruled_forward(surgery: Surgery, module: nn.Module, rule: Any) -> Callable[[Tensor], Tensor]:
    original = module.forward

    def forward(x: Tensor) -> Tensor:
        own = {name: p for name, p in module.named_parameters() if surgery.is_tracked(p)}
        handles = {name: surgery.use(p) for name, p in own.items()}
        fixed = {name: p.detach() for name, p in own.items()}
        # Inside, the layer is one function: neither surgery nor autograd may see what it does with its weights.
        with torch._C.DisableTorchFunction(), stateless._reparametrize_module(module, fixed):
            y = original(x)
        if not isinstance(y, Tensor) or y.shape[:1] != (surgery.size,):
            raise ValueError(f"{type(module).__name__}: a registered rule needs one tensor out, the examples first")
        return _Tap.apply(surgery.anchor, (rule, module, handles), x, y)

    return forward


class _Tap(torch.autograd.Function):
    """Passes the output on, and in the backward asks a user's rule for the per-example gradients."""

    @staticmethod
    def forward(ctx, anchor, ruled, x, y):
        ctx.save_for_backward(x)
        ctx.ruled = ruled
        # A copy, not a view: what follows may work in place, and autograd forbids that on a view made here.
        return y.clone()

    @staticmethod
    @rule_backward
    def backward(ctx, saved, g):
        rule, module, handles = ctx.ruled
        with torch.no_grad(), torch._C.DisableTorchFunction():
            answer = rule(module, saved[0], g)
        parameters = dict(module.named_parameters())
        for name, handle in handles.items():
            wanted = (len(g), *parameters[name].shape)
            if name not in answer or answer[name].shape != wanted:
                raise ValueError(f"rule for {type(module).__name__}: {name!r} {list(wanted)} is missing or misshapen")
            deposit(handle, Dense.pack(answer[name]))
        return None, None, None, g
