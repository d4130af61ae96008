"""Log the gradient norm of every example, and find the mislabelled ones by it.

    python examples/odd_examples.py --steps 200

The norms come with the mean from one backward pass. An example whose norm stays large while the others' fall
is one that the network cannot agree with: here its label is wrong.
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional

from regrad import assign_grad, gradient_statistics

EXAMPLES, WRONG = 256, 8


def losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    points, labels = batch
    return functional.cross_entropy(model(points), labels, reduction="none")


def main(steps: int) -> tuple[list[int], list[int]]:
    """Train on labels of which some are wrong; return the examples with the largest norms, and the wrong ones."""
    torch.manual_seed(0)
    points = torch.randn(EXAMPLES, 2)
    labels = (points.sum(1) > 0).long()
    clear = points.sum(1).abs().topk(EXAMPLES // 2).indices  # far from the border: a wrong label is no judgement call
    wrong = clear[torch.randperm(len(clear))[:WRONG]]
    labels[wrong] = 1 - labels[wrong]

    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    history = torch.zeros(EXAMPLES)
    for step in range(steps):
        rows = torch.randperm(EXAMPLES)[:64]
        statistics = gradient_statistics(model, losses, (points[rows], labels[rows]), ["mean", "norm"])
        assign_grad(model, statistics["mean"])  # what losses.mean().backward() would have left
        optimizer.step()
        history[rows] = 0.8 * history[rows] + 0.2 * statistics["norm"]
        if step % 50 == 0 or step == steps - 1:
            norms = statistics["norm"]
            print(f"step {step:4d}  norms: median {norms.median():.3f}, largest {norms.max():.3f}")
    odd = history.topk(WRONG).indices
    print("largest norms:", sorted(odd.tolist()))
    print("wrong labels: ", sorted(wrong.tolist()))
    return sorted(odd.tolist()), sorted(wrong.tolist())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    main(parser.parse_args().steps)
