"""A run and its repetition, compared as this goes: data first, then the history line by line, the results last."""

import json
import os
from dataclasses import dataclass, field
from typing import Any

from exper.config import config_file
from exper.core import files, paths, statistic_file
from exper.core.errors import Refused
from exper.core.files import section
from exper.runs import run_record

Line = dict[str, Any]
NOTHING, THE_END = "nothing", "the end"
_TIMES = ("seconds",)  # of a line; no two runs share them
_GIVEN = ("data", "pretrained", "hparam")  # of statistic.json, there before the first step


@dataclass(frozen=True)
class Difference:
    """The first one: where it is, of what, and both values; `also` are others in the same place."""

    where: str
    quantity: str
    recorded: Any
    now: Any
    also: list[str] = field(default_factory=list)
    line: int | None = None  # of history


class Comparison:
    """What is recorded of a run, and how much of it has been found again.

    Raises:
        Refused: nothing is recorded that could be compared, or it is damaged.
    """

    def __init__(self, run: paths.Run, *, is_finished: bool, epochs: int | None = None) -> None:
        """Read what is recorded of `run`; `epochs` are enough to compare, if they are given."""
        self.history = files.read_lines(run.history)
        self.statistic = statistic_file.read_or_empty(run)
        if not self.history and not (is_finished and self.statistic.section("metric")):
            raise Refused(f"{run} has no history.jsonl that tells of an epoch, so there is nothing to compare.")
        self.epochs = max((_whole(line, "epoch") for line in self.history if not _is_of_step(line)), default=0)
        self.wanted = self.epochs if epochs is None else min(epochs, self.epochs)
        self._run, self._is_finished = run, is_finished
        self._limit = epochs if epochs is not None and epochs < self.epochs else None
        self.place = run  # where the repetition writes, once there is one
        self._offset, self._is_given_compared = 0, False
        self.lines = self.epoch = self.step = 0  # compared
        self.difference: Difference | None = None
        self.notes: list[str] = []

    def is_over(self) -> bool:
        """Compare what has been written since the last call; tell whether training need not go on."""
        if not self._is_given_compared:
            self._compare_given()
        for line in self._new_lines():
            if self._is_enough():
                break
            self._compare_line(line)
        return self._is_enough()

    def end(self, ended: str) -> None:
        """Compare what is known once training has ended by itself, such as "finished" or "failed (exit code 1)"."""
        self._compare_given()
        if self.is_over():
            return
        if ended != "finished":
            self.difference = Difference(self._reached(), THE_END, self._end_recorded(), ended)
        elif self.lines < len(self.history):
            line = self.history[self.lines]
            self.difference = Difference(_where(line), "the line of history", line, NOTHING, line=self.lines)
        else:
            self._compare_results()

    def _is_enough(self) -> bool:
        all_compared = not self._is_finished and self.lines >= len(self.history)
        return self.difference is not None or all_compared or (self._limit is not None and self.epoch >= self._limit)

    def _new_lines(self) -> list[Line]:
        """Return whole lines that the repetition's history has got since the last call."""
        try:
            with open(self.place.history, "rb") as file:
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        return list(map(_line, whole.splitlines()))

    def _compare_line(self, now: Line) -> None:
        recorded = self.history[self.lines] if self.lines < len(self.history) else None
        if recorded is None:
            self.difference = Difference(_where(now), "the line of history", NOTHING, now, line=self.lines)
            return
        self._differ(_where(now), recorded, now, line=self.lines)
        if self.difference is None:
            self.lines += 1
            self.step = _whole(now, "step")
            self.epoch = self.epoch if _is_of_step(now) else _whole(now, "epoch")

    def _compare_given(self) -> None:
        now = statistic_file.read_if_readable(self.place)
        self._is_given_compared = "hparam" in now.content  # else a stranger's main.py, which may have more to write
        for part in _GIVEN:
            if part in self.statistic.content and part in now.content and self.difference is None:
                recorded, found = (config_file.flatten(one.section(part), f"{part} ") for one in (self.statistic, now))
                self._differ("before the first step", recorded, found)

    def _compare_results(self) -> None:
        recorded = self.statistic.section("metric")
        now = statistic_file.read_if_readable(self.place).section("metric")
        tested: Any = section(recorded, "test").get("epoch")
        is_other = isinstance(tested, int) and tested != section(now, "test").get("epoch")
        if is_other and os.path.isdir(self._run.evaluated(tested)):
            self.notes.append(f"Its test, by `exper evaluate`, is that of epoch {tested}, and so not compared.")
            recorded, now = ({**one, "test": {}} for one in (recorded, now))
        self._differ("after training", config_file.flatten(recorded), config_file.flatten(now))

    def _differ(self, where: str, recorded: Line, now: Line, line: int | None = None) -> None:
        values = {name: (recorded.get(name, NOTHING), now.get(name, NOTHING)) for name in {**recorded, **now}}
        names = [name for name in values if name not in _TIMES and not run_record.is_equal(*values[name])]
        if names:
            self.difference = Difference(where, names[0], *values[names[0]], also=names[1:], line=line)

    def _reached(self) -> str:
        return f"after epoch {self.epoch}" if self.epoch else "in the first epoch"

    def _end_recorded(self) -> str:
        return "finished" if self._is_finished else "it went on"


def _line(text: bytes) -> Line:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        line = None
    return line if isinstance(line, dict) else {"unreadable": text.decode(errors="replace")}


def _is_of_step(line: Line) -> bool:
    return any(name.startswith("step/") for name in line)


def _whole(line: Line, name: str) -> int:
    value = line.get(name)
    return value if isinstance(value, int) else 0


def _where(line: Line) -> str:
    return "at " + (", ".join(f"{name} {line[name]}" for name in ("epoch", "step") if name in line) or "a line")
