"""Text to token ids: bytes, or byte-pair encoding trained on the training split alone."""

import importlib.metadata
from collections.abc import Sequence
from typing import Literal

import numpy as np

from regrad.problems.data.errors import DataError

Tokenizer = Literal["bytes", "bpe"]
BYTE_VALUES = 256
END = "<|end|>"


def encode_bytes(documents: Sequence[str]) -> np.ndarray:
    """UTF-8 bytes of all documents, each followed by byte 0, uint8 [N]; byte 0 within becomes a space."""
    packed = b"".join(text.replace("\0", " ").encode("utf-8") + b"\0" for text in documents)
    return np.frombuffer(packed, dtype=np.uint8)


def train_bpe(documents: Sequence[str], vocabulary: int) -> bytes:
    """A byte-level BPE tokenizer trained on `documents`, as JSON; the same input gives the same bytes.

    Args:
        documents: Training split only.
        vocabulary: Number of ids, 257 … 65,536: the end mark, 256 bytes, and merges.

    Raises:
        DataError: The package `tokenizers` is missing, or the text has too few pairs for the vocabulary.
    """
    tokenizers = _library()
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer=trainer)
    size = tokenizer.get_vocab_size()
    if size != vocabulary:
        raise DataError(f"vocabulary={vocabulary}: the training text only supports {size} ids; choose fewer")
    return tokenizer.to_str().encode("utf-8")


def encode_bpe(documents: Sequence[str], trained: bytes) -> np.ndarray:
    """Ids of all documents, each followed by the end mark (id 0), uint16 [N]."""
    tokenizer = _library().Tokenizer.from_str(trained.decode("utf-8"))
    ids: list[int] = []
    for encoding in tokenizer.encode_batch(list(documents), add_special_tokens=False):
        ids += [*encoding.ids, 0]
    return np.asarray(ids, dtype=np.uint16)


def tokenizer_version(tokenizer: Tokenizer) -> str:
    """What the ids depend on besides text and vocabulary size."""
    return "utf-8" if tokenizer == "bytes" else f"tokenizers=={_version()}"


def _version() -> str:
    try:
        return importlib.metadata.version("tokenizers")
    except importlib.metadata.PackageNotFoundError:
        message = "tokenizer='bpe' needs the package tokenizers; install it or choose 'bytes'"
        raise DataError(message) from None


def _library():
    _version()
    import tokenizers

    return tokenizers
