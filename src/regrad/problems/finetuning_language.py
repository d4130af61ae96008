"""Next-token prediction with a decoder of any width, dense or of low rank: the language problem, resized."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import Field, model_validator

from regrad.problems.batch import DTYPES
from regrad.problems.language import LanguageOptions, LanguageProblem
from regrad.problems.language import build as build_language
from regrad.problems.models.decoder import CONFIGS, Decoder
from regrad.problems.models.low_rank import make_low_rank
from regrad.problems.options import Count
from regrad.problems.randomness import torch_generator


class SizedLanguageOptions(LanguageOptions):
    """Options of a language problem, and the shape of its decoder where that is not one of the named ones.

    Attributes:
        hidden: Width of the residual stream; None keeps that of ``model``. The feed-forward is twice as wide.
        layers: Blocks; None keeps those of ``model``.
        heads: Attention heads; None keeps those of ``model``.
        rank: Of the change of every linear layer inside the blocks; None trains them whole. Embedding, norms
            and head are trained in any case.
        alpha: Scale of the change of low rank; only with ``rank``.
    """

    hidden: Count | None = None
    layers: Count | None = None
    heads: Count | None = None
    rank: Count | None = None
    alpha: float = Field(default=16.0, gt=0)

    @model_validator(mode="after")
    def _shape_exists(self) -> Self:
        config = self.shape()
        if self.rank is not None and self.rank > config.hidden:
            raise ValueError(f"rank={self.rank}: at most hidden = {config.hidden}")
        return self

    def shape(self) -> Any:
        """Return the decoder's shape, vocabulary and context aside."""
        named = CONFIGS[self.model]
        hidden = self.hidden or named.hidden
        wide = 2 * hidden if self.hidden else named.intermediate
        return replace(
            named,
            hidden=hidden,
            intermediate=wide,
            heads=self.heads or named.heads,
            layers=self.layers or named.layers,
        )


@dataclass
class SizedLanguageProblem(LanguageProblem):
    """Predict every next token, with a decoder of the shape that the options give."""

    options: SizedLanguageOptions

    def init_model(self) -> Decoder:
        """A new model, the same for every call and device; with a rank, the dense model's frozen weights in it."""
        options = self.options
        config = replace(
            options.shape(),
            vocabulary=options.vocabulary_size,
            context=options.sequence_length,
            tied=options.tied_head,
            fused=options.fused_attention,
        )
        model = Decoder(config, generator=torch_generator(self.seed, "init"))
        if options.rank is not None:
            generator = torch_generator(self.seed, "low-rank")
            make_low_rank(
                model,
                rank=options.rank,
                alpha=options.alpha,
                where=lambda name: name.startswith("blocks."),
                generator=generator,
            )
        return model.to(self.device, DTYPES[options.dtype])


def build(
    options: SizedLanguageOptions,
    *,
    cache: Path,
    seed: int = 0,
    device: str | torch.device = "cpu",
    offline: bool = False,
) -> SizedLanguageProblem:
    """A language problem as `regrad.problems.language.build` makes it, with the decoder of these options."""
    dense = build_language(options, cache=cache, seed=seed, device=device, offline=offline)
    return SizedLanguageProblem(options, dense.tokens, dense.seed, dense.device)
