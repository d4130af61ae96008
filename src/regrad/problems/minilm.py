"""Fine-tune a pre-trained sentence encoder (MiniLM) to tell favourable from unfavourable film-review sentences."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.utils import skip_init

from regrad.problems.data.artefacts import Arrays, derived
from regrad.problems.data.minilm import minilm_folder
from regrad.problems.data.movie_reviews import movie_reviews
from regrad.problems.data.sources import fingerprint
from regrad.problems.options import Count, ProblemOptions, Switch
from regrad.problems.randomness import random_bits
from regrad.problems.sentences import SentenceProblem, split_sentences

PADDING = 0
FORMAT = 1
TARGETS = ["query", "value"]
Layers = Annotated[int, Field(strict=True, ge=1, le=6)]


class MiniLMOptions(ProblemOptions):
    """Options of the fine-tuning problem."""

    reviews: Literal["movie-reviews"] = "movie-reviews"
    layers: Layers = 6  # blocks of the encoder that are kept, the first ones
    # of LoRA on the queries and values (alpha 16), the head trained with it; None trains all weights
    rank: Count | None = None
    train_embeddings: Switch = True  # whether the embeddings are among all weights; without LoRA only
    tokens: Count = 48  # T, tokens of a sentence that are read, special ones included
    evaluation_examples: Count = 1000  # sentences of a split that `evaluate` uses, at most; the seed says which
    evaluation_batch: Count = 50


class Encoder(nn.Module):
    """Logits [B, 2] of ids [B, T], padded with 0: an encoder, the mean over a sentence's tokens, a linear head.

    Args:
        bert: A model of ``transformers`` that returns ``last_hidden_state`` [B, T, width].
        width: Of its hidden states.
        std: Standard deviation of the head's initial weights.
        generator: CPU generator of these weights.

    Source: Reimers & Gurevych 2019, Sentence-BERT: the mean is what MiniLM was trained to be read by.
    """

    def __init__(self, bert: nn.Module, width: int, *, std: float, generator: torch.Generator) -> None:
        super().__init__()
        self.bert = bert
        self.head = skip_init(nn.Linear, width, 2)
        nn.init.normal_(self.head.weight, std=std, generator=generator)
        nn.init.zeros_(self.head.bias)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """[B, T] -> [B, 2]."""
        mask = ids != PADDING
        hidden = self.bert(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        weights = mask.to(hidden.dtype)[..., None]
        return self.head((hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1))


def pretrained(folder: Path, layers: int, generator: torch.Generator) -> Encoder:
    """Return MiniLM with a new head of two classes, without dropout (ValueError: weights are missing)."""
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    given = json.loads((folder / "config.json").read_text())
    known = {key: value for key, value in given.items() if key not in ("_name_or_path", "architectures")}
    config = BertConfig(**known | {"num_hidden_layers": layers})
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    with torch.random.fork_rng(devices=[]):  # its constructor draws from the global state
        bert = BertModel(config, add_pooling_layer=False)
    missing = bert.load_state_dict(load_file(folder / "model.safetensors"), strict=False).missing_keys
    if missing:
        raise ValueError(f"{folder}: weights are missing, the first {missing[0]!r}")
    return Encoder(bert, config.hidden_size, std=config.initializer_range, generator=generator)


def with_low_rank(model: nn.Module, rank: int, seed: int) -> Any:
    """Return the model with LoRA by ``peft`` on its queries and values, everything else but the head frozen."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=16, lora_dropout=0.0, target_modules=TARGETS, modules_to_save=["head"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(random_bits(1, seed, "low-rank")[0] >> np.uint64(1)))
        return get_peft_model(model, config)


def prepare(pairs: Sequence[tuple[float, str]], encode: Callable[[list[str]], list[list[int]]], length: int) -> Arrays:
    """Ids [N, length], padded at the right, and labels [N] of each split."""
    arrays: Arrays = {}
    for split, part in split_sentences(pairs).items():
        table = np.full((len(part), length), PADDING, dtype=np.int64)
        for row, ids in zip(table, encode([text for _, text in part]), strict=True):
            row[: min(len(ids), length)] = ids[:length]
        arrays |= {f"{split}_ids": table, f"{split}_labels": np.array([label for label, _ in part])}
    return arrays


@dataclass
class MiniLMProblem(SentenceProblem):
    """Favourable or not, from a pre-trained encoder."""

    Options = MiniLMOptions

    options: MiniLMOptions
    folder: Path = field(kw_only=True)

    @classmethod
    def from_options(
        cls, options: MiniLMOptions, *, cache: Path, seed: int = 0, device: str | torch.device = "cpu"
    ) -> Self:
        """As for every problem, with the encoder's files read from the cache too."""
        return cls(options, cls.load(options, cache), seed, torch.device(device), folder=minilm_folder(cache))

    @classmethod
    def load(cls, options: MiniLMOptions, cache: Path) -> Arrays:
        key = {"what": "finetuning", "format": FORMAT, "data": fingerprint(options.reviews)}
        key |= {"encoder": fingerprint("minilm"), "tokens": options.tokens}

        def build() -> Arrays:
            encode = tokenizer(minilm_folder(cache) / "tokenizer.json", options.tokens)
            return prepare(movie_reviews(cache), encode, options.tokens)

        return derived(cache, key, build)

    @property
    def datasets(self) -> tuple[str, ...]:
        return (*super().datasets, "minilm")

    def network(self, generator: torch.Generator) -> nn.Module:
        """The encoder with a new head, and new LoRA factors if there is a rank."""
        options = self.options
        model = pretrained(self.folder, options.layers, generator)
        model.bert.embeddings.requires_grad_(options.train_embeddings)
        return model if options.rank is None else with_low_rank(model, options.rank, self.seed)


def tokenizer(file: Path, length: int) -> Callable[[list[str]], list[list[int]]]:
    """Sentences to their ids, at most ``length`` each, by the tokenizer in a file."""
    from tokenizers import Tokenizer

    trained = Tokenizer.from_file(str(file))
    trained.no_padding()
    trained.enable_truncation(length)
    return lambda texts: [encoding.ids for encoding in trained.encode_batch(texts)]
