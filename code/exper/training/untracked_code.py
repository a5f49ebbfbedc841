"""Untracked code: loaded modules that come neither from the tag's copy, nor from Python, nor from site-packages."""

import hashlib
import os
import sys
import sysconfig
from pathlib import Path

_INSTALLED = ("/site-packages/", "/dist-packages/")  # their versions are recorded
_DIGITS = 16


def digests(root: Path) -> dict[str, str]:
    """Return a digest of the loaded files of each package that was imported from outside `root`, by its name.

    These are editable installs, and packages found by PYTHONPATH or sys.path.
    """
    python = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    compiled = os.environ.get("TORCHINDUCTOR_CACHE_DIR", os.devnull)  # torch sets it when it compiles a model
    inside = tuple(folder + os.sep for folder in (*python, *map(os.path.realpath, [*python, str(root), compiled])))
    packages: dict[str, hashlib._Hash] = {}
    for name, module in sorted(sys.modules.items()):
        file = vars(module).get("__file__") if hasattr(module, "__dict__") else None
        if isinstance(file, str) and _is_outside(file, inside):
            sha256 = packages.setdefault(name.partition(".")[0], hashlib.sha256())
            sha256.update(f"{name}\0".encode() + Path(file).read_bytes())
    return {name: sha256.hexdigest()[:_DIGITS] for name, sha256 in packages.items()}


def _is_outside(file: str, inside: tuple[str, ...]) -> bool:
    if any(folder in file for folder in _INSTALLED) or file.startswith(inside):
        return False
    return not os.path.realpath(file).startswith(inside) and os.path.isfile(file)
