"""Say in words what is in an image: a small captioner, its patches projected in front of a decoder as visual tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import skip_init

from regrad.problems.batch import Batch, evaluating
from regrad.problems.data.artefacts import Arrays
from regrad.problems.data.image_sets import load_images
from regrad.problems.data.splits import Split
from regrad.problems.images import normalised
from regrad.problems.models.decoder import Decoder, DecoderConfig
from regrad.problems.options import Count, ProblemOptions
from regrad.problems.problem import Problem

NAMES: dict[str, tuple[str, ...]] = {
    "fashion-mnist": (
        "t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
    "digits": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
}  # fmt: skip
PAD, END = 0, ord("\n")


class CaptionOptions(ProblemOptions):
    """Options of the caption problem."""

    images: Literal["fashion-mnist", "digits"] = "fashion-mnist"
    patch: Count = 7  # side of a patch in pixels; what does not fill a patch at the right and lower edge is not seen
    hidden: Count = 32  # width of the decoder; the feed-forward is twice as wide
    heads: Count = 2
    layers: Count = 2
    evaluation_examples: Count = 500  # images of a split that `evaluate` uses, at most; the seed says which
    evaluation_batch: Count = 50


def caption_table(names: tuple[str, ...]) -> torch.Tensor:
    """Bytes of the names [classes, L], each closed by a newline and padded with 0."""
    texts = [[*name.encode("ascii"), END] for name in names]
    length = max(map(len, texts))
    return torch.tensor([text + [PAD] * (length - len(text)) for text in texts])


class Captioner(nn.Module):
    """Logits [B, L, 256] of the bytes of captions [B, L], given images [B, C, H, W] and the bytes before.

    ``pixels`` are the entries of a patch over all channels, ``patch`` is its side.

    Source: Liu et al. 2023 (LLaVA): visual tokens are a projection of image features; here of raw patches.
    """

    def __init__(self, config: DecoderConfig, pixels: int, patch: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.patch = patch
        self.projection = skip_init(nn.Linear, pixels, config.hidden, bias=False)
        nn.init.normal_(self.projection.weight, std=config.init_std, generator=generator)
        self.decoder = Decoder(config, generator=generator)

    def forward(self, images: torch.Tensor, captions: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W], [B, L] -> [B, L, 256]; position k sees the image and the first k bytes."""
        decoder = self.decoder
        patches = nn.functional.unfold(images, self.patch, stride=self.patch).transpose(1, 2)
        seen = self.projection(patches)
        x = torch.cat([seen, decoder.embedding(captions[:, :-1])], dim=1)
        cos, sin = (table[: x.shape[1]].to(x.dtype) for table in (decoder.cos, decoder.sin))
        for block in decoder.blocks:
            x = block(x, cos, sin)
        return decoder.head(decoder.norm(x[:, seen.shape[1] - 1 :]))


@dataclass
class CaptionProblem(Problem):
    """Write the name of what is in an image; ``arrays`` is what `load_images` returns."""

    Options = CaptionOptions
    data_options = ("images",)

    options: CaptionOptions

    def __post_init__(self) -> None:
        self.captions = caption_table(NAMES[self.options.images]).to(self.device)

    @classmethod
    def load(cls, options: CaptionOptions, cache: Path) -> Arrays:
        return load_images(options.images, cache)

    def size(self, split: Split) -> int:
        return len(self.arrays[f"{split}_labels"])

    def examples(self, split: Split, places: np.ndarray) -> Batch:
        """Normalised images [B, C, H, W] and labels [B]."""
        return normalised(self, split, places)

    def network(self, generator: torch.Generator) -> Captioner:
        options = self.options
        channels, height, width = self.arrays["train_images"].shape[1:]
        tokens = (height // options.patch) * (width // options.patch) + self.captions.shape[1]
        sizes = (options.hidden, 2 * options.hidden, options.heads, options.layers, 256)
        config = DecoderConfig(*sizes, context=tokens)
        return Captioner(config, channels * options.patch**2, options.patch, generator=generator)

    def losses(self, model: Callable[..., torch.Tensor], batch: Batch) -> torch.Tensor:
        """Negative log-likelihood in nats of each image's caption, [B], summed over its bytes, not divided by B."""
        captions = self.captions[batch.targets]
        letters = cross_entropy(model(batch.inputs, captions).flatten(0, 1), captions.flatten(), reduction="none")
        return (letters.unflatten(0, captions.shape) * (captions != PAD)).sum(dim=1)

    def evaluate(self, model: nn.Module, split: Split = "validation") -> dict[str, float]:
        """Mean "loss" in nats a caption, and "accuracy" (0 … 1): how often the own name is the likeliest of all."""
        batches = list(self.evaluation_batches(split))
        labels = torch.cat([batch.targets for batch in batches])
        with evaluating(model):
            losses = torch.cat([self._every_name(model, batch.inputs) for batch in batches])
        own = losses.gather(1, labels[:, None]).double()
        return {"loss": float(own.mean()), "accuracy": float((losses.argmin(dim=1) == labels).double().mean())}

    def _every_name(self, model: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihoods [N, classes] of every name for each of N images."""
        classes = torch.arange(len(self.captions), device=self.device)
        every = Batch(images.repeat_interleave(len(classes), dim=0), classes.repeat(len(images)))
        return self.losses(model, every).unflatten(0, (len(images), -1))
