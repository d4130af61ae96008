"""Convolutions take one of three ways, by their inputs to an output and their groups; what is behind them agrees."""

import pytest
import torch
from perexample_agreement import assert_same
from torch import nn

from regrad.perexample import gradient_statistics, ledger

STATISTICS = ["mean", "mean_square", "mean_sign", "mean_abs", "norm"]
LAYERS = {
    "patches 1d": (nn.Conv1d(3, 4, 3, stride=2, padding=2, dilation=2), (3, 11)),
    "patches 2d": (nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(0, 3), dilation=(1, 2)), (2, 9, 7)),
    "patches 3d": (nn.Conv3d(1, 2, (2, 1, 3), stride=(1, 2, 1), padding=(1, 0, 2)), (1, 4, 5, 3)),
    "depthwise": (nn.Conv2d(4, 8, 3, padding=1, groups=4), (4, 6, 5)),
    "grouped": (nn.Conv2d(5, 3, 3, stride=2, padding=1, dilation=2), (5, 9, 8)),
    "grouped, of groups": (nn.Conv1d(24, 6, 3, padding=1, groups=2), (24, 7)),
}


@pytest.mark.parametrize("examples", [1, 35])
@pytest.mark.parametrize("name", LAYERS)
def test_every_way_equals_the_loop(name, examples, monkeypatch):
    """Also where the small gradients that wait together are folded more than once."""
    layer, shape = LAYERS[name]
    torch.manual_seed(0)
    model = nn.Sequential(layer, nn.Tanh(), nn.Flatten()).double()
    batch = torch.randn(examples, *shape, dtype=torch.float64)
    monkeypatch.setattr(ledger, "JOINED", 64)

    def losses(model, batch):
        return model(batch).square().sum(1)

    ours, oracle = (gradient_statistics(model, losses, batch, STATISTICS, method=m) for m in ("graph", "loop"))
    for statistic in STATISTICS[:-1]:
        for parameter, expected in oracle[statistic].items():
            torch.testing.assert_close(ours[statistic][parameter], expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours["norm"], oracle["norm"], rtol=1e-12, atol=1e-12)


class Plain(nn.BatchNorm2d):
    """A fixed batch normalisation in elementary operations."""

    def forward(self, x):
        mean, spread, weight, bias = (
            v.view(-1, 1, 1) for v in (self.running_mean, self.running_var, self.weight, self.bias)
        )
        return weight * (x - mean) / (spread + self.eps).sqrt() + bias


@pytest.mark.parametrize("size", [1, 5])
def test_patches_behind_a_fixed_batch_normalisation_are_neither_refused_nor_wrong(size):
    # Of a batch of one torch's own backward pass is wrong here: the gradient's layout is channels_last, too.
    class Patches(nn.Module):
        def __init__(self, norm):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1), norm(4).eval()
            # Frozen, as its gradient, which is right, would outweigh the others'.
            self.last = nn.Linear(4, 4).requires_grad_(False)

        def forward(self, x):
            return self.last(self.norm(self.first(x)).flatten(2).transpose(1, 2)).cos()

    def losses(model, x):
        return model(x).flatten(1).sum(1)

    x = torch.randn(size, 3, 4, 4, dtype=torch.float64)
    found, truth = (
        gradient_statistics(Patches(norm).double(), losses, x, ["mean", "mean_square", "norm"], method=method)
        for norm, method in ((nn.BatchNorm2d, "graph"), (Plain, "loop"))
    )
    assert_same(truth, found, rtol=1e-10)
