"""Python's built-in help topics: English text that needs no network. For tests, not for results."""

import pydoc_data.topics
from pathlib import Path


def topic_documents(cache: Path | None = None, *, offline: bool = True) -> list[str]:
    """The help topics in alphabetical order; the text depends on the version of Python."""
    del cache, offline  # nothing is fetched
    return [text for _, text in sorted(pydoc_data.topics.topics.items())]
