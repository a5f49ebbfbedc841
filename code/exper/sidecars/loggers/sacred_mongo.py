"""Documents in MongoDB as Sacred's MongoObserver writes them, and Omniboard reads them."""

import hashlib
import os
from typing import Any

from exper.sidecars.loggers import sacred_record
from exper.sidecars.loggers.run_info import About, End, Item, Line

_MILLISECONDS = 10000
_URL = "mongodb://localhost:27017"


class Omniboard:
    """A document in `runs`, one in `metrics` for each curve, and files in GridFS."""

    pause = sacred_record.PAUSE

    def __init__(self, about: About, url: str | None, database: str) -> None:
        self._about, self._database = about, database
        self._url = os.environ.get("MONGO_URI") or url or _URL

    def start(self, _there: dict[str, Any]) -> dict[str, Any]:
        from gridfs import GridFS
        from pymongo import MongoClient

        limits = dict.fromkeys(("serverSelectionTimeoutMS", "connectTimeoutMS", "socketTimeoutMS"), _MILLISECONDS)
        database: Any = MongoClient(self._url, **limits)[self._database]
        self._runs, self._metrics, self._files = database["runs"], database["metrics"], GridFS(database)
        known = self._runs.find_one({"meta.exper.key": self._about.key}, {"_id": 1})
        self._id = known["_id"] if known else self._made()
        self._change(status="RUNNING", heartbeat=sacred_record.now(), stop_time=None)
        return {"_id": self._id}

    def _made(self) -> int:
        from pymongo.errors import DuplicateKeyError

        sources = [[name, self._source(name, content)] for name, content in self._about.sources().items()]
        start = {"start_time": sacred_record.utc(self._about.started), "config": self._about.nested}
        begun = sacred_record.entry(self._about, sources) | start | {"captured_out": "", "info": {}}
        while True:
            newest = self._runs.find_one({}, {"_id": 1}, sort=[("_id", -1)])
            number = int(newest["_id"]) + 1 if newest else 1
            try:
                self._runs.insert_one({"_id": number, **begun})
            except DuplicateKeyError:
                continue
            return number

    def _source(self, name: str, content: bytes) -> Any:
        """Return the id of a file that all runs share, as Sacred keeps it."""
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        known = self._files.find_one({"filename": name, "md5": digest})
        return known._id if known else self._files.put(content, filename=name, md5=digest)

    def missing(self, lines: list[Line]) -> list[Line]:
        known = {(one["name"], step) for one in self._metrics.find({"run_id": self._id}) for step in one["steps"]}
        return [line.without(known) for line in lines]

    def log(self, lines: list[Line]) -> None:
        points: dict[str, list[tuple[int, float]]] = {}
        for line in lines:
            for name, value in line.scalars.items():
                points.setdefault(name, []).append((line.step, value))
        for name, found in points.items():
            self._push(name, found)
        curves = [{"name": one["name"], "id": str(one["_id"])} for one in self._metrics.find({"run_id": self._id})]
        self._change(heartbeat=sacred_record.now(), captured_out=self._log(), info={"metrics": curves})

    def _push(self, name: str, points: list[tuple[int, float]]) -> None:
        now = sacred_record.now()
        columns = {
            "steps": [step for step, _ in points],
            "values": [value for _, value in points],
            "timestamps": [now for _ in points],
        }
        push = {column: {"$each": values} for column, values in columns.items()}
        self._metrics.update_one({"run_id": self._id, "name": name}, {"$push": push}, upsert=True)

    def _log(self) -> str:
        """Return the end of the log; a document holds 16 MB at most."""
        with open(self._about.run.log, "rb") as file:
            file.seek(max(0, self._about.run.log.stat().st_size - (1 << 20)))
            return file.read().decode(errors="replace")

    def show(self, item: Item) -> None:
        self._add(item.path.name, item.path.read_bytes())

    def _add(self, name: str, content: bytes) -> None:
        path = f"artifact://runs/{self._id}/{name}"
        for old in self._files.find({"filename": path}):
            self._files.delete(old._id)
        new = {"name": name, "file_id": self._files.put(content, filename=path)}
        entry = self._runs.find_one({"_id": self._id}, {"artifacts": 1})
        self._change(artifacts=[*(one for one in entry["artifacts"] if one["name"] != name), new])

    def finish(self, end: End) -> None:
        self.log(self.missing([end.line]))
        for path in self._about.results():
            self._add(path.name, path.read_bytes())
        self._change(**sacred_record.ending(self._about, end), stop_time=sacred_record.utc(end.time))

    def _change(self, **changes: Any) -> None:
        self._runs.update_one({"_id": self._id}, {"$set": changes})
