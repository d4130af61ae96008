"""Documents of C4, the web corpus of the papers, streamed; for machines with internet."""

import itertools
from collections.abc import Iterable

from regrad.problems.data.errors import DataError
from regrad.problems.data.sources import find
from regrad.problems.data.splits import Split, hash_share

SHUFFLE_SEED = 42
BUFFER = 10_000


def c4_documents(train: int, held_out: int) -> dict[Split, list[str]]:
    """The first documents of the shuffled streams of C4's English training and validation splits.

    Args:
        train: Documents for training.
        held_out: Documents of the validation split, divided by hash into our validation and test, half each.

    Raises:
        DataError: The package `datasets` missing, no network, or fewer documents than asked for.

    Departures: the papers evaluate on 10 million tokens of the validation split; here `held_out` documents of
        it serve for validation and test, so that choosing a learning rate and reporting share no document.
    """
    validation = _take("validation", held_out)
    return {
        "train": _take("train", train),
        "validation": [text for text in validation if hash_share(text.encode()) < 50],
        "test": [text for text in validation if hash_share(text.encode()) >= 50],
    }


def texts_of(rows: Iterable[dict], count: int) -> list[str]:
    """The "text" of the first `count` rows (DataError: a row without text, or fewer rows)."""
    texts: list[str] = []
    for row in itertools.islice(rows, count):
        if not isinstance(row.get("text"), str):
            raise DataError(f"c4: row {len(texts)} has no text but {sorted(row)}")
        texts.append(row["text"])
    if len(texts) < count:
        raise DataError(f"c4: the stream ended after {len(texts)} of {count} documents")
    return texts


def _take(split: str, count: int) -> list[str]:
    source = find("c4")
    try:
        import datasets
    except ImportError as error:
        remedy = "`pip install datasets`, or choose corpus='news'"
        raise DataError(f"c4: it needs the package datasets ({error}); {remedy}") from None
    try:
        rows = datasets.load_dataset(source.package, "en", split=split, streaming=True, revision=source.version)
        return texts_of(rows.shuffle(seed=SHUFFLE_SEED, buffer_size=BUFFER), count)
    except DataError:
        raise
    # The library lets through the errors of every transport and format under it, which have no common base.
    except Exception as error:
        message = f"c4: streaming failed ({type(error).__name__}: {error}); check the network"
        raise DataError(message) from error
