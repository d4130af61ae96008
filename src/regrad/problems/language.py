"""Next-token prediction on a packed corpus with a Llama-style decoder."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from pydantic import model_validator
from torch import nn

from regrad.problems.batch import DTYPES, Batch, Dtype, placed
from regrad.problems.classification import class_losses
from regrad.problems.data.artefacts import Arrays
from regrad.problems.data.corpora import Corpus, load_tokens
from regrad.problems.data.splits import SPLITS, Split
from regrad.problems.data.tokenizing import BYTE_VALUES, Tokenizer
from regrad.problems.models.decoder import CONFIGS, Decoder, DecoderConfig
from regrad.problems.options import Count, OptionError, ProblemOptions, Switch
from regrad.problems.problem import Problem
from regrad.problems.randomness import random_bits

Size = Literal["0.1M", "0.3M", "1M", "3M", "10M", "25M", "60M", "130M", "350M", "1B"]


class LanguageOptions(ProblemOptions):
    """Options of a language problem."""

    corpus: Corpus = "news"
    documents: Count | None = None  # training documents to stream; for "c4", which needs it, and no other
    tokenizer: Tokenizer = "bytes"  # "bytes" (256 ids) or "bpe"
    vocabulary: Count | None = None  # number of ids; only for "bpe", where it must be 257 … 65,536
    model: Size = "0.1M"
    tied_head: Switch = False
    fused_attention: Switch = False  # see DecoderConfig.fused
    sequence_length: Count = 64  # T, tokens per example
    evaluation_sequences: Count = 512  # sequences of a split that `evaluate` uses, at most; the seed says which
    evaluation_batch: Count = 64
    dtype: Dtype = "float32"

    @model_validator(mode="after")
    def _documents_fit_corpus(self) -> Self:
        if (self.corpus == "c4") != (self.documents is not None):
            raise ValueError(f"documents={self.documents}: corpus 'c4' needs a number, the others take none")
        return self

    @model_validator(mode="after")
    def _vocabulary_fits_tokenizer(self) -> Self:
        if self.tokenizer == "bytes" and self.vocabulary not in (None, BYTE_VALUES):
            raise ValueError(f"vocabulary={self.vocabulary}: the tokenizer 'bytes' has {BYTE_VALUES} ids")
        if self.tokenizer == "bpe" and not BYTE_VALUES < (self.vocabulary or 0) <= 2**16:
            raise ValueError(f"vocabulary={self.vocabulary}: the tokenizer 'bpe' needs 257 … 65536 ids")
        return self

    @property
    def vocabulary_size(self) -> int:
        return self.vocabulary or BYTE_VALUES

    def shape(self) -> DecoderConfig:
        return replace(
            CONFIGS[self.model],
            vocabulary=self.vocabulary_size,
            context=self.sequence_length,
            tied=self.tied_head,
            fused=self.fused_attention,
        )


@dataclass
class LanguageProblem(Problem):
    """Predict every next token of sequences cut from a packed corpus; ``arrays`` holds the ids [N] of each split."""

    Options = LanguageOptions
    data_options = ("corpus",)

    options: LanguageOptions

    def __post_init__(self) -> None:
        length = self.options.sequence_length
        for split in SPLITS:
            if (count := len(self.arrays[split])) <= 2 * length:
                raise OptionError(f"sequence_length={length}: the {split} split has only {count} tokens")

    @classmethod
    def load(cls, options: LanguageOptions, cache: Path) -> Arrays:
        return load_tokens(
            options.corpus,
            cache,
            tokenizer=options.tokenizer,
            vocabulary=options.vocabulary_size,
            documents=options.documents,
        )

    def size(self, split: Split) -> int:
        """Sequences that a split is cut into, one after the other."""
        return (len(self.arrays[split]) - 1) // self.options.sequence_length

    @property
    def epoch_size(self) -> int:
        """Sequences in one epoch: one less than are in the split, as they start at an offset."""
        return self.size("train") - 1

    def epoch(self, number: int) -> np.ndarray:
        """First tokens of windows that lie side by side from a fresh random offset, in random order."""
        length = self.options.sequence_length
        offset = random_bits(1, self.seed, "offset", number)[0] % np.uint64(length)
        return super().epoch(number) * length + int(offset)

    def evaluation_places(self, split: Split) -> np.ndarray:
        """First tokens of the windows that `evaluate` uses."""
        return self.sample(split, self.options.evaluation_sequences) * self.options.sequence_length

    def examples(self, split: Split, places: np.ndarray) -> Batch:
        """Inputs and targets [B, T], the targets one token later."""
        window = places[:, None] + np.arange(self.options.sequence_length + 1)
        ids = placed(self.arrays[split][window].astype(np.int64), self.device)
        return Batch(ids[:, :-1], ids[:, 1:])

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.options.dtype]

    def network(self, generator: torch.Generator) -> Decoder:
        return Decoder(self.options.shape(), generator=generator)

    def losses(self, model: Callable[..., torch.Tensor], batch: Batch) -> torch.Tensor:
        """Loss of each sequence, [B], not divided by B: its tokens' mean negative log-likelihood in nats."""
        tokens = class_losses(model(batch.inputs).flatten(0, 1), batch.targets.flatten())
        return tokens.unflatten(0, batch.targets.shape).mean(dim=1)

    def evaluate(self, model: nn.Module, split: Split = "validation") -> dict[str, float]:
        """Mean loss per token in nats, "loss", and its exponential, "perplexity" (inf where that overflows)."""
        loss = super().evaluate(model, split)["loss"]
        return {"loss": loss, "perplexity": math.exp(loss) if loss < 700 else math.inf}
