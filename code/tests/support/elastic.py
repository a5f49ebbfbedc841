"""A small server with as much of Elasticsearch's API as the logger needs; it fails on demand."""

import json
import time
from collections import Counter
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support import loopback


class Elastic(loopback.Server):
    """Indices of documents; `fault` is "", "500", "hang", "slow", or "cut": carried out, not answered."""

    def __init__(self, port: int = 0) -> None:
        self.fault = ""
        self.writes = Counter[str]()  # of each document
        self.mappings: dict[str, Any] = {}
        self.secrets: set[str | None] = set()
        self.documents: dict[str, dict[str, Any]] = {}
        super().__init__(port)

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self.secrets.add(request.headers.get("Authorization"))
        if self.fault == "hang":
            time.sleep(60)
        if self.fault == "slow":
            time.sleep(1)
        if self.fault == "500":
            self._send(request, 500, {"error": "on demand"})
            return
        if "_bulk" in request.path:
            found = self._bulk(body)
        elif "_doc" in request.path:
            found = {"_index": "one", "_id": "one", "result": "created"}  # kept for nobody: a benchmark's
        else:
            found = self._create(request.path, body)
        if self.fault == "cut":
            request.connection.close()
            return
        self._send(request, 200, found)

    def _create(self, path: str, body: bytes) -> dict[str, Any]:
        self.mappings[path.strip("/")] = json.loads(body)["mappings"]
        return {"acknowledged": True}

    def _bulk(self, body: bytes) -> dict[str, Any]:
        lines = [json.loads(line) for line in body.splitlines() if line]
        items = []
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            [(verb, where)] = action.items()
            is_there = where["_id"] in self.documents and verb == "create"
            if not is_there:
                self.documents[where["_id"]] = {"_index": where["_index"], **document}
                self.writes[where["_id"]] += 1
            items.append({verb: {**where, "status": 409 if is_there else 201}})
        return {"errors": False, "items": items, "took": 1}

    def _send(self, request: BaseHTTPRequestHandler, status: int, content: dict[str, Any]) -> None:
        kind = "application/vnd.elasticsearch+json; compatible-with=9"
        headers = {"X-Elastic-Product": "Elasticsearch", "Content-Type": kind}
        loopback.send(request, status, headers, json.dumps(content).encode())

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the documents of a kind."""
        return [document for document in self.documents.values() if document["kind"] == kind]


def served() -> AbstractContextManager[Elastic]:
    """Yield a server."""
    return loopback.until_stopped(Elastic())
