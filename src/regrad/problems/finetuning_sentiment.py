"""Fine-tune a pre-trained sentence encoder (MiniLM) to tell favourable from unfavourable film-review sentences."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.utils import skip_init

from regrad.problems.classified_sentences import ClassifiedSentences
from regrad.problems.data.artefacts import Arrays, derived
from regrad.problems.data.minilm import minilm_folder
from regrad.problems.data.movie_reviews import movie_reviews
from regrad.problems.data.sources import fingerprint
from regrad.problems.data.splits import hash_share
from regrad.problems.options import Count, Options, Switch
from regrad.problems.randomness import random_bits, torch_generator

PADDING = 0
HELD_OUT = 10
FORMAT = 1
TARGETS = ["query", "value"]
Layers = Annotated[int, Field(strict=True, ge=1, le=6)]


class FinetuningOptions(Options):
    """Options of the fine-tuning problem.

    Attributes:
        reviews: Name of the sentences' source.
        layers: Blocks of the encoder that are kept, the first ones.
        rank: Of LoRA on the queries and values (alpha 16), the head trained with it; None trains all weights.
        train_embeddings: Whether the embeddings are among all weights; without LoRA only.
        tokens: T, tokens of a sentence that are read, special ones included.
        evaluation_examples: Sentences of a split that `evaluate` uses, at most; the seed says which.
    """

    reviews: Literal["movie-reviews"] = "movie-reviews"
    layers: Layers = 6
    rank: Count | None = None
    train_embeddings: Switch = True
    tokens: Count = 48
    evaluation_examples: Count = 1000


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


def pretrained(folder: Path, layers: int, seed: int) -> Encoder:
    """Return MiniLM with a new head of two classes, without dropout; the seed fills the head.

    Args:
        folder: With config.json and model.safetensors.
        layers: Blocks to keep.
        seed: Of the head.

    Raises:
        ValueError: Weights are missing.
    """
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    given = json.loads((folder / "config.json").read_text())
    known = {key: value for key, value in given.items() if key not in ("_name_or_path", "architectures")}
    config = BertConfig(**known | {"num_hidden_layers": layers})
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    with torch.random.fork_rng(devices=[]):  # its constructor draws from the global state
        bert = BertModel(config, add_pooling_layer=False)
    found = bert.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    if found.missing_keys:
        raise ValueError(f"{folder}: weights are missing, the first {found.missing_keys[0]!r}")
    std, generator = config.initializer_range, torch_generator(seed, "init")
    return Encoder(bert, config.hidden_size, std=std, generator=generator)


def with_low_rank(model: nn.Module, rank: int, seed: int) -> Any:
    """Return the model with LoRA by ``peft`` on its queries and values, everything else but the head frozen."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=16, lora_dropout=0.0, target_modules=TARGETS, modules_to_save=["head"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(random_bits(1, seed, "low-rank")[0] >> np.uint64(1)))
        return get_peft_model(model, config)


def prepare(pairs: Sequence[tuple[float, str]], encode: Callable[[list[str]], list[list[int]]], length: int) -> Arrays:
    """Return ids and labels by split: 80 % train, 10 % each validation and test, by the sentence's hash."""
    parts: dict[str, list[tuple[int, str]]] = {"train": [], "validation": [], "test": []}
    for rating, text in pairs:
        share = hash_share(text.encode("utf-8"))
        name = "validation" if share < HELD_OUT else "test" if share < 2 * HELD_OUT else "train"
        if rating != 0:
            parts[name].append((int(rating > 0), text))
    arrays: Arrays = {}
    for name, part in parts.items():
        table = np.full((len(part), length), PADDING, dtype=np.int64)
        for row, ids in zip(table, encode([text for _, text in part]), strict=True):
            row[: min(len(ids), length)] = ids[:length]
        arrays |= {f"{name}_ids": table, f"{name}_labels": np.array([label for label, _ in part])}
    return arrays


@dataclass
class FinetuningProblem(ClassifiedSentences):
    """Favourable or not, from a pre-trained encoder.

    Attributes:
        options: What was asked for.
        arrays: As `prepare` returns them.
        folder: Where the encoder's files are.
        seed: Of the head, LoRA, data order and evaluation subset, which use separate streams.
        device: Where models and batches live.
    """

    options: FinetuningOptions
    arrays: Arrays
    folder: Path
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    evaluated_at_once: int = field(default=50, repr=False)

    def init_model(self) -> nn.Module:
        """A new model, the same for every call and device."""
        options = self.options
        model = pretrained(self.folder, options.layers, self.seed)
        model.bert.embeddings.requires_grad_(options.train_embeddings)
        chosen = model if options.rank is None else with_low_rank(model, options.rank, self.seed)
        return chosen.to(self.device)


def build(
    options: FinetuningOptions,
    *,
    cache: Path,
    seed: int = 0,
    device: str | torch.device = "cpu",
    offline: bool = False,
) -> FinetuningProblem:
    """The fine-tuning problem with sentences and encoder read from the cache (fetched on first use).

    Args:
        options: What to build.
        cache: Cache folder for data.
        seed: Of everything random in the problem, >= 0.
        device: Where models and batches live.
        offline: Never use the network.

    Raises:
        OptionError: Options that do not fit together.
        DataError: The sentences or the encoder are missing or damaged.
    """
    folder = minilm_folder(cache, offline=offline)
    key = {"what": "finetuning", "format": FORMAT, "data": fingerprint(options.reviews)}
    key |= {"encoder": fingerprint("minilm"), "tokens": options.tokens}

    def read() -> Arrays:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(options.tokens)

        def encode(texts: list[str]) -> list[list[int]]:
            return [found.ids for found in tokenizer.encode_batch(texts)]

        return prepare(movie_reviews(cache, offline=offline), encode, options.tokens)

    return FinetuningProblem(options, derived(cache, key, read), folder, seed, torch.device(device))
