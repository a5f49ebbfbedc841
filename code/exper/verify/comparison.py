"""Compare a run with its repetition while that trains: data first, then history line by line, the results last."""

import json
import os
from dataclasses import dataclass, field
from typing import Any

from exper.config import config_file
from exper.core import files, paths, statistic_file
from exper.core.errors import Refused
from exper.runs import run_record

Line = dict[str, Any]
NOTHING = "nothing"
THE_END = "the end"
_TIMES = ("seconds",)  # of a line; no two runs share them
_INPUTS = ("data", "pretrained", "hparam")  # sections of statistic.json that are written before the first step


@dataclass(frozen=True)
class Difference:
    """The first difference: its place, its quantity and both values; `also` are other quantities in that place."""

    where: str
    quantity: str
    recorded: Any
    now: Any
    also: list[str] = field(default_factory=list)
    line: int | None = None  # of history


class Comparison:
    """The record of a run, and the state of its comparison with a repetition.

    Raises:
        Refused: the record holds nothing to compare, or is damaged.
    """

    def __init__(self, run: paths.Run, *, is_finished: bool, epochs: int | None = None) -> None:
        """Read the record of `run`; only the first `epochs` are compared, if given."""
        self.history = files.read_lines(run.history)
        self.statistic = statistic_file.read_or_empty(run)
        if not self.history and not (is_finished and self.statistic.section("metric")):
            raise Refused(f"{run} has no history.jsonl with an epoch in it, so there is nothing to compare.")
        self.epochs = max((_integer(line, "epoch") for line in self.history if not _is_of_step(line)), default=0)
        self.wanted = self.epochs if epochs is None else min(epochs, self.epochs)
        self._run = run
        self._is_finished = is_finished
        self._limit = epochs if epochs is not None and epochs < self.epochs else None
        self.place = run  # the repetition's folder, once it has one
        self._offset = 0  # in the repetition's history
        self._has_compared_inputs = False
        self.lines = 0  # of history that are compared
        self.epoch = 0
        self.step = 0
        self.difference: Difference | None = None
        self.notes: list[str] = []

    def is_over(self) -> bool:
        """Compare the lines written since the last call; tell whether the repetition can stop."""
        if not self._has_compared_inputs:
            self._compare_inputs()
        for line in self._new_lines():
            if self._is_enough():
                break
            self._compare_line(line)
        return self._is_enough()

    def end(self, ended: str) -> None:
        """Compare the rest once training has ended by itself, as "finished" or, say, "failed (exit code 1)"."""
        self._compare_inputs()
        if self.is_over():
            return
        if ended != "finished":
            recorded = "finished" if self._is_finished else "it went on"
            where = f"after epoch {self.epoch}" if self.epoch else "in the first epoch"
            self.difference = Difference(where, THE_END, recorded, ended)
        elif self.lines < len(self.history):
            line = self.history[self.lines]
            self.difference = Difference(_where(line), "the line of history", line, NOTHING, line=self.lines)
        else:
            self._compare_results()

    def _is_enough(self) -> bool:
        all_compared = not self._is_finished and self.lines >= len(self.history)
        return self.difference is not None or all_compared or (self._limit is not None and self.epoch >= self._limit)

    def _new_lines(self) -> list[Line]:
        """Return the whole lines that the repetition has added to its history since the last call."""
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
        if self.lines >= len(self.history):
            self.difference = Difference(_where(now), "the line of history", NOTHING, now, line=self.lines)
            return
        self._compare(_where(now), self.history[self.lines], now, line=self.lines)
        if self.difference is None:
            self.lines += 1
            self.step = _integer(now, "step")
            self.epoch = self.epoch if _is_of_step(now) else _integer(now, "epoch")

    def _compare_inputs(self) -> None:
        now = statistic_file.read_if_readable(self.place)
        self._has_compared_inputs = "hparam" in now.content  # a user's own program may write the file in steps
        for name in _INPUTS:
            if name in self.statistic.content and name in now.content and self.difference is None:
                recorded = config_file.flatten(self.statistic.section(name), f"{name} ")
                self._compare("before the first step", recorded, config_file.flatten(now.section(name), f"{name} "))

    def _compare_results(self) -> None:
        recorded = self.statistic.section("metric")
        now = statistic_file.read_if_readable(self.place).section("metric")
        tested: Any = files.section(recorded, "test").get("epoch")
        is_other = isinstance(tested, int) and tested != files.section(now, "test").get("epoch")
        if is_other and os.path.isdir(self._run.evaluated(tested)):
            self.notes.append(f"Its test, by `exper evaluate`, is that of epoch {tested}, and so not compared.")
            recorded = recorded | {"test": {}}
            now = now | {"test": {}}
        self._compare("after training", config_file.flatten(recorded), config_file.flatten(now))

    def _compare(self, where: str, recorded: Line, now: Line, line: int | None = None) -> None:
        values = {name: (recorded.get(name, NOTHING), now.get(name, NOTHING)) for name in {**recorded, **now}}
        names = [name for name in values if name not in _TIMES and not run_record.is_equal(*values[name])]
        if names:
            self.difference = Difference(where, names[0], *values[names[0]], also=names[1:], line=line)


def _line(text: bytes) -> Line:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        line = None
    return line if isinstance(line, dict) else {"unreadable": text.decode(errors="replace")}


def _is_of_step(line: Line) -> bool:
    return any(name.startswith("step/") for name in line)


def _integer(line: Line, name: str) -> int:
    value = line.get(name)
    return value if isinstance(value, int) else 0


def _where(line: Line) -> str:
    return "at " + (", ".join(f"{name} {line[name]}" for name in ("epoch", "step") if name in line) or "a line")
