"""Spiking residual networks: leaky integrate-and-fire neurons, soft or hard reset, and their spike counts.

"Reset: soft/hard" and "number of spikes (K)", the columns of the DGS result tables, are standard terms here.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from regrad.problems.models.resnet import ResNetConfig, shortcut

RESETS = ("soft", "hard")


class Spike(torch.autograd.Function):
    """Heaviside step, 1 where x >= 0, with the surrogate derivative 1 / (1 + (π x)²) in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """[*] -> 0 or 1 [*]."""
        ctx.save_for_backward(x)
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Chain with the derivative of 1/2 + arctan(π x) / π, which is 1 at the threshold."""
        (x,) = ctx.saved_tensors
        return gradients[0] / (1 + (math.pi * x).square())


class LeakyIntegrateAndFire(nn.Module):
    """Currents [T, *] -> spikes 0 or 1 [T, *], from membrane potential 0.

    u_t = decay v_{t-1} + I_t;   s_t = 1 if u_t >= threshold else 0;   and after the spike
    soft reset v_t = u_t - threshold s_t (what lay above the threshold stays),
    hard reset v_t = u_t (1 - s_t) (back to 0).

    Args:
        reset: "soft" or "hard".
        decay: Share of the potential that is left after one step, in (0, 1].
        threshold: Potential of a spike, > 0.

    Source: soft and hard reset as in Han, Srinivasan and Roy, CVPR 2020 (arXiv 2003.01811); the arctangent
        surrogate with α = 2, Fang et al., ICCV 2021 (arXiv 2007.05785).
    Departures: no gradient flows through the reset's s_t, as is common; the input current is not divided by
        the time constant.
    """

    def __init__(
        self, reset: Literal["soft", "hard"] = "soft", *, decay: float = 0.5, threshold: float = 1.0
    ):
        super().__init__()
        if reset not in RESETS:
            raise ValueError(f"reset={reset!r} must be 'soft' or 'hard'")
        if not 0 < decay <= 1:
            raise ValueError(f"decay={decay!r} must be in (0, 1]")
        if not 0 < threshold < math.inf:
            raise ValueError(f"threshold={threshold!r} must be a finite number > 0")
        self.reset, self.decay, self.threshold = reset, decay, threshold

    def forward(self, currents: Tensor) -> Tensor:
        """[T, *] -> [T, *]; no state is kept between calls."""
        left = torch.zeros_like(currents[0])
        spikes = []
        for current in currents:
            potential = self.decay * left + current
            spike = Spike.apply(potential - self.threshold)
            fired = spike.detach()
            left = potential - self.threshold * fired if self.reset == "soft" else potential * (1 - fired)
            spikes.append(spike)
        return torch.stack(spikes)


class SpikingLayer(nn.Module):
    """3×3 convolution, BatchNorm over time and batch together, an optional shortcut current, then neurons."""

    def __init__(self, sizes: tuple[int, int], stride: int, reset: Literal["soft", "hard"]):
        super().__init__()
        # skip_init leaves the global random state alone; SpikingResNet fills the weights.
        self.convolution = nn.utils.skip_init(nn.Conv2d, *sizes, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(sizes[1])
        self.neurons = LeakyIntegrateAndFire(reset)

    def forward(self, spikes: Tensor, added: Tensor | None = None) -> Tensor:
        """[T, B, C, H, W] -> spikes [T, B, C', H', W']."""
        currents = self.norm(self.convolution(spikes.flatten(0, 1))).unflatten(0, spikes.shape[:2])
        return self.neurons(currents if added is None else currents + added)


class SpikingBlock(nn.Module):
    """Two spiking layers; the block's input spikes join the second one's current."""

    def __init__(self, inputs: int, outputs: int, reset: Literal["soft", "hard"]):
        super().__init__()
        self.first = SpikingLayer((inputs, outputs), 1 if inputs == outputs else 2, reset)
        self.second = SpikingLayer((outputs, outputs), 1, reset)

    def forward(self, spikes: Tensor) -> Tensor:
        """[T, B, inputs, H, W] -> spikes [T, B, outputs, H', W']."""
        y = self.first(spikes)
        added = shortcut(spikes.flatten(0, 1), y.shape[2]).unflatten(0, spikes.shape[:2])
        return self.second(y, added)


class SpikingResNet(nn.Module):
    """Images [B, C, H, W] -> logits [B, classes]: ResNet-(6n + 2) with neurons in place of rectifiers.

    The image is shown unchanged at each of ``steps`` time steps; the stem's neurons turn it into spikes. The
    logits are a linear function of the last stage's firing rates, averaged over space and time.

    Args:
        config: Shape, as for :class:`regrad.problems.models.resnet.ResNet`; its norm must be "batch".
        reset: Membrane reset of all neurons, "soft" or "hard".
        steps: T, the number of time steps.
        generator: CPU generator of the initial weights; None uses torch's default generator.
    """

    def __init__(
        self,
        config: ResNetConfig,
        *,
        reset: Literal["soft", "hard"] = "soft",
        steps: int = 4,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if config.norm != "batch":
            raise ValueError(f"norm={config.norm!r} must be 'batch' for a spiking network")
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps={steps!r} must be an integer >= 1")
        self.config, self.steps = config, steps
        width, blocks = config.width, (config.depth - 2) // 6
        self.stem = SpikingLayer((config.channels, width), 1, reset)
        sizes = [width] * blocks + [2 * width] * blocks + [4 * width] * blocks
        pairs = zip([width, *sizes], sizes, strict=False)
        self.blocks = nn.Sequential(*(SpikingBlock(inputs, outputs, reset) for inputs, outputs in pairs))
        self.head = nn.utils.skip_init(nn.Linear, 4 * width, config.classes)
        for weight in self.parameters():
            if weight.dim() == 4:
                nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu", generator=generator)
        bound = self.head.in_features**-0.5
        nn.init.uniform_(self.head.weight, -bound, bound, generator=generator)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, C, H, W]; H and W at least 4."""
        shown = images.expand(self.steps, *images.shape)
        return self.head(self.blocks(self.stem(shown)).mean(dim=(0, 3, 4)))


@contextmanager
def counted_spikes(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect, while open, the spikes per image [B]: one tensor for each layer of neurons and call."""
    counts: list[Tensor] = []

    def count(_module: nn.Module, _inputs: Any, spikes: Tensor) -> None:
        counts.append(spikes.detach().sum(dim=0).flatten(1).sum(dim=1))

    handles = [
        m.register_forward_hook(count) for m in model.modules() if isinstance(m, LeakyIntegrateAndFire)
    ]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def spikes_per_image(model: SpikingResNet, images: Tensor) -> Tensor:
    """Return how many spikes all neurons together fire for each image [B], over all time steps, in eval mode.

    Its mean over a test set, divided by 1000, is the tables' "# of Spikes (K)" as the field uses the words.
    """
    training = model.training
    model.eval()
    try:
        with counted_spikes(model) as counts:
            model(images)
    finally:
        model.train(training)
    return torch.stack(counts).sum(dim=0)
