"""The records in a .wandb file, which has the form of LevelDB's log. W&B's package has no reader of its own."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

_BLOCK_BYTES = 32768
_FILE_HEADER_BYTES = 7
_HEADER = struct.Struct("<IHB")  # checksum, length, kind
_FULL, _FIRST, _MIDDLE, _LAST = range(1, 5)


def records(path: Path) -> Iterator[bytes]:
    """Yield each whole record; a record that a kill has torn ends the file."""
    content = path.read_bytes()
    offset = _FILE_HEADER_BYTES
    record = b""
    while True:
        left = _BLOCK_BYTES - offset % _BLOCK_BYTES
        if left < _HEADER.size:  # too little for a header is filled with zeros
            offset += left
        if offset + _HEADER.size > len(content):
            return
        checksum, length, kind = _HEADER.unpack_from(content, offset)
        offset += _HEADER.size
        data = content[offset : offset + length]
        if not _FULL <= kind <= _LAST or len(data) < length or zlib.crc32(bytes([kind]) + data) != checksum:
            return
        offset += length
        record = data if kind in (_FULL, _FIRST) else record + data
        if kind in (_FULL, _LAST):
            yield record
