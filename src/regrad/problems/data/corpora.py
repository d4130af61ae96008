"""Corpora as packed token arrays, one per split, split by document and cached."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from regrad.problems.data.artefacts import Arrays, derived
from regrad.problems.data.news import news_documents
from regrad.problems.data.sources import fingerprint
from regrad.problems.data.splits import Split, hash_share
from regrad.problems.data.tokenizing import Tokenizer, encode_bpe, encode_bytes, tokenizer_version, train_bpe
from regrad.problems.data.topics import topic_documents

Corpus = Literal["news", "python-topics"]
FORMAT = 1
HELD_OUT = 5
READERS = {"news": news_documents, "python-topics": topic_documents}


def split_of(document: str) -> Split:
    """The split of a document, by its hash alone: 90 % train, 5 % validation, 5 % test."""
    share = hash_share(document.encode("utf-8"))
    if share < HELD_OUT:
        return "validation"
    return "test" if share < 2 * HELD_OUT else "train"


def tokenize_splits(documents: Sequence[str], tokenizer: Tokenizer, vocabulary: int) -> Arrays:
    """Token arrays "train", "validation", "test" and, for BPE, the trained "tokenizer" as bytes."""
    parts: dict[Split, list[str]] = {"train": [], "validation": [], "test": []}
    for document in documents:
        parts[split_of(document)].append(document)
    if tokenizer == "bytes":
        return {name: encode_bytes(part) for name, part in parts.items()}
    trained = train_bpe(parts["train"], vocabulary)
    arrays: Arrays = {name: encode_bpe(part, trained) for name, part in parts.items()}
    return arrays | {"tokenizer": np.frombuffer(trained, dtype=np.uint8)}


def load_tokens(
    corpus: Corpus, cache: Path, *, tokenizer: Tokenizer, vocabulary: int, offline: bool = False
) -> Arrays:
    """The tokens of a corpus, memory-mapped from the cache, made on first use.

    Args:
        corpus: Name of a corpus; also its name in the table of sources.
        cache: Cache folder.
        tokenizer: "bytes" or "bpe".
        vocabulary: Number of token ids; 256 for "bytes".
        offline: Never use the network.

    Returns:
        "train", "validation", "test" -> unsigned integer ids [N]; for BPE also "tokenizer".
    """
    key = {
        "what": f"tokens-{corpus}",
        "format": FORMAT,
        "data": fingerprint(corpus),
        "tokenizer": tokenizer_version(tokenizer),
        "vocabulary": vocabulary,
    }
    return derived(
        cache, key, lambda: tokenize_splits(READERS[corpus](cache, offline=offline), tokenizer, vocabulary)
    )
