"""Say whether a sentence of a film review is favourable, with an LSTM or a small transformer."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from regrad.problems.data.artefacts import Arrays
from regrad.problems.models.decoder import CONFIGS, Decoder
from regrad.problems.models.lstm import DecoderClassifier, LSTMClassifier
from regrad.problems.options import Count, ProblemOptions
from regrad.problems.sentences import SentenceProblem, load_sentences


class SentimentOptions(ProblemOptions):
    """Options of a sentiment problem."""

    reviews: Literal["movie-reviews"] = "movie-reviews"
    network_kind: Literal["lstm", "transformer"] = "lstm"  # "lstm" or "transformer", whose size is named by ``model``
    model: Literal["0.1M", "0.3M", "1M", "3M", "10M"] = "0.1M"
    hidden: Count = 32  # width of the LSTM
    # number of ids: padding, unknown, and the most frequent words of the training split
    vocabulary: Annotated[int, Field(strict=True, ge=4)] = 2000
    words: Count = 24  # T, words of a sentence that are read
    evaluation_examples: Count = 2000  # sentences of a split that `evaluate` uses, at most; the seed says which


@dataclass
class SentimentProblem(SentenceProblem):
    """Favourable or not, by a sentence's words."""

    Options = SentimentOptions

    options: SentimentOptions

    @classmethod
    def load(cls, options: SentimentOptions, cache: Path) -> Arrays:
        return load_sentences(options.reviews, cache, vocabulary=options.vocabulary, length=options.words)

    def network(self, generator: torch.Generator) -> nn.Module:
        options = self.options
        if options.network_kind == "lstm":
            return LSTMClassifier(options.vocabulary, options.hidden, 2, generator=generator)
        config = replace(CONFIGS[options.model], vocabulary=options.vocabulary, context=options.words)
        return DecoderClassifier(Decoder(config, generator=generator), 2)
