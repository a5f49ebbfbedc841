"""Elasticsearch, for Kibana: a document for each line of history and hardware, in an index for each project."""

import math
import os
import re
from datetime import datetime, timezone
from typing import Any

from exper.sidecars.loggers.run_info import End, Item, Line, RunInfo

_NOT_IN_NAMES = re.compile(r"[^a-z0-9_.-]+")
_CREATED = (200, 201)
_EXISTS = 409  # a document with that id
_TIMEOUT_SECONDS = 10.0
# Without these a first value of 1 would make whole numbers of all later values.
_MAPPINGS = {
    "dynamic_templates": [
        {"numbers": {"match_mapping_type": "long", "mapping": {"type": "double"}}},
        {"words": {"match_mapping_type": "string", "mapping": {"type": "keyword", "ignore_above": 8000}}},
    ],
    "properties": {"@timestamp": {"type": "date"}, "epoch": {"type": "long"}, "step": {"type": "long"}},
}


class Elasticsearch:
    """The documents of a run. Run and line make up a document's id, so that each exists once."""

    sources = ("history", "hardware")

    def __init__(self, info: RunInfo, url: str = "http://localhost:9200", index: str | None = None) -> None:
        self._info = info
        self._url = url
        self._index = index or f"exper-{_NOT_IN_NAMES.sub('-', info.project.lower()).strip('-.')}"

    def start(self, _there: dict[str, Any]) -> dict[str, Any]:
        from elasticsearch import Elasticsearch as Client

        user = os.environ.get("ELASTICSEARCH_USERNAME")
        password = os.environ.get("ELASTICSEARCH_PASSWORD")
        secret: dict[str, Any] = {"api_key": os.environ.get("ELASTICSEARCH_API_KEY")}
        if user and password:
            secret = {"basic_auth": (user, password)}
        self._client = Client(
            self._url, request_timeout=_TIMEOUT_SECONDS, max_retries=0, retry_on_timeout=False, **secret
        )
        self._client.options(ignore_status=400).indices.create(index=self._index, mappings=_MAPPINGS)
        return {"index": self._index}

    def missing(self, lines: list[Line]) -> list[Line]:
        return lines  # a document that exists stays as it is

    def log(self, lines: list[Line]) -> None:
        documents = {f"{line.source}-{line.number}": self._document(line) for line in lines}
        self._bulk("create", documents)

    def _document(self, line: Line) -> dict[str, Any]:
        head = {"@timestamp": _stamp(line.content.get("time")), "kind": line.source}
        return head | self._identity() | _finite(line.content)

    def _identity(self) -> dict[str, Any]:
        return {"run": self._info.name, "tag": self._info.record.get("tag"), "id": self._info.record.get("id")}

    def show(self, item: Item) -> None:
        """Send a text; Kibana shows no pictures."""
        if item.is_text:
            head = {"@timestamp": datetime.now(timezone.utc).isoformat(), "kind": "text", "step": item.step}
            text = item.path.read_text(errors="replace")
            document = head | self._identity() | {"name": item.name, "text": text}
            self._bulk("create", {f"shown-{item.path.name}": document})

    def finish(self, end: End) -> None:
        head = {"@timestamp": end.time.isoformat(), "kind": "run", "status": end.status, "step": end.step}
        settings = {f"setting/{name}": str(value) for name, value in self._info.config.items()}
        self._bulk("index", {"run": head | self._identity() | settings | _finite(end.test)})

    def _bulk(self, action: str, documents: dict[str, dict[str, Any]]) -> None:
        operations: list[dict[str, Any]] = []
        for name, document in documents.items():
            flat = {field.replace(".", "/"): value for field, value in document.items()}  # a dot would nest them
            operations += [{action: {"_index": self._index, "_id": f"{self._info.key}-{name}"}}, flat]
        answer = self._client.bulk(operations=operations)
        for item in answer["items"]:
            if item[action]["status"] not in (*_CREATED, _EXISTS):
                raise OSError(f"{item[action]['status']}: {item[action].get('error')}")


def _stamp(seconds: Any) -> str:
    """Return a time in seconds since 1970, or if it is none the current time, as Elasticsearch reads it."""
    is_time = isinstance(seconds, float)
    return (datetime.fromtimestamp(seconds, timezone.utc) if is_time else datetime.now(timezone.utc)).isoformat()


def _finite(content: dict[str, Any]) -> dict[str, Any]:
    """Return the values without NaN and infinity, which JSON does not have."""
    return {name: value for name, value in content.items() if not isinstance(value, float) or math.isfinite(value)}
