"""Next-token prediction on a packed corpus with a Llama-style decoder."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from pydantic import model_validator
from torch import nn
from torch.nn.functional import cross_entropy

from regrad.problems.batch import DTYPES, Batch, Dtype, check_position, evaluating
from regrad.problems.data.corpora import Corpus, load_tokens
from regrad.problems.data.splits import Split
from regrad.problems.data.tokenizing import BYTE_VALUES, Tokenizer
from regrad.problems.models.decoder import CONFIGS, Decoder
from regrad.problems.options import Count, OptionError, Options, Switch
from regrad.problems.randomness import permutation, random_bits, torch_generator

Size = Literal["0.1M", "0.3M", "1M", "3M", "10M", "25M", "60M", "130M", "350M", "1B"]


class LanguageOptions(Options):
    """Options of a language problem.

    Attributes:
        corpus: Name of the corpus.
        documents: Training documents to stream; for "c4", which needs it, and no other.
        tokenizer: "bytes" (256 ids) or "bpe".
        vocabulary: Number of ids; only for "bpe", where it must be 257 … 65,536.
        model: Name of the decoder's size.
        tied_head: Whether the output head is the embedding matrix.
        fused_attention: See DecoderConfig.fused.
        sequence_length: T, tokens per example.
        evaluation_sequences: Sequences of a split that `evaluate` uses, at most; the seed says which.
        evaluation_batch: Sequences per forward pass in `evaluate`; changes memory, and results by rounding.
        dtype: Type of the weights.
    """

    corpus: Corpus = "news"
    documents: Count | None = None
    tokenizer: Tokenizer = "bytes"
    vocabulary: Count | None = None
    model: Size = "0.1M"
    tied_head: Switch = False
    fused_attention: Switch = False
    sequence_length: Count = 64
    evaluation_sequences: Count = 512
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
        """Number of token ids."""
        return self.vocabulary or BYTE_VALUES


@dataclass
class LanguageProblem:
    """Predict every next token of sequences cut from a packed corpus.

    Attributes:
        options: What was asked for.
        tokens: "train", "validation", "test" -> ids [N].
        seed: Seed of initialisation, data order and evaluation subset, which use separate streams.
        device: Where models and batches live.
    """

    options: LanguageOptions
    tokens: dict[str, np.ndarray]
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _order: tuple[int, np.ndarray] | None = field(default=None, repr=False)

    def __post_init__(self):
        length = self.options.sequence_length
        for split in ("train", "validation", "test"):
            if len(self.tokens[split]) <= 2 * length:
                count = len(self.tokens[split])
                raise OptionError(f"sequence_length={length}: the {split} split has only {count} tokens")

    @property
    def name(self) -> str:
        """Short name for records and figures."""
        return f"{self.options.corpus}-{self.options.tokenizer}-{self.options.model}"

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the sources whose bytes determine the results."""
        return (self.options.corpus,)

    @property
    def sequences(self) -> int:
        """Number of training sequences in one epoch."""
        # One window less than fit, so that every offset of the epoch leaves the same number.
        return (len(self.tokens["train"]) - 1) // self.options.sequence_length - 1

    def init_model(self) -> Decoder:
        """A new model, the same for every call and device."""
        options = self.options
        config = replace(
            CONFIGS[options.model],
            vocabulary=options.vocabulary_size,
            context=options.sequence_length,
            tied=options.tied_head,
            fused=options.fused_attention,
        )
        model = Decoder(config, generator=torch_generator(self.seed, "init"))
        return model.to(self.device, DTYPES[self.options.dtype])

    def batch(self, step: int, batch_size: int) -> Batch:
        """Training batch number `step`, computed without the earlier ones.

        The examples are number step·B … step·B + B − 1 of an endless series: epoch after epoch, each a fresh
        random order of windows of T + 1 tokens, which start at a fresh random offset.

        Args:
            step: >= 0.
            batch_size: B >= 1.

        Returns:
            Inputs and targets [B, T].
        """
        check_position(step, batch_size)
        numbers = range(step * batch_size, (step + 1) * batch_size)
        starts = [self._start(*divmod(number, self.sequences)) for number in numbers]
        return self._windows("train", np.asarray(starts))

    def _start(self, epoch: int, position: int) -> int:
        if self._order is None or self._order[0] != epoch:
            offset = random_bits(1, self.seed, "offset", epoch)[0] % np.uint64(self.options.sequence_length)
            order = permutation(self.sequences, self.seed, "order", epoch)
            self._order = epoch, order * self.options.sequence_length + int(offset)
        return int(self._order[1][position])

    def _windows(self, split: Split, starts: np.ndarray) -> Batch:
        where = starts[:, None] + np.arange(self.options.sequence_length + 1)
        ids = torch.from_numpy(self.tokens[split][where].astype(np.int64)).to(self.device)
        return Batch(ids[:, :-1], ids[:, 1:])

    def losses(self, model: Callable[[torch.Tensor], torch.Tensor], batch: Batch) -> torch.Tensor:
        """Loss of each sequence, [B], not divided by B: its tokens' mean negative log-likelihood in nats.

        Args:
            model: Maps [B, T] ids to [B, T, vocabulary] logits.
            batch: B sequences.
        """
        logits = model(batch.inputs)
        if logits.dtype == torch.bfloat16:
            logits = logits.float()
        tokens = cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none")
        return tokens.unflatten(0, batch.targets.shape).mean(dim=1)

    def evaluate(self, model: nn.Module, split: Split = "validation") -> dict[str, float]:
        """Mean loss per token in nats and its exponential, over the evaluation subset of a split.

        Returns:
            "loss" and "perplexity" (inf where the exponential overflows).
        """
        length = self.options.sequence_length
        count = (len(self.tokens[split]) - 1) // length
        chosen = np.sort(permutation(count, self.seed, "evaluation")[: self.options.evaluation_sequences])
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        with evaluating(model):
            for part in np.array_split(chosen, math.ceil(len(chosen) / self.options.evaluation_batch)):
                total = total + self.losses(model, self._windows(split, part * length)).double().sum()
        loss = float(total) / len(chosen)
        return {"loss": loss, "perplexity": math.exp(loss) if loss < 700 else math.inf}


def build(
    options: LanguageOptions,
    *,
    cache: Path,
    seed: int = 0,
    device: str | torch.device = "cpu",
    offline: bool = False,
) -> LanguageProblem:
    """A language problem with its corpus read from the cache (fetched and tokenized on first use).

    Args:
        options: What to build.
        cache: Cache folder for data.
        seed: Of everything random in the problem, >= 0.
        device: Where models and batches live.
        offline: Never use the network.

    Raises:
        OptionError: Options that do not fit together.
        DataError: The corpus is missing or damaged.
    """
    tokens = load_tokens(
        options.corpus,
        cache,
        tokenizer=options.tokenizer,
        vocabulary=options.vocabulary_size,
        documents=options.documents,
        offline=offline,
    )
    return LanguageProblem(options, tokens, seed, torch.device(device))
