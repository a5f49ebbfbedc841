"""Documents in MongoDB as Sacred's MongoObserver writes them and Omniboard reads them."""

import os
from typing import Any

from exper.sidecars.loggers import sacred_record
from exper.sidecars.loggers.run_info import End, Item, Line, RunInfo

_TIMEOUTS = ("serverSelectionTimeoutMS", "connectTimeoutMS", "socketTimeoutMS")
_TIMEOUT_MILLISECONDS = 10000
_URL = "mongodb://localhost:27017"
_MAX_LOG_BYTES = 1 << 20  # a document holds 16 MB at most


class Omniboard:
    """A document in `runs`, one in `metrics` for each curve, and files in GridFS."""

    pause = sacred_record.PAUSE

    def __init__(self, info: RunInfo, url: str | None, database: str) -> None:
        self._info = info
        self._database = database
        self._url = os.environ.get("MONGO_URI") or url or _URL

    def start(self, _there: dict[str, Any]) -> dict[str, Any]:
        from gridfs import GridFS
        from pymongo import MongoClient

        timeouts = dict.fromkeys(_TIMEOUTS, _TIMEOUT_MILLISECONDS)
        database: Any = MongoClient(self._url, **timeouts)[self._database]
        self._runs = database["runs"]
        self._metrics = database["metrics"]
        self._files = GridFS(database)
        run = self._runs.find_one({"meta.exper.key": self._info.key}, {"_id": 1})
        self._id = run["_id"] if run else self._create()
        self._change(status="RUNNING", heartbeat=sacred_record.now(), stop_time=None)
        return {"_id": self._id}

    def _create(self) -> int:
        from pymongo.errors import DuplicateKeyError

        info = self._info
        sources = [[name, self._source(name, content)] for name, content in info.sources().items()]
        start = {"start_time": sacred_record.utc(info.started), "config": info.nested}
        record = sacred_record.new(info, sources) | start | {"captured_out": "", "info": {}}
        while True:
            newest = self._runs.find_one({}, {"_id": 1}, sort=[("_id", -1)])
            number = int(newest["_id"]) + 1 if newest else 1
            try:
                self._runs.insert_one({"_id": number, **record})
            except DuplicateKeyError:
                continue
            return number

    def _source(self, name: str, content: bytes) -> Any:
        """Return the id of a source file, which all runs share, as with Sacred."""
        digest = sacred_record.md5(content)
        file = self._files.find_one({"filename": name, "md5": digest})
        return file._id if file else self._files.put(content, filename=name, md5=digest)

    def _own_metrics(self) -> Any:
        return self._metrics.find({"run_id": self._id})

    def missing(self, lines: list[Line]) -> list[Line]:
        points = {(metric["name"], step) for metric in self._own_metrics() for step in metric["steps"]}
        return [line.without(points) for line in lines]

    def log(self, lines: list[Line]) -> None:
        curves: dict[str, list[tuple[int, float]]] = {}
        for line in lines:
            for name, value in line.scalars.items():
                curves.setdefault(name, []).append((line.step, value))
        for name, points in curves.items():
            self._push(name, points)
        metrics = [{"name": metric["name"], "id": str(metric["_id"])} for metric in self._own_metrics()]
        self._change(heartbeat=sacred_record.now(), captured_out=self._log_tail(), info={"metrics": metrics})

    def _push(self, name: str, points: list[tuple[int, float]]) -> None:
        now = sacred_record.now()
        columns = {
            "steps": [step for step, _ in points],
            "values": [value for _, value in points],
            "timestamps": [now for _ in points],
        }
        push = {column: {"$each": values} for column, values in columns.items()}
        self._metrics.update_one({"run_id": self._id, "name": name}, {"$push": push}, upsert=True)

    def _log_tail(self) -> str:
        with open(self._info.run.log, "rb") as file:
            file.seek(max(0, self._info.run.log.stat().st_size - _MAX_LOG_BYTES))
            return file.read().decode(errors="replace")

    def show(self, item: Item) -> None:
        self._add(item.path.name, item.path.read_bytes())

    def _add(self, name: str, content: bytes) -> None:
        path = f"artifact://runs/{self._id}/{name}"
        for old in self._files.find({"filename": path}):
            self._files.delete(old._id)
        new = {"name": name, "file_id": self._files.put(content, filename=path)}
        run = self._runs.find_one({"_id": self._id}, {"artifacts": 1})
        self._change(artifacts=[*(artifact for artifact in run["artifacts"] if artifact["name"] != name), new])

    def finish(self, end: End) -> None:
        self.log(self.missing([end.line]))
        for path in self._info.results():
            self._add(path.name, path.read_bytes())
        self._change(**sacred_record.ending(self._info, end), stop_time=sacred_record.utc(end.time))

    def _change(self, **changes: Any) -> None:
        self._runs.update_one({"_id": self._id}, {"$set": changes})
