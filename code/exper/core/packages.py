"""Installed packages and requirement lines. Standard library only, and Python 3.8 can read this file.

Packages are read off the names of their folders: importlib.metadata takes 10 ms to import, and 0.4 ms a package.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from exper.core.errors import Refused

_EXTRAS = Path(__file__).parents[1] / "extras.txt"
_INSTALLED = re.compile(r"(.+?)-([^-]+)(?:-py\d.*)?\.(?:dist|egg)-info")
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(?:>=\s*([0-9.]+))?")
_CONDITION = re.compile(r"""\s*(\w+)\s*([<>=!]=|<|>)\s*["']([^"']*)["']\s*""")


def installed() -> dict[str, str]:
    """Return the version of every package on sys.path; the first one counts, as in an import."""
    versions: dict[str, str] = {}
    for _, name, version in _folders():
        versions.setdefault(name, version)
    return versions


def editable() -> list[str]:
    """Return the packages that are used from where they are edited, whatever their version says."""
    origins = {name: folder / "direct_url.json" for folder, name, _ in _folders()}
    return sorted(
        name
        for name, origin in origins.items()
        if origin.is_file() and re.search(r'"editable":\s*true', origin.read_text(errors="replace"))
    )


def _folders() -> Iterator[tuple[Path, str, str]]:
    """Yield the metadata folder, the name and the version of each package."""
    for place in sys.path:
        with contextlib.suppress(OSError):
            for folder in os.listdir(place or "."):
                match = _INSTALLED.fullmatch(folder)
                if match:
                    yield Path(place, folder), _normal(match[1]), match[2]


def name_of(requirement: str) -> str:
    """Return the package that a line such as `Torch_Vision>=0.26` requires, spelled as in `installed`."""
    return _normal(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(file: Path) -> list[str]:
    """Return the lines of a requirements file, without comments."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise Refused(f"{file} can't be read: {error.strerror}. Type: git checkout -- {file}") from None
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def of_extra(name: str) -> list[str]:
    """Return the requirement lines in the section `[name]` of exper/extras.txt."""
    section = ""
    lines = []
    for line in requirements(_EXTRAS):
        if line.startswith("["):
            section = line.strip("[]")
        elif section == name:
            lines.append(line)
    return lines


def lacking(lines: list[str]) -> list[str]:
    """Return the requirement lines that the running Python does not meet.

    A floor (`>=`) is compared; of any other condition only the name counts.
    """
    versions = installed()
    missing = []
    for line in lines:
        match = _REQUIREMENT.match(line)
        marker = line.partition(";")[2]
        if line.startswith("-") or (marker and not _is_true(marker)):  # an option of pip's; not required here
            continue
        version = versions.get(_normal(match[1])) if match else None
        if not match or version is None or _number(version) < _number(match[2] or "0"):
            missing.append(line)
    return missing


def _is_true(marker: str) -> bool:
    """Tell whether a marker such as `python_version < "3.11"` is true here; a marker that can't be parsed is not."""
    return any(all(map(_is_met, choice.split(" and "))) for choice in marker.split(" or "))


def _is_met(condition: str) -> bool:
    match = _CONDITION.fullmatch(condition)
    here = match and {
        "python_version": ".".join(map(str, sys.version_info[:2])),
        "python_full_version": platform.python_version(),
        "os_name": os.name,
        "sys_platform": sys.platform,
        "platform_system": platform.system(),
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
    }.get(match[1])
    if not match or not here:
        return False
    read: Callable[[str], Any] = _number if match[1].startswith("python") else str
    a = read(here)
    b = read(match[3])
    return bool({"<": a < b, "<=": a <= b, "==": a == b, "!=": a != b, ">=": a >= b, ">": a > b}[match[2]])


def _number(version: str) -> tuple[int, ...]:
    """Return the numbers of a version without zeros at the end, so that 1.9 is 1.9.0."""
    match = re.match(r"[0-9]+(\.[0-9]+)*", version)
    numbers = [int(number) for number in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
