"""Movie-review sentences, each with the mean rating of about twenty people."""

from pathlib import Path

from regrad.problems.data.errors import DataError
from regrad.problems.data.fetching import read_package

HEADER = ["id", "sentiment", "text"]
EXTREME = 4.0


def movie_reviews(cache: Path) -> list[tuple[float, str]]:
    """All 10,605 pairs (rating, sentence); ratings from -4, very negative, to 4, very positive.

    Source: Hutto & Gilbert 2014, whose raters scored sentences of Pang & Lee 2004.
    """
    (content,) = read_package("movie-reviews", cache).values()
    return parse_reviews(content)


def parse_reviews(content: bytes) -> list[tuple[float, str]]:
    """Pairs (rating, sentence) of a table with tab-separated columns id, sentiment, text, in UTF-8.

    Raises:
        DataError: Another header, a row without three columns, or a rating out of range.
    """
    try:
        rows = [line.split("\t", 2) for line in content.decode("utf-8").splitlines()]
        if rows[0] != HEADER:
            raise ValueError(f"header {rows[0]}")
        pairs = [(float(rating), text.strip()) for _, rating, text in rows[1:]]
    except (UnicodeDecodeError, ValueError, IndexError) as error:
        raise DataError(f"movie-reviews: the table cannot be read ({error})") from error
    if not all(abs(rating) <= EXTREME and text for rating, text in pairs):
        raise DataError(f"movie-reviews: a rating is beyond ±{EXTREME} or a sentence is empty")
    return pairs
