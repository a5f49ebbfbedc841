"""The ids of a tag's runs. No id is given twice."""

import contextlib

from exper.core import files, paths


def highest(tag: paths.Tag) -> int:
    """Return the highest id ever given, or -1."""
    return max([_saved(tag), *(run.id for run in tag.runs())])


def save_highest(tag: paths.Tag) -> None:
    """Save the highest id ever given; on a full disk, the folders of the runs still show it."""
    if highest(tag) != _saved(tag):
        with contextlib.suppress(OSError):
            files.replace(tag.last_id, f"{highest(tag)}\n")


def _saved(tag: paths.Tag) -> int:
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
    """Record that a run is about to be removed; a full disk does not prevent the removal."""
    with contextlib.suppress(OSError), files.open_to_append(tag.removed_ids) as file:
        file.write(f"{number}\n".encode())


def was_given(tag: paths.Tag, number: int) -> bool:
    """Tell whether an id that no run has now was given before."""
    return number in removed(tag) or (number == 0 and highest(tag) >= 0)  # 0 is a tag's first id
