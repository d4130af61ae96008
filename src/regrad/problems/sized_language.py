"""Next-token prediction with a decoder of any width, dense or of low rank: the language problem, resized."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from pydantic import Field, model_validator

from regrad.problems.language import LanguageOptions, LanguageProblem
from regrad.problems.models.decoder import Decoder, DecoderConfig
from regrad.problems.models.low_rank import make_low_rank
from regrad.problems.options import Count
from regrad.problems.randomness import torch_generator


class SizedLanguageOptions(LanguageOptions):
    """Options of a language problem, and the shape of its decoder where that is not one of the named ones."""

    # width of the residual stream; None keeps that of ``model``. The feed-forward is twice as wide.
    hidden: Count | None = None
    layers: Count | None = None  # blocks; None keeps those of ``model``
    heads: Count | None = None  # attention heads; None keeps those of ``model``
    # of the change of every linear layer inside the blocks; None trains them whole. Embedding, norms and head are
    # trained in any case.
    rank: Count | None = None
    alpha: float = Field(default=16.0, gt=0)  # scale of the change of low rank; only with ``rank``

    @model_validator(mode="after")
    def _shape_exists(self) -> Self:
        config = self.shape()
        if self.rank is not None and self.rank > config.hidden:
            raise ValueError(f"rank={self.rank}: at most hidden = {config.hidden}")
        return self

    def shape(self) -> DecoderConfig:
        config = super().shape()
        return replace(
            config,
            hidden=self.hidden or config.hidden,
            intermediate=2 * self.hidden if self.hidden else config.intermediate,
            heads=self.heads or config.heads,
            layers=self.layers or config.layers,
        )


@dataclass
class SizedLanguageProblem(LanguageProblem):
    """Predict every next token, with a decoder of the shape that the options give."""

    Options = SizedLanguageOptions

    options: SizedLanguageOptions

    def network(self, generator: torch.Generator) -> Decoder:
        """A new decoder; with a rank, the dense one with its weights frozen."""
        decoder, options = super().network(generator), self.options
        if options.rank is not None:
            make_low_rank(
                decoder,
                rank=options.rank,
                alpha=options.alpha,
                where=lambda name: name.startswith("blocks."),
                generator=torch_generator(self.seed, "low-rank"),
            )
        return decoder
