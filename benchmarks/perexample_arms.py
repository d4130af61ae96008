"""The arms of the per-example benchmark: each builds a step that ends with the statistics of every parameter."""

import copy
import functools
import importlib.util
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from perexample_workloads import Workload, token_losses
from regrad.perexample.engine import gradient_statistics
from regrad.perexample.products import product
from regrad.perexample.tokens import token_statistics

Step = Callable[[], Any]
TWO, FOUR = ["mean", "mean_square"], ["mean", "mean_square", "mean_sign", "norm"]


class _OurProduct(torch.autograd.Function):
    """A dense layer as torch's, but for the product of its weight's gradient, which is the surgery's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return torch.nn.functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        flat = g.reshape(-1, g.shape[-1])
        into = (flat @ weight).view(x.shape) if ctx.needs_input_grad[0] else None
        return into, product(flat.t(), x.reshape(-1, x.shape[-1])), flat.sum(0) if ctx.biased else None


def _dense(layer: nn.Linear, x: Tensor) -> Tensor:
    return _OurProduct.apply(x, layer.weight, layer.bias)


def ordinary(work: Workload, *, fused: bool = True, ours: bool = False, compiled: bool = False) -> Step:
    """Forward and backward of the mean loss; with `ours`, dense layers take the surgery's matrix product."""
    model = work.make(fused)
    if ours:
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                layer.forward = functools.partial(_dense, layer)
    called = torch.compile(model) if compiled else model

    def step() -> None:
        model.zero_grad(set_to_none=True)
        work.losses(called(work.batch[0]), work.batch[1]).mean().backward()

    return step


def ours(work: Workload, statistics: list[str]) -> Step:
    """Graph surgery, of a compiled model too: it is run as it was written."""
    model = work.make(True)

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return work.losses(model(batch[0]), batch[1])

    return lambda: gradient_statistics(model, losses, work.batch, statistics, chunk_size=work.chunk)


def ours_by_token(work: Workload) -> Step:
    """Mean and mean square over tokens; layers for which a token is not defined are refused."""
    model = work.make(True)

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return work.losses(model(batch[0]), batch[1])

    return lambda: token_statistics(model, losses, work.batch, TWO, chunk_size=work.chunk)


def reduce(gradients: Iterable[Tensor], four: bool) -> list[Any]:
    """Statistics of materialised per-example gradients [B, *parameter]."""
    answer: list[Any] = []
    norms: Any = 0.0
    for g in gradients:
        answer += [g.mean(0), g.square().mean(0)]
        if four:
            answer.append(g.sign().mean(0))
            norms = norms + g.flatten(1).square().sum(1)
    return [*answer, norms]


def by_vmap(work: Workload, *, four: bool = False, chunk: int | None = None, compiled: bool = False) -> Step:
    """torch.func; with `chunk`, a loop over chunks whose sums are added."""
    model = work.make(False)
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return work.losses(functional_call(model, parameters, (x[None],)), y[None]).sum()

    def part(x: Tensor, y: Tensor) -> list[Any]:
        return reduce(vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, y).values(), four)

    whole = torch.compile(part) if compiled else part

    def step() -> list[Any]:
        if chunk is None:
            return whole(*work.batch)
        total = None
        for x, y in zip(*(t.split(chunk) for t in work.batch), strict=True):
            answer = [t for t in whole(x, y) if isinstance(t, Tensor)]
            total = answer if total is None else torch._foreach_add(total, answer)
        return total or []

    return step


def micro_batches(work: Workload) -> Step:
    """One backward for each example, folded by foreach."""
    model = work.make(True)
    parameters = list(model.parameters())

    def step() -> Any:
        total = [torch.zeros_like(p) for p in parameters]
        squares = [torch.zeros_like(p) for p in parameters]
        for x, y in zip(*work.batch, strict=True):
            gradients = torch.autograd.grad(work.losses(model(x[None]), y[None]).sum(), parameters)
            torch._foreach_add_(total, gradients)
            torch._foreach_addcmul_(squares, gradients, gradients)
        return total, squares

    return step


