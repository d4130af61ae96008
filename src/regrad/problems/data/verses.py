"""English–Spanish Bible verses, aligned by their index in the SWORD modules."""

import html
import re
import struct
import zlib
from pathlib import Path

from regrad.problems.data.errors import DataError
from regrad.problems.data.fetching import read_package

BLOCK = struct.Struct("<III")
VERSE = struct.Struct("<IIH")
LARGEST_BLOCK = 2**24
PARAGRAPH = "¶"
SILENT = re.compile(r"<(note|title|figure)\b[^>]*?(?:/>|>.*?</\1>)", re.DOTALL)
TAG = re.compile(r"<[^>]*>")


def verse_pairs(cache: Path) -> list[tuple[str, str]]:
    """All pairs (English, Spanish) of verses that have text in both, in the order of the books."""
    english, spanish = (verses(name, cache) for name in ("verses-en", "verses-es"))
    if len(english) != len(spanish):
        raise DataError(f"verses: {len(english)} English and {len(spanish)} Spanish places cannot be aligned")
    return [pair for pair in zip(english, spanish, strict=True) if all(pair)]


def verses(name: str, cache: Path) -> list[str]:
    """The text at every place of the module `name`, "" where it has none (headings, missing verses)."""
    members = read_package(name, cache)
    files = {path.rpartition("/")[2]: content for path, content in members.items()}
    testaments = [[files[f"{part}.{kind}"] for kind in ("bzs", "bzv", "bzz")] for part in ("ot", "nt")]
    return [text for testament in testaments for text in parse_verses(*testament)]


def parse_verses(blocks: bytes, places: bytes, packed: bytes) -> list[str]:
    """Plain text of every verse of a SWORD zText testament.

    Args:
        blocks: Records of 12 bytes: offset, packed size and unpacked size of each zlib block.
        places: Records of 10 bytes: block, offset in the unpacked block and size of each verse.
        packed: The zlib blocks.

    Raises:
        DataError: A record points outside, or a block does not unpack to its size.
    """
    try:
        texts = [_unpack(packed, *record) for record in BLOCK.iter_unpack(blocks)]
        return [_verse(texts, *record) for record in VERSE.iter_unpack(places)]
    except (struct.error, zlib.error, IndexError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"verses: the module cannot be read ({error})") from error


def _unpack(packed: bytes, offset: int, size: int, unpacked: int) -> bytes:
    if offset + size > len(packed) or unpacked > LARGEST_BLOCK:
        raise ValueError(f"block at {offset} of {size} bytes")
    text = zlib.decompressobj().decompress(packed[offset : offset + size], unpacked + 1)
    if len(text) != unpacked:
        raise ValueError(f"block at {offset} unpacks to {len(text)} bytes, not {unpacked}")
    return text


def _verse(texts: list[bytes], block: int, offset: int, size: int) -> str:
    if not size:
        return ""
    content = texts[block][offset : offset + size]
    if len(content) != size:
        raise ValueError(f"verse at {offset} of block {block}")
    plain = TAG.sub("", SILENT.sub("", content.decode("utf-8")))
    return " ".join(html.unescape(plain).replace(PARAGRAPH, "").split())
