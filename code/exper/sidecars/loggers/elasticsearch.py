"""Elasticsearch, for Kibana: a document for each line of history and hardware, in an index for each project."""

import math
import os
import re
from datetime import datetime, timezone
from typing import Any

from exper.sidecars.loggers.run_info import About, End, Item, Line

_NOT_IN_NAMES = re.compile(r"[^a-z0-9_.-]+")
_THERE = 409  # a document of that id
_SECONDS = 10.0
# Else a first value of 1 would make whole numbers of all that follow.
_MAPPINGS = {
    "dynamic_templates": [
        {"numbers": {"match_mapping_type": "long", "mapping": {"type": "double"}}},
        {"words": {"match_mapping_type": "string", "mapping": {"type": "keyword", "ignore_above": 8000}}},
    ],
    "properties": {"@timestamp": {"type": "date"}, "epoch": {"type": "long"}, "step": {"type": "long"}},
}


class Elasticsearch:
    """Documents of a run; their ids are those of run and line, so that each is there once."""

    sources = ("history", "hardware")

    def __init__(self, about: About, url: str = "http://localhost:9200", index: str | None = None) -> None:
        self._about, self._url = about, url
        self._index = index or f"exper-{_NOT_IN_NAMES.sub('-', about.project.lower()).strip('-.')}"

    def start(self, _there: dict[str, Any]) -> dict[str, Any]:
        from elasticsearch import Elasticsearch as Client

        user, password = (os.environ.get(f"ELASTICSEARCH_{name}") for name in ("USERNAME", "PASSWORD"))
        secret: dict[str, Any] = {"api_key": os.environ.get("ELASTICSEARCH_API_KEY")}
        if user and password:
            secret = {"basic_auth": (user, password)}
        self._client = Client(self._url, request_timeout=_SECONDS, max_retries=0, retry_on_timeout=False, **secret)
        self._client.options(ignore_status=400).indices.create(index=self._index, mappings=_MAPPINGS)
        return {"index": self._index}

    def missing(self, lines: list[Line]) -> list[Line]:
        return lines  # one that is there is left as it is

    def log(self, lines: list[Line]) -> None:
        named = {f"{line.source}-{line.number}": self._document(line) for line in lines}
        self._bulk("create", named)

    def _document(self, line: Line) -> dict[str, Any]:
        about = {"@timestamp": _stamp(line.content.get("time")), "kind": line.source}
        return about | self._run() | _numbers(line.content)

    def _run(self) -> dict[str, Any]:
        return {"run": self._about.name, "tag": self._about.record.get("tag"), "id": self._about.record.get("id")}

    def show(self, item: Item) -> None:
        """Keep a text; pictures are not for Kibana."""
        if item.is_text:
            about = {"@timestamp": datetime.now(timezone.utc).isoformat(), "kind": "text", "step": item.step}
            text = item.path.read_text(errors="replace")
            self._bulk("create", {f"shown-{item.path.name}": about | self._run() | {"name": item.name, "text": text}})

    def finish(self, end: End) -> None:
        about = {"@timestamp": end.time.isoformat(), "kind": "run", "status": end.status, "step": end.step}
        settings = {f"setting/{name}": str(value) for name, value in self._about.config.items()}
        self._bulk("index", {"run": about | self._run() | settings | _numbers(end.test)})

    def _bulk(self, action: str, named: dict[str, dict[str, Any]]) -> None:
        operations: list[dict[str, Any]] = []
        for name, document in named.items():
            flat = {field.replace(".", "/"): value for field, value in document.items()}  # a dot would nest them
            operations += [{action: {"_index": self._index, "_id": f"{self._about.key}-{name}"}}, flat]
        answer = self._client.bulk(operations=operations)
        for item in answer["items"]:
            if item[action]["status"] not in (200, 201, _THERE):
                raise OSError(f"{item[action]['status']}: {item[action].get('error')}")


def _stamp(seconds: Any) -> str:
    """Return a time in seconds since 1970, or else now, as Elasticsearch reads it."""
    known = isinstance(seconds, float)
    return (datetime.fromtimestamp(seconds, timezone.utc) if known else datetime.now(timezone.utc)).isoformat()


def _numbers(content: dict[str, Any]) -> dict[str, Any]:
    """Return values without NaN and infinity, which JSON does not have."""
    return {name: value for name, value in content.items() if not isinstance(value, float) or math.isfinite(value)}
