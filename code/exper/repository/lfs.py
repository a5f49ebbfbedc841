"""Git LFS: a commit holds only a pointer to each file, whose object is read from the store of git-lfs."""

import re
from pathlib import Path

from exper.core.errors import Refused

_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\n")
_POINTER_SIZE = 1024  # bytes; a pointer is shorter


def is_used(attributes: list[bytes]) -> bool:
    """Tell whether any of these .gitattributes files uses LFS."""
    return any(b"filter=lfs" in text for text in attributes)


def resolved(common: Path, path: str, content: bytes) -> bytes:
    """Return the object in `common` (.git) that a pointer names; content that is no pointer is returned unchanged.

    Raises:
        Refused: the object is missing.
    """
    pointer = _POINTER.match(content) if len(content) < _POINTER_SIZE else None
    if pointer is None:
        return content
    name = pointer[1].decode()
    try:
        return (common / "lfs" / "objects" / name[:2] / name[2:4] / name).read_bytes()
    except FileNotFoundError:
        raise Refused(f"the LFS object of {path} is not here. Type: git lfs fetch && git lfs checkout") from None
