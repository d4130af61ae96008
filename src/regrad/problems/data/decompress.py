"""Gunzip into memory with a bound, so that a small file cannot fill it."""

import zlib

from regrad.problems.data.errors import DataError


def gunzip(content: bytes, size: int, name: str) -> bytes:
    """The decompressed bytes of a gzip file, exactly `size` of them.

    Raises:
        DataError: It is damaged, cut short, or of another size.
    """
    stream = zlib.decompressobj(wbits=31)
    try:
        unpacked = stream.decompress(content, size + 1)
    except zlib.error as error:
        raise DataError(f"{name}: the gzip data are damaged ({error})") from error
    # The end mark is reached only when the trailing checksum was read and agreed.
    if len(unpacked) != size or not (stream.eof or _ends(stream)):
        raise DataError(f"{name}: unpacks to another size than {size} bytes")
    return unpacked


def _ends(stream) -> bool:
    try:
        return stream.decompress(stream.unconsumed_tail, 1) == b"" and stream.eof
    except zlib.error:
        return False
