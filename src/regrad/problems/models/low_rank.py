"""Linear layers whose change is of low rank (LoRA), put in place of the dense ones of a model."""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import linear


class LowRankLinear(nn.Module):
    """y = W₀ x + (alpha / rank) B A x with W₀ fixed; A and B are trained, B starts at zero.

    Args:
        dense: Layer to replace, without bias; its weight [out, in] becomes W₀.
        rank: r, 1 to min(out, in).
        alpha: Scale of the trained part, > 0.
        generator: CPU generator of A; None uses torch's default generator.

    Raises:
        ValueError: A layer with a bias, or a rank or alpha out of range.

    Source: Hu et al. 2022, LoRA (arXiv 2106.09685), section 4.1; A is Kaiming-uniform as in its code.
    """

    scale: float
    weight: nn.Parameter
    down: nn.Parameter
    up: nn.Parameter

    def __init__(self, dense: nn.Linear, *, rank: int, alpha: float, generator: torch.Generator | None = None):
        super().__init__()
        most = min(dense.in_features, dense.out_features)
        if dense.bias is not None:
            raise ValueError("dense must have no bias")
        if not 1 <= rank <= most:
            raise ValueError(f"rank={rank!r} must be 1 … {most}")
        if not 0 < alpha < math.inf:
            raise ValueError(f"alpha={alpha!r} must be > 0")
        self.scale = alpha / rank
        self.weight = nn.Parameter(dense.weight.detach().clone(), requires_grad=False)
        self.down = nn.Parameter(dense.weight.new_empty(rank, dense.in_features))
        self.up = nn.Parameter(dense.weight.new_zeros(dense.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5), generator=generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] -> [..., out]."""
        return linear(x, self.weight) + self.scale * linear(linear(x, self.down), self.up)


def make_low_rank(
    model: nn.Module,
    *,
    rank: int,
    alpha: float,
    where: Callable[[str], bool],
    generator: torch.Generator | None = None,
) -> int:
    """Replace the linear layers of ``model`` whose dotted name ``where`` accepts; return how many.

    Everything else stays as it is, trainable or not.
    """
    chosen = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and where(name)]
    for name in chosen:
        parent, _, last = name.rpartition(".")
        owner = model.get_submodule(parent)
        layer = LowRankLinear(getattr(owner, last), rank=rank, alpha=alpha, generator=generator)
        setattr(owner, last, layer)
    return len(chosen)
