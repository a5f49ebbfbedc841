"""Why a repetition may differ: all that was recorded of the run, and is not so now."""

import os
from typing import Any

from exper.core import host_info, paths, statistic_file
from exper.core.statistic_file import Statistic
from exper.runs import run_record
from exper.verify.comparison import THE_END, Comparison

_WRITTEN_LATE_SECONDS = 60
_NONE = (
    "none is found: versions, device, threads, environment and data are as recorded, and the code is the tag's."
    " Then the record has been changed, or training is not deterministic: it uses the time, say, or several threads"
    " of its own. Verify it once more, and that is known."
)


def likely(
    run: paths.Run,
    record: run_record.Record,
    now: run_record.Record,
    compared: Comparison,
    new: paths.Run,
    earlier: list[list[dict[str, Any]]],
) -> list[str]:
    """Return the likely causes of a difference, each in a line; at least one.

    Args:
        run: the run that is verified.
        record: its run.json.
        now: that of its repetition.
        compared: what has been compared.
        new: the repetition.
        earlier: the histories of earlier verifications.
    """
    assert compared.difference is not None
    statistic = statistic_file.read_if_readable(new)
    found = [f"its log says why: {paths.from_here(new.log)}"] if compared.difference.quantity == THE_END else []
    found += _of_parts(compared.statistic, statistic)
    found += [
        f"version of {line}" for line in run_record.different_versions(record.get("versions", {}), set(), exact=False)
    ]
    found += _changes("environment variable", record.get("environment", {}), now["environment"])
    found += _of_record(run, record, compared)
    found += _of_determinism(statistic, compared, earlier)
    found += [] if "outside_code" in compared.statistic.content else _unrecorded()
    return found or [_NONE]


def _unrecorded() -> list[str]:
    """Return where code that no tag holds may come from; a stranger's main.py has not recorded what it used of it."""
    found = [f"the editable install of {name}: its code is not recorded" for name in host_info.editable_installs()]
    if os.environ.get("PYTHONPATH"):
        found.append(f"PYTHONPATH {os.environ['PYTHONPATH']}: code from there is not recorded")
    return found


def _of_parts(recorded: Statistic, now: Statistic) -> list[str]:
    found = []
    for part in run_record.COMPARED:
        if part in recorded.content and part in now.content:
            label = "code outside the tag," if part == "outside_code" else part
            found += _changes(label, recorded.section(part), now.section(part))
    return found


def _changes(label: str, recorded: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = [name for name in {**recorded, **now} if recorded.get(name) != now.get(name)]
    return [f"{label} {name}: {_text(recorded, name)} -> {_text(now, name)}" for name in names]


def _text(values: dict[str, Any], name: str) -> str:
    return "not there" if name not in values else str(values[name])


def _of_record(run: paths.Run, record: run_record.Record, compared: Comparison) -> list[str]:
    """Return what speaks for a change of the record itself, or of what is measured."""
    difference = compared.difference
    if difference is None or difference.line is None or difference.line >= len(compared.history):
        return []
    found = []
    if "weights" in compared.history[difference.line] and "weights" not in (difference.quantity, *difference.also):
        found.append("the weights are the same: only how they are measured has changed, or the record")
    ended = run_record.time(record.get("ended"))
    try:
        seconds = 0.0 if ended is None else run.history.stat().st_mtime - ended.timestamp()
    except FileNotFoundError:  # the run has been removed meanwhile; all that is compared was read before
        return found
    if seconds > _WRITTEN_LATE_SECONDS:
        found.append(f"history.jsonl of {run} was written {seconds:,.0f} s after the run had ended: edited, or copied")
    return found


def _of_determinism(statistic: Statistic, compared: Comparison, earlier: list[list[dict[str, Any]]]) -> list[str]:
    found = []
    difference = compared.difference
    assert difference is not None
    if statistic.section("device").get("deterministic") is False:
        found.append("deterministic = False: on a GPU the same bits are not promised")
    for history in earlier:
        line = difference.line
        if line is not None and line < len(history) and difference.quantity in history[line]:
            then = history[line][difference.quantity]
            if run_record.is_equal(then, difference.now):
                found.append("an earlier verification had the same value as this one, so training is deterministic")
            else:
                found.append(f"an earlier verification had {then!r}, so training is not deterministic")
    return found
