"""The ids of a tag's runs: none is given twice."""

import contextlib

from exper import files, paths


def last(tag: paths.Tag) -> int:
    """Return the highest id ever given, -1 if none was."""
    return max([_written(tag), *(run.id for run in tag.runs())])


def _written(tag: paths.Tag) -> int:
    try:
        return int(tag.last_id.read_text())
    except (FileNotFoundError, ValueError):
        return -1


def keep_last(tag: paths.Tag) -> None:
    """Write the highest id down, if it is not; on a full disk, the folders of the runs still tell it."""
    if last(tag) != _written(tag):
        with contextlib.suppress(OSError):
            files.replace(tag.last_id, f"{last(tag)}\n")
