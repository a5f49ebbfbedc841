"""The likely causes of a difference: everything recorded of the run that is different now."""

import os
from typing import Any

from exper.core import packages, paths, statistic_file
from exper.core.statistic_file import Statistic
from exper.runs import run_record
from exper.verify.comparison import THE_END, Comparison, Difference

History = list[dict[str, Any]]
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
    *,
    new: paths.Run,
    earlier: list[History],
) -> list[str]:
    """Return the likely causes of a difference, a line each; at least one.

    Args:
        run: the run that is verified.
        record: its run.json.
        now: the run.json of its repetition.
        compared: the comparison, with a difference.
        new: the repetition.
        earlier: the histories of earlier verifications.
    """
    difference = compared.difference
    assert difference is not None
    statistic = statistic_file.read_if_readable(new)
    causes = [f"its log says why: {paths.from_here(new.log)}"] if difference.quantity == THE_END else []
    causes += _changed_sections(compared.statistic, statistic)
    causes += [
        f"version of {line}" for line in run_record.different_versions(record.get("versions", {}), set(), exact=False)
    ]
    causes += _changes("environment variable", record.get("environment", {}), now["environment"])
    causes += _changed_record(run, record, compared.history, difference)
    if statistic.section("device").get("deterministic") is False:
        causes.append("deterministic = False: on a GPU the same bits are not promised")
    causes += _earlier_values(difference, earlier)
    if "outside_code" not in compared.statistic.content:  # as a user's own program leaves it
        causes += _unrecorded_code()
    return causes or [_NONE]


def _changed_sections(recorded: Statistic, now: Statistic) -> list[str]:
    changes = []
    for name in run_record.COMPARED:
        if name in recorded.content and name in now.content:
            label = "code outside the tag," if name == "outside_code" else name
            changes += _changes(label, recorded.section(name), now.section(name))
    return changes


def _changes(label: str, recorded: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = [name for name in {**recorded, **now} if recorded.get(name) != now.get(name)]
    return [f"{label} {name}: {_text(recorded, name)} -> {_text(now, name)}" for name in names]


def _text(values: dict[str, Any], name: str) -> str:
    return "not there" if name not in values else str(values[name])


def _changed_record(run: paths.Run, record: run_record.Record, history: History, difference: Difference) -> list[str]:
    """Return the signs that the record itself has been changed, or the code that measures."""
    if difference.line is None or difference.line >= len(history):
        return []
    signs = []
    if "weights" in history[difference.line] and "weights" not in (difference.quantity, *difference.also):
        signs.append("the weights are the same: only how they are measured has changed, or the record")
    ended = run_record.time(record.get("ended"))
    try:
        seconds = 0.0 if ended is None else run.history.stat().st_mtime - ended.timestamp()
    except FileNotFoundError:  # the run has been removed since it was read
        return signs
    if seconds > _WRITTEN_LATE_SECONDS:
        signs.append(f"history.jsonl of {run} was written {seconds:,.0f} s after the run had ended: edited, or copied")
    return signs


def _earlier_values(difference: Difference, earlier: list[History]) -> list[str]:
    """Return, for each earlier verification that reached the difference, what its value says of determinism."""
    conclusions = []
    for history in earlier:
        line = difference.line
        if line is not None and line < len(history) and difference.quantity in history[line]:
            value = history[line][difference.quantity]
            if run_record.is_equal(value, difference.now):
                conclusions.append(
                    "an earlier verification had the same value as this one, so training is deterministic"
                )
            else:
                conclusions.append(f"an earlier verification had {value!r}, so training is not deterministic")
    return conclusions


def _unrecorded_code() -> list[str]:
    """Return the places outside the tag that code may come from."""
    places = [f"the editable install of {name}: its code is not recorded" for name in packages.editable()]
    if os.environ.get("PYTHONPATH"):
        places.append(f"PYTHONPATH {os.environ['PYTHONPATH']}: code from there is not recorded")
    return places
