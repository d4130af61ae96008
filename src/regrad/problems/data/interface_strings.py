"""English–German interface strings from gettext catalogues: a small translation set for pip alone."""

import re
from pathlib import Path

from regrad.problems.data.errors import DataError
from regrad.problems.data.fetching import read_package

KEYWORD = re.compile(r'(msgctxt|msgid_plural|msgid|msgstr(?:\[\d+\])?)\s+(".*")$')
ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
ESCAPE = re.compile(r"\\(.)")


def interface_strings(cache: Path, *, offline: bool = False) -> list[tuple[str, str]]:
    """Distinct pairs (English, German) in the order of the files, without fuzzy and untranslated entries."""
    pairs: dict[tuple[str, str], None] = {}
    for path, content in read_package("interface-strings", cache, offline=offline).items():
        pairs |= dict.fromkeys(parse_catalogue(content, path))
    return list(pairs)


def parse_catalogue(content: bytes, name: str) -> list[tuple[str, str]]:
    """Pairs (source, translation) of a gettext catalogue in UTF-8; of a plural, the singular.

    Raises:
        DataError: A line that is no part of a catalogue.
    """
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not UTF-8 ({error})") from error
    pairs = []
    for entry in "\n".join(lines).split("\n\n"):
        fields = _fields(entry, name)
        source, target = fields.get("msgid", ""), fields.get("msgstr", fields.get("msgstr[0]", ""))
        fuzzy = any(line.startswith("#,") and "fuzzy" in line for line in entry.splitlines())
        if source and target and not fuzzy:
            pairs.append((source, target))
    return pairs


def _fields(entry: str, name: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    keyword = ""
    for line in entry.splitlines():
        if not line or line.startswith("#"):
            continue
        match = KEYWORD.match(line)
        if match:
            keyword, line = match.groups()
            fields[keyword] = ""
        if not keyword or len(line) < 2 or line[0] != '"' or line[-1] != '"':
            raise DataError(f"{name}: line {line[:40]!r} is no part of a catalogue")
        fields[keyword] += ESCAPE.sub(lambda found: ESCAPES.get(found[1], found[0]), line[1:-1])
    return fields
