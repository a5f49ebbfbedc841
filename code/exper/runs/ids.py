"""The ids of a tag's runs: none is given twice."""

import contextlib

from exper.core import files, paths


def highest(tag: paths.Tag) -> int:
    """Return the highest id ever given, -1 if none was."""
    return max([_written(tag), *(run.id for run in tag.runs())])


def _written(tag: paths.Tag) -> int:
    try:
        return int(tag.last_id.read_text())
    except (FileNotFoundError, ValueError):
        return -1


def removed(tag: paths.Tag) -> list[int]:
    """Return the ids whose runs have been removed, or are about to be."""
    try:
        return [int(line) for line in tag.removed_ids.read_text().split()]
    except (FileNotFoundError, ValueError):
        return []


def record_removed(tag: paths.Tag, number: int) -> None:
    """Write down that a run is about to be removed; on a full disk it can go all the same."""
    with contextlib.suppress(OSError), files.open_to_append(tag.removed_ids) as file:
        file.write(f"{number}\n".encode())


def was_given(tag: paths.Tag, number: int) -> bool:
    """Tell whether an id that no run has was given to one."""
    return number in removed(tag) or (number == 0 and highest(tag) >= 0)  # of a tag's runs that one comes first


def save_highest(tag: paths.Tag) -> None:
    """Write the highest id down, if it is not; on a full disk, the folders of the runs still tell it."""
    if highest(tag) != _written(tag):
        with contextlib.suppress(OSError):
            files.replace(tag.last_id, f"{highest(tag)}\n")