def opacus(work: Workload, mode: str, *, four: bool = False) -> Step:
    """Opacus; modes hooks, functorch and ew keep per-example gradients, ghost keeps norms alone."""
    from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping

    model = work.make(True)
    if mode == "ghost":
        wrapped: Any = GradSampleModuleFastGradientClipping(model, max_grad_norm=1.0, use_ghost_clipping=True)
    elif mode == "functorch":
        wrapped = GradSampleModule(model, force_functorch=True, loss_reduction="mean")
    else:
        wrapped = GradSampleModule(model, loss_reduction="mean")

    def step() -> Any:
        wrapped.zero_grad(set_to_none=True)
        work.losses(wrapped(work.batch[0]), work.batch[1]).mean().backward()
        if mode == "ghost":
            return wrapped.get_norm_sample()
        answer = reduce((p.grad_sample for p in model.parameters()), four)
        for p in model.parameters():
            p.grad_sample = None
        return answer

    return step


def expanded_weights(work: Workload, *, four: bool = False) -> Step:
    """Torch's ExpandedWeights."""
    from torch.nn.utils._per_sample_grad import call_for_per_sample_grads

    model = work.make(True)
    size = len(work.batch[0])

    def step() -> Any:
        called = call_for_per_sample_grads(model, batch_size=size, loss_reduction="sum")
        work.losses(called(work.batch[0]), work.batch[1]).sum().backward()
        answer = reduce((p.grad_sample for p in model.parameters()), four)
        for p in model.parameters():
            p.grad_sample = None
        return answer

    return step


def backpack(work: Workload, extension: str) -> Step:
    """BackPACK, for models that are a sequence of its layers."""
    import backpack as library
    from backpack import extensions

    model = library.extend(copy.deepcopy(work.make(True)))
    criterion = library.extend(nn.CrossEntropyLoss())
    make = getattr(extensions, extension)

    def step() -> Any:
        model.zero_grad(set_to_none=True)
        loss = criterion(model(work.batch[0]), work.batch[1])
        with library.backpack(make()):
            loss.backward()
        if extension == "BatchGrad":
            answer: Any = reduce((p.grad_batch for p in model.parameters()), False)
        else:
            answer = [p.sum_grad_squared for p in model.parameters()]
        for p in model.parameters():
            for name in ("grad_batch", "sum_grad_squared"):
                if hasattr(p, name):
                    delattr(p, name)
        return answer

    return step


def arms(work: Workload, *, compiled: bool) -> dict[str, Callable[[], Step]]:
    """Builders of every arm by name; those called "ordinary" are what the rest is divided by."""
    small = 4 if work.chunk is None else work.chunk
    chosen: dict[str, Callable[[], Step]] = {
        "ordinary": lambda: ordinary(work),
        "ordinary, our product": lambda: ordinary(work, ours=True),
        "surgery": lambda: ours(work, TWO),
        "surgery, four": lambda: ours(work, FOUR),
        "surgery, tokens": lambda: ours_by_token(work),
        "vmap": lambda: by_vmap(work),
        f"vmap, chunks of {small}": lambda: by_vmap(work, chunk=small),
        "vmap, four": lambda: by_vmap(work, four=True),
        "ExpandedWeights": lambda: expanded_weights(work),
        "ExpandedWeights, four": lambda: expanded_weights(work, four=True),
        "micro-batch loop": lambda: micro_batches(work),
    }
    if work.losses is token_losses:
        chosen["ordinary, plain attention"] = lambda: ordinary(work, fused=False)
    if compiled:
        chosen["ordinary, compiled"] = lambda: ordinary(work, compiled=True)
        chosen["vmap, compiled"] = lambda: by_vmap(work, compiled=True)
    if importlib.util.find_spec("opacus"):
        chosen["Opacus hooks"] = lambda: opacus(work, "hooks")
        chosen["Opacus hooks, four"] = lambda: opacus(work, "hooks", four=True)
        chosen["Opacus functorch"] = lambda: opacus(work, "functorch")
        chosen["Opacus ghost (norms only)"] = lambda: opacus(work, "ghost")
    if importlib.util.find_spec("backpack"):
        chosen["BackPACK BatchGrad"] = lambda: backpack(work, "BatchGrad")
        chosen["BackPACK SumGradSquared"] = lambda: backpack(work, "SumGradSquared")
    return chosen
