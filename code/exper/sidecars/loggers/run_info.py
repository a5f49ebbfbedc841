"""The run as loggers see it, from its files and git."""

import hashlib
import json
import platform
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from exper.core import paths, statistic_file
from exper.core.errors import Refused
from exper.core.statistic_file import Statistic
from exper.repository.repository import Repository
from exper.runs import run_record
from exper.statistic import history

_NOT_THE_USERS = ("code/exper/", "code/tests/", "code/benchmarks/", "code/examples/")
_TAIL_BYTES = 1 << 16
Point = tuple[str, int]  # a curve's name, and a step


class Line(NamedTuple):
    """A line of history.jsonl or hardware.jsonl."""

    source: str
    number: int  # in its file, from 0
    content: dict[str, Any]

    @property
    def step(self) -> int:
        return int(self.content.get("step") or 0)

    @property
    def scalars(self) -> dict[str, float]:
        """Return the values that are points of curves: `lr`, and those with a slash in their names."""
        named = {name: value for name, value in self.content.items() if "/" in name or name == "lr"}
        return {name: value for name, value in named.items() if history.is_number(value)}

    def without(self, points: set[Point]) -> "Line":
        """Return the line without the values that are among `points`."""
        left = {name: value for name, value in self.content.items() if (name, self.step) not in points}
        return self._replace(content=left)


class Item(NamedTuple):
    """A text or a picture of `state.show`."""

    path: Path

    @property
    def step(self) -> int:
        return int(self.path.name.partition("_")[0])

    @property
    def name(self) -> str:
        return self.path.stem.partition("_")[2]

    @property
    def is_text(self) -> bool:
        return self.path.suffix == ".txt"


class End(NamedTuple):
    """The end of a run."""

    status: str  # finished, failed, died, interrupted, pruned
    time: datetime
    test: dict[str, float]  # the results of the test, by name
    step: int  # the last

    @property
    def line(self) -> Line:
        """Return the results of the test as points at the last step."""
        return Line("history", -1, {"step": self.step, **self.test})


@dataclass(frozen=True)
class RunInfo:
    """A run as it was when its files were read."""

    run: paths.Run
    record: dict[str, Any]  # run.json
    statistic: Statistic

    @property
    def name(self) -> str:
        return str(self.run)

    @property
    def project(self) -> str:
        """Return the name of the project's folder."""
        return self.run.project.root.name

    @property
    def key(self) -> str:
        """Return the key that no other run has; a run that takes the name of a removed run was started later."""
        identity = (self.name, self.record.get("commit"), self.record["seed"], self.record["started"])
        return hashlib.sha256("\n".join(map(str, identity)).encode()).hexdigest()[:16]

    @property
    def command(self) -> str:
        return " ".join(map(str, self.record["sessions"][0]["command"]))

    @property
    def started(self) -> datetime:
        return run_record.time(self.record["started"]) or datetime.now(timezone.utc)

    @property
    def config(self) -> dict[str, Any]:
        """Return the settings under their dotted names, and the run's seed, tag, id, commit and command."""
        ours = {name: self.record.get(name) for name in ("seed", "tag", "id", "commit")} | {"command": self.command}
        hparam = self.statistic.settings
        theirs = {name.partition(".")[0] for name in hparam}
        return {name: value for name, value in ours.items() if name not in theirs} | hparam

    @property
    def nested(self) -> dict[str, Any]:
        """Return `config` with nested dicts: `optimizer.lr` is `["optimizer"]["lr"]`."""
        nested: dict[str, Any] = {}
        for name, value in self.config.items():
            *outer, last = name.split(".")
            inner = nested
            for key in outer:
                inner = inner.setdefault(key, {})
            inner[last] = value
        return nested

    def sources(self) -> dict[str, bytes]:
        """Return the user's Python files in the run's commit; none if there is no commit, or git no longer has it."""
        commit = self.record.get("commit")
        if commit is None:
            return {}
        try:
            repository = Repository(self.run.project.root)
            entries = [entry for entry in repository.files(commit) if _is_source(entry.path)]
            return {entry.path: content for entry, content in repository.contents(entries)}
        except Refused:
            return {}

    def end(self, status: str) -> End:
        """Return the end of the run, which ended with `status`."""
        test = statistic_file.read_or_empty(self.run).metrics("test")
        time = run_record.time(run_record.read(self.run).get("ended")) or datetime.now(timezone.utc)
        points = {name: value for name, value in test.items() if "/" in name and history.is_number(value)}
        return End(status, time, points, _last_step(self.run.history))

    def results(self) -> list[Path]:
        """Return the files with the results of the run, as far as they exist."""
        results = (self.run.statistic, self.run.record, self.run.log, self.run.picture)
        return [path for path in results if path.is_file()]

    def host(self) -> dict[str, Any]:
        """Return the record that Sacred calls the host."""
        device = self.statistic.section("device")
        return {
            "hostname": self.record["sessions"][-1].get("host"),
            "os": [platform.system(), platform.platform()],
            "python_version": (self.record.get("versions") or {}).get("python"),
            "cpu": device.get("name"),
            "ENV": {},
        }


def read(run: paths.Run) -> RunInfo:
    """Read run.json and statistic.json.

    Raises:
        Refused: run.json can't be read.
    """
    return RunInfo(run, run_record.read(run), statistic_file.read_or_empty(run))


def _last_step(history: Path) -> int:
    try:
        with open(history, "rb") as file:
            file.seek(max(0, history.stat().st_size - _TAIL_BYTES))
            return int(json.loads(file.read().splitlines()[-1]).get("step") or 0)
    except (OSError, ValueError, IndexError):
        return 0


def _is_source(path: str) -> bool:
    return path.endswith(".py") and path.startswith("code/") and not path.startswith(_NOT_THE_USERS)
