"""Every rule on tensors as models hand them over: cut out, expanded, turned around, channels last, one example."""

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from regrad.perexample.engine import gradient_statistics

pytestmark = pytest.mark.usefixtures("float64")

CHANNELS, SIDE = 4, 4
IMAGES = {
    "conv": lambda: nn.Conv2d(CHANNELS, 4, 2, bias=True),
    "grouped conv": lambda: nn.Conv2d(CHANNELS, 4, 2, stride=2, groups=2),
    "transposed conv": lambda: nn.ConvTranspose2d(CHANNELS, 4, 2, stride=2),
    "group norm": lambda: nn.GroupNorm(2, CHANNELS),
    "instance norm": lambda: nn.InstanceNorm2d(CHANNELS, affine=True),
    "batch norm": lambda: nn.BatchNorm2d(CHANNELS).eval(),
    "slopes": lambda: nn.PReLU(CHANNELS),
}
ROWS = {
    "linear": lambda: nn.Linear(SIDE, 3),
    "layer norm": lambda: nn.LayerNorm(SIDE),
    "rms norm": lambda: nn.RMSNorm(SIDE),
    "lstm": lambda: First(nn.LSTM(SIDE, 3, batch_first=True)),
    "attention": lambda: Attention(),
    "einsum": lambda: Einsum(),
}


class First(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.flatten(1, 2))[0]


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.MultiheadAttention(SIDE, 2, bias=False, batch_first=True)

    def forward(self, x):
        x = x.flatten(1, 2)
        return self.inner(x, x, x, need_weights=False)[0]


class Einsum(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(SIDE, 3))

    def forward(self, x):
        return torch.einsum("bchw,wo->bcho", x, self.weight)


INPUTS = {
    "plain": lambda x: x,
    "cropped": lambda x: torch.cat([x, x], -1)[..., 1 : SIDE + 1],
    "every second": lambda x: torch.cat([x, x.flip(-1)], -1)[..., ::2],
    "turned": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "channels last": lambda x: x.to(memory_format=torch.channels_last),
    "expanded": lambda x: x[:, :, :1].expand(-1, -1, SIDE, -1),
    "examples last": lambda x: x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
}
OUTPUTS = {
    "squares": lambda y: (y - 0.3).square().flatten(1).sum(1),
    "sums": lambda y: y.sum(-1).square().flatten(1).mean(1),
    "cropped": lambda y: y[..., 1:].cos().flatten(1).sum(1),
    "turned": lambda y: (y.transpose(1, -1) * torch.arange(1.0, y.shape[1] + 1)).cos().flatten(1).sum(1),
    "all of it": lambda y: y.sin().sum(tuple(range(1, y.ndim))),
}


def agree(rule, before, after, size, seed):
    torch.manual_seed(seed)
    model = nn.Sequential((IMAGES | ROWS)[rule]())
    mix = nn.Linear(SIDE, SIDE)
    model.add_module("mix", mix)
    x = torch.randn(size, CHANNELS, SIDE, SIDE)

    def losses(model, x):
        # A layer before makes the input's own gradient count.
        return OUTPUTS[after](model[0](INPUTS[before](mix(x))))

    # One example alone may take a wrong path of torch's own, so the loop is given each one twice.
    twice = lambda m, x: losses(m, x.repeat(2, 1, 1, 1))[: len(x)]  # noqa: E731
    statistics = ["mean", "mean_square", "norm"]
    truth = gradient_statistics(model, twice, x, statistics, method="loop")
    found = gradient_statistics(model, losses, x, statistics)
    largest = max(float(truth["norm"].max()), 1e-3)
    torch.testing.assert_close(found["norm"], truth["norm"], rtol=0, atol=1e-10 * largest)
    for key, power in (("mean", 1), ("mean_square", 2)):
        torch.testing.assert_close(found[key], truth[key], rtol=0, atol=1e-10 * largest**power)


@pytest.mark.parametrize("rule", [*IMAGES, *ROWS])
@pytest.mark.parametrize("size", [1, 3])
def test_a_layer_agrees_in_every_layout_of_its_input_and_of_its_gradient(rule, size):
    for index, before in enumerate(INPUTS):
        agree(rule, before, list(OUTPUTS)[index % len(OUTPUTS)], size, 0)
    agree(rule, "plain", "sums", size, 0)


# Recorded once with LAYOUT_DRAWS=6000 (docs/per_example.md); each of the layouts above is a seed that the default suite
# tries.
@pytest.mark.slow
@settings(max_examples=int(os.environ.get("LAYOUT_DRAWS", "400")), deadline=None, database=None)
@given(
    rule=st.sampled_from([*IMAGES, *ROWS]), before=st.sampled_from([*INPUTS]), after=st.sampled_from([*OUTPUTS]),
    size=st.integers(1, 4), seed=st.integers(0, 1000),
)  # fmt: skip
def test_random_layouts_agree(rule, before, after, size, seed):
    agree(rule, before, after, size, seed)
