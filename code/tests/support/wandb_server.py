"""As much of W&B's server as its client needs to send a run. The lines of history are kept by run and number."""

import gzip
import json
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support import loopback


class Server(loopback.Server):
    """Runs with their lines; the client sends lines with the number of the first."""

    def __init__(self) -> None:
        self.lines: dict[str, dict[int, dict[str, Any]]] = {}
        self.names: dict[str, str] = {}
        self.asked: list[str] = []
        self.fault = ""
        super().__init__()

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        content = json.loads(body) if body.startswith(b"{") else {}
        self.asked.append(f"{request.path} {json.dumps(content)}")
        if self.fault == "500":
            self._send(request, 500, {})
        elif request.path.endswith("/file_stream"):
            self._stream(request.path.split("/")[-2], content)
            self._send(request, 200, {"exitcode": None, "limits": {}})
        elif request.path.endswith("/graphql"):
            self._send(request, 200, {"data": self._graphql(content)})
        else:
            self._send(request, 200, {})

    def _stream(self, run: str, content: dict[str, Any]) -> None:
        found = (content.get("files") or {}).get("wandb-history.jsonl") or {"offset": 0, "content": []}
        for number, line in enumerate(found["content"], found["offset"]):
            self.lines.setdefault(run, {})[number] = json.loads(line)

    def _graphql(self, content: dict[str, Any]) -> dict[str, Any]:
        query = content["query"]
        given = content.get("variables") or {}
        if "upsertBucket" in query:
            name = str(given.get("name") or given.get("id"))
            self.names[name] = given.get("displayName") or self.names.get(name, "")
            self.lines.setdefault(name, {})
            return {"upsertBucket": {"bucket": self._bucket(name), "inserted": len(self.lines[name]) == 0}}
        if "RunResumeStatus" in query or "resumeStatus" in query.lower():
            name = str(given.get("name"))
            bucket = self._bucket(name) if name in self.lines else None
            return {"model": {"id": "p", "name": "p", "entity": {"id": "e", "name": "me"}, "bucket": bucket}}
        if "viewer" in query.lower():
            return {"viewer": {"id": "me", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        if "createRunFiles" in query:
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": []}}
        return {"serverInfo": {"cliVersionInfo": {}, "latestLocalVersionInfo": None}}

    def _bucket(self, name: str) -> dict[str, Any]:
        lines = self.lines.get(name) or {}
        last = json.dumps(lines[max(lines)]) if lines else ""
        return {
            "id": name,
            "name": name,
            "displayName": self.names.get(name),
            "description": "",
            "config": "{}",
            "summaryMetrics": last or "{}",
            "sweepName": None,
            "project": {"id": "p", "name": "p", "entity": {"id": "e", "name": "me"}},
            "historyLineCount": len(lines),
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": json.dumps([last] if lines else []),
            "eventsTail": "[]",
            "tags": [],
            "wandbConfig": json.dumps({"t": {}}),
        }

    def _send(self, request: BaseHTTPRequestHandler, status: int, content: dict[str, Any]) -> None:
        loopback.send(request, status, {"Content-Type": "application/json"}, json.dumps(content).encode())


def served() -> AbstractContextManager[Server]:
    """Yield a server."""
    return loopback.until_stopped(Server())
