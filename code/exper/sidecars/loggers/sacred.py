"""Sacred's files, as its FileStorageObserver writes them; sacred_mongo.py writes its documents for Omniboard.

Sacred itself is not used: it can't be imported with setuptools 82 or newer, can't continue an interrupted run, and
can't tell what has arrived.
"""

import contextlib
import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal

from exper.core import files
from exper.sidecars.loggers import sacred_record
from exper.sidecars.loggers.run_info import End, Item, Line, RunInfo
from exper.sidecars.loggers.sacred_mongo import Omniboard


class Sacred:
    """A run of Sacred, in files or in MongoDB."""

    def __new__(
        cls,
        info: RunInfo,
        storage: Literal["file", "mongo"] = "file",
        url: str | None = None,  # of MongoDB; the variable MONGO_URI takes precedence
        database: str = "sacred",
    ) -> Any:
        return _Files(info) if storage == "file" else Omniboard(info, url, database)


class _Files:
    """`__result__/.sacred/<number>/`, with sources in `.sacred/_sources/`."""

    pause = sacred_record.PAUSE
    most = 20_000  # metrics.json is written whole each time

    def __init__(self, info: RunInfo) -> None:
        self._info = info
        self._base = info.run.project.sacred

    def start(self, there: dict[str, Any]) -> dict[str, Any]:
        self._base.mkdir(parents=True, exist_ok=True)
        number = there.get("number") or self._find() or self._create()
        self._folder = self._base / str(number)
        now = sacred_record.stamp(sacred_record.now())
        self._change(status="RUNNING", stop_time=None, fail_trace=None, heartbeat=now)
        return {"number": number}

    def _find(self) -> int | None:
        """Return the number of this run, if a kill came before it was remembered."""
        for number in sorted(self._numbers(), reverse=True):
            with contextlib.suppress(Exception):
                if files.read_json(self._base / f"{number}/run.json")["meta"]["exper"]["key"] == self._info.key:
                    return number
        return None

    def _numbers(self) -> list[int]:
        return [int(name) for name in os.listdir(self._base) if name.isdigit()]

    def _create(self) -> int:
        info = self._info
        sources = [[name, self._source(name, content)] for name, content in info.sources().items()]
        start = {"start_time": sacred_record.stamp(info.started)}
        with files.new_folder(self._base / f".new-{info.key}") as folder:
            _write(folder / "run.json", sacred_record.new(info, sources) | start)
            _write(folder / "config.json", info.nested)
            (folder / "cout.txt").touch()
        while True:
            number = max(self._numbers(), default=0) + 1
            try:
                os.rename(self._base / f".new-{info.key}", self._base / str(number))
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another run has just taken the number
                    raise
            else:
                return number

    def _source(self, name: str, content: bytes) -> str:
        stem, ending = os.path.splitext(os.path.basename(name))
        path = self._base / "_sources" / f"{stem}_{sacred_record.md5(content)}{ending}"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            files.replace(path, content)
        return str(path.relative_to(self._base))

    def missing(self, lines: list[Line]) -> list[Line]:
        metrics = _read(self._folder / "metrics.json")
        points = {(name, step) for name, metric in metrics.items() for step in metric["steps"]}
        return [line.without(points) for line in lines]

    def log(self, lines: list[Line]) -> None:
        metrics = _read(self._folder / "metrics.json")
        for line in lines:
            for name, value in line.scalars.items():
                metric = metrics.setdefault(name, {"values": [], "steps": [], "timestamps": []})
                metric["values"].append(value)
                metric["steps"].append(line.step)
                metric["timestamps"].append(sacred_record.stamp(sacred_record.now()))
        files.replace(self._folder / "metrics.json", json.dumps(metrics))  # indented it would take ten times as long
        self._copy_log()
        self._change(heartbeat=sacred_record.stamp(sacred_record.now()))

    def _copy_log(self) -> None:
        with open(self._folder / "cout.txt", "ab") as target, open(self._info.run.log, "rb") as log:
            log.seek(target.tell())
            shutil.copyfileobj(log, target)

    def show(self, item: Item) -> None:
        self._add(item.path)

    def _add(self, path: Path) -> None:
        name = "exper.json" if path.name == "run.json" else path.name  # Sacred has its own run.json
        files.replace(self._folder / name, path.read_bytes())
        artifacts = _read(self._folder / "run.json")["artifacts"]
        if name not in artifacts:
            self._change(artifacts=[*artifacts, name])

    def finish(self, end: End) -> None:
        self.log(self.missing([end.line]))
        for path in self._info.results():
            if path != self._info.run.log:  # cout.txt has it
                self._add(path)
        self._change(**sacred_record.ending(self._info, end), stop_time=sacred_record.stamp(end.time))

    def _change(self, **changes: Any) -> None:
        _write(self._folder / "run.json", _read(self._folder / "run.json") | changes)


def _read(path: Path) -> dict[str, Any]:
    try:
        return files.read_json(path)
    except FileNotFoundError:
        return {}


def _write(path: Path, content: dict[str, Any]) -> None:
    files.replace(path, json.dumps(content, sort_keys=True, indent=2))
