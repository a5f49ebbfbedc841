"""The records in a .wandb file, whose form is LevelDB's log: W&B's package has no reader of its own."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

_BLOCK, _FILE_HEADER, _HEADER = 32768, 7, struct.Struct("<IHB")  # checksum, length, kind
_FULL, _FIRST, _MIDDLE, _LAST = range(1, 5)


def records(path: Path) -> Iterator[bytes]:
    """Yield each whole record; what a kill has torn is the end."""
    content = path.read_bytes()
    at, parts = _FILE_HEADER, b""
    while True:
        left = _BLOCK - at % _BLOCK
        if left < _HEADER.size:  # too little for a header is filled with zeros
            at += left
        if at + _HEADER.size > len(content):
            return
        checksum, length, kind = _HEADER.unpack_from(content, at)
        data = content[at + _HEADER.size : at + _HEADER.size + length]
        if not _FULL <= kind <= _LAST or len(data) < length or zlib.crc32(bytes([kind]) + data) != checksum:
            return
        at += _HEADER.size + length
        parts = data if kind in (_FULL, _FIRST) else parts + data
        if kind in (_FULL, _LAST):
            yield parts
