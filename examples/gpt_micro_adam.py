"""A small GPT on bytes, trained by MicroAdam from the gradients of single sequences.

    python examples/gpt_micro_adam.py --steps 150

MicroAdam's preconditioner averages the squared gradients of the single sequences, not of their mean; the
engine gives both from one backward pass.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from regrad import MicroAdam, gradient_statistics

CONTEXT = 64
TEXT = torch.tensor(list(Path(__file__).read_bytes()) * 4)


class Block(nn.Module):
    """Attention and a feed-forward layer, each behind its norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(self.norms[0](x)).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.feed(self.norms[1](x))


class GPT(nn.Module):
    """A decoder whose table of bytes is also its head."""

    def __init__(self, width: int = 64, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.table, self.places = nn.Embedding(256, width), nn.Parameter(0.02 * torch.randn(CONTEXT, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 256, bias=False)
        nn.init.normal_(self.table.weight, std=0.02)
        self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.table(tokens) + self.places)))


def losses(model: nn.Module, tokens: Tensor) -> Tensor:
    """Return one loss a sequence: the mean over its bytes, not over the batch."""
    logits = model(tokens[:, :-1])
    return functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none").mean(1)


def sequences(number: int) -> Tensor:
    starts = torch.randint(len(TEXT) - CONTEXT, (number,))
    return torch.stack([TEXT[start : start + CONTEXT + 1] for start in starts])


def main(steps: int) -> list[float]:
    """Train, print the loss now and then, and return it at every step."""
    torch.manual_seed(0)
    model = GPT()
    optimizer = MicroAdam(model.named_parameters(), lr=1e-2, preconditioner="micro")
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    curve = []
    for step in range(steps):
        batch = sequences(16)
        statistics = gradient_statistics(model, losses, batch, ["mean", "variance"])
        optimizer.step(statistics=statistics, batch_size=len(batch))
        schedule.step()
        with torch.no_grad():
            curve.append(losses(model, batch).mean().item())
        if step % 25 == 0 or step == steps - 1:
            print(f"step {step:4d}  loss {curve[-1]:.3f} nats a byte")
    return curve


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=150)
    main(parser.parse_args().steps)
