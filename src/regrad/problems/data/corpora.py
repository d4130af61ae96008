"""Corpora as packed token arrays, one per split, split by document and cached."""

import pydoc_data.topics
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from regrad.problems.data.artefacts import Arrays, derived
from regrad.problems.data.c4 import c4_documents
from regrad.problems.data.news import news_documents
from regrad.problems.data.sources import fingerprint
from regrad.problems.data.splits import SPLITS, Split, split_of
from regrad.problems.data.tokenizing import Tokenizer, encode_bpe, encode_bytes, tokenizer_version, train_bpe

Corpus = Literal["news", "c4", "python-topics"]
FORMAT = 1
HELD_OUT = 5
Texts = dict[Split, list[str]]


def split_documents(documents: Sequence[str]) -> Texts:
    """The documents of each split in their order, by their hash: 90 % train, 5 % validation, 5 % test."""
    parts: Texts = {split: [] for split in SPLITS}
    for document in documents:
        parts[split_of(document.encode("utf-8"), HELD_OUT)].append(document)
    return parts


def topic_documents() -> list[str]:
    """Python's built-in help topics, which need no network: for tests, as the text depends on Python's version."""
    return [text for _, text in sorted(pydoc_data.topics.topics.items())]


def read_texts(corpus: Corpus, cache: Path, *, documents: int | None = None) -> Texts:
    """The documents of a corpus by split; `documents` says how many to stream for training from C4."""
    if corpus == "c4":
        train = documents or 0
        return c4_documents(train, max(train // 10, 100))
    return split_documents(news_documents(cache) if corpus == "news" else topic_documents())


def tokenize(parts: Texts, tokenizer: Tokenizer, vocabulary: int) -> Arrays:
    """Token arrays "train", "validation", "test" and, for BPE, the trained "tokenizer" as bytes."""
    if tokenizer == "bytes":
        return {name: encode_bytes(part) for name, part in parts.items()}
    trained = train_bpe(parts["train"], vocabulary)
    arrays: Arrays = {name: encode_bpe(part, trained) for name, part in parts.items()}
    return arrays | {"tokenizer": np.frombuffer(trained, dtype=np.uint8)}


def load_tokens(
    corpus: Corpus,
    cache: Path,
    *,
    tokenizer: Tokenizer = "bytes",
    vocabulary: int = 256,
    documents: int | None = None,
) -> Arrays:
    """The tokens of a corpus, memory-mapped from the cache, made on first use; ``documents`` is for C4 only.

    Returns:
        "train", "validation", "test" -> unsigned integer ids [N]; for BPE also "tokenizer".
    """
    key = {
        "what": f"tokens-{corpus}",
        "format": FORMAT,
        "data": fingerprint(corpus),
        "tokenizer": tokenizer_version(tokenizer),
        "vocabulary": vocabulary,
        "documents": documents,
    }

    def build() -> Arrays:
        texts = read_texts(corpus, cache, documents=documents)
        return tokenize(texts, tokenizer, vocabulary)

    return derived(cache, key, build)
