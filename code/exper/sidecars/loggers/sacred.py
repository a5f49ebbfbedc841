"""Sacred's files, as its FileStorageObserver writes them; its documents for Omniboard: omniboard.py.

Written here and not by Sacred itself: that can't be imported where setuptools is 82 or newer, goes on with no run that
broke off, and has no way to say what has arrived.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal

from exper.core import files
from exper.sidecars.loggers.run_info import About, End, Item, Line
from exper.sidecars.loggers.sacred_mongo import Omniboard
from exper.sidecars.loggers.sacred_record import PAUSE, ending, entry, now, stamp


class Sacred:
    """A run of Sacred; `storage` says where."""

    def __new__(
        cls,
        about: About,
        storage: Literal["file", "mongo"] = "file",
        url: str | None = None,  # of MongoDB; the variable MONGO_URI goes before it
        database: str = "sacred",
    ) -> Any:
        return _Files(about) if storage == "file" else Omniboard(about, url, database)


class _Files:
    """`__result__/.sacred/<number>/`, with sources in `.sacred/_sources/`."""

    pause, most = PAUSE, 20_000  # metrics.json is written whole each time

    def __init__(self, about: About) -> None:
        self._about, self._base = about, about.run.project.sacred

    def start(self, there: dict[str, Any]) -> dict[str, Any]:
        self._base.mkdir(parents=True, exist_ok=True)
        number = there.get("number") or self._found() or self._made()
        self._folder = self._base / str(number)
        self._change(status="RUNNING", stop_time=None, fail_trace=None, heartbeat=stamp(now()))
        return {"number": number}

    def _found(self) -> int | None:
        """Return the number of this run, if a kill has come before it was remembered."""
        for number in sorted(self._numbers(), reverse=True):
            with contextlib.suppress(Exception):
                if files.read_json(self._base / f"{number}/run.json")["meta"]["exper"]["key"] == self._about.key:
                    return number
        return None

    def _numbers(self) -> list[int]:
        return [int(name) for name in os.listdir(self._base) if name.isdigit()]

    def _made(self) -> int:
        sources = [[name, self._source(name, content)] for name, content in self._about.sources().items()]
        with files.new_folder(self._base / f".new-{self._about.key}") as folder:
            _write(folder / "run.json", entry(self._about, sources) | {"start_time": stamp(self._about.started)})
            _write(folder / "config.json", self._about.nested)
            (folder / "cout.txt").touch()
        while True:
            number = max(self._numbers(), default=0) + 1
            try:
                os.rename(self._base / f".new-{self._about.key}", self._base / str(number))
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another run has just got the number
                    raise
            else:
                return number

    def _source(self, name: str, content: bytes) -> str:
        stem, ending = os.path.splitext(os.path.basename(name))
        path = self._base / "_sources" / f"{stem}_{hashlib.md5(content, usedforsecurity=False).hexdigest()}{ending}"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            files.replace(path, content)
        return str(path.relative_to(self._base))

    def missing(self, lines: list[Line]) -> list[Line]:
        metrics = _read(self._folder / "metrics.json")
        known = {(name, step) for name, points in metrics.items() for step in points["steps"]}
        return [line.without(known) for line in lines]

    def log(self, lines: list[Line]) -> None:
        metrics = _read(self._folder / "metrics.json")
        for line in lines:
            for name, value in line.scalars.items():
                points = metrics.setdefault(name, {"values": [], "steps": [], "timestamps": []})
                points["values"].append(value)
                points["steps"].append(line.step)
                points["timestamps"].append(stamp(now()))
        files.replace(self._folder / "metrics.json", json.dumps(metrics))  # indented it would take ten times as long
        self._copy_log()
        self._change(heartbeat=stamp(now()))

    def _copy_log(self) -> None:
        with open(self._folder / "cout.txt", "ab") as target, open(self._about.run.log, "rb") as log:
            log.seek(target.tell())
            shutil.copyfileobj(log, target)

    def show(self, item: Item) -> None:
        self._add(item.path)

    def _add(self, path: Path) -> None:
        name = "exper.json" if path.name == "run.json" else path.name  # Sacred has a run.json of its own
        files.replace(self._folder / name, path.read_bytes())
        known = _read(self._folder / "run.json")["artifacts"]
        self._change(artifacts=[*known, *([name] if name not in known else [])])

    def finish(self, end: End) -> None:
        self.log(self.missing([end.line]))
        for path in self._about.results():
            if path != self._about.run.log:  # cout.txt
                self._add(path)
        self._change(**ending(self._about, end) | {"stop_time": stamp(end.time)})

    def _change(self, **changes: Any) -> None:
        _write(self._folder / "run.json", _read(self._folder / "run.json") | changes)


def _read(path: Path) -> dict[str, Any]:
    try:
        return files.read_json(path)
    except FileNotFoundError:
        return {}


def _write(path: Path, content: dict[str, Any]) -> None:
    files.replace(path, json.dumps(content, sort_keys=True, indent=2))
