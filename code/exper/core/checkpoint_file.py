"""The files in a run's checkpoint/: their names, and the footer that proves a file complete. Imports no torch."""

import hashlib
import os
import re
import struct
from pathlib import Path

NAME = re.compile(r"epoch_(\d+)(?:_step_(\d+))?\.path")
# torch.load ignores bytes after its archive, and would not notice a flipped bit without them (measured).
_FOOTER = struct.Struct("<8s32sQ")  # magic; sha256 and length of what precedes
_MAGIC = b"EXPER256"


def names(folder: Path) -> list[str]:
    """Return the names of all checkpoints, the newest first."""
    files = os.listdir(folder) if folder.exists() else []
    matches = [match for match in map(NAME.fullmatch, files) if match]
    matches.sort(key=lambda match: (int(match[1]), int(match[2] or 0)), reverse=True)
    return [match[0] for match in matches]


def footer(sha256: bytes, size: int) -> bytes:
    """Return the footer of a checkpoint with this digest and size."""
    return _FOOTER.pack(_MAGIC, sha256, size)


def is_whole(path: Path) -> bool:
    """Tell whether a checkpoint ends in the footer of its content."""
    size = max(0, path.stat().st_size - _FOOTER.size)
    sha256 = hashlib.sha256()
    left = size
    with open(path, "rb") as file:
        while left > 0 and (piece := file.read(min(left, 1 << 20))):
            sha256.update(piece)
            left -= len(piece)
        return file.read() == footer(sha256.digest(), size)
