"""The files in a run's checkpoint/: their names, and the end that proves one whole. Imports no torch."""

import hashlib
import os
import re
import struct
from pathlib import Path

NAME = re.compile(r"epoch_(\d+)(?:_step_(\d+))?\.path")
# torch.load ignores what follows its archive, and alone would not notice a flipped bit (measured).
_FOOTER = struct.Struct("<8s32sQ")  # magic; sha256 and length of what precedes
_MAGIC = b"EXPER256"


def names(folder: Path) -> list[str]:
    """Return the names of all checkpoints, the newest first."""
    there = os.listdir(folder) if folder.exists() else []
    found = [match for match in map(NAME.fullmatch, there) if match]
    return [match[0] for match in sorted(found, key=lambda one: (int(one[1]), int(one[2] or 0)), reverse=True)]


def footer(sha256: bytes, size: int) -> bytes:
    """Return what follows a checkpoint of this digest and size."""
    return _FOOTER.pack(_MAGIC, sha256, size)


def is_whole(path: Path) -> bool:
    """Tell whether a checkpoint has its footer, and this is true."""
    sha256, left = hashlib.sha256(), path.stat().st_size - _FOOTER.size
    with open(path, "rb") as file:
        while left > 0 and (piece := file.read(min(left, 1 << 20))):
            sha256.update(piece)
            left -= len(piece)
        return file.read() == footer(sha256.digest(), max(0, path.stat().st_size - _FOOTER.size))
