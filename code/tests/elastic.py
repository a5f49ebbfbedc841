"""A small server that speaks as much of Elasticsearch as the logger needs, and that fails on demand."""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Elastic:
    """Indices of documents; `fault` is what goes wrong: "", "500", "hang", "slow", or "cut" (done, and no answer)."""

    def __init__(self, port: int = 0) -> None:
        self.fault, self.writes = "", Counter[str]()  # writes of each document
        self.mappings: dict[str, Any] = {}
        self.secrets: set[str | None] = set()
        self.documents: dict[str, dict[str, Any]] = {}
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                ours.answer(self)

            do_POST = do_PUT

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
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
        body = json.dumps(content).encode()
        with contextlib.suppress(OSError):
            request.send_response(status)
            request.send_header("X-Elastic-Product", "Elasticsearch")
            request.send_header("Content-Type", "application/vnd.elasticsearch+json; compatible-with=9")
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the documents of a kind."""
        return [document for document in self.documents.values() if document["kind"] == kind]


@contextlib.contextmanager
def served() -> Iterator[Elastic]:
    """Yield a server."""
    server = Elastic()
    try:
        yield server
    finally:
        server.stop()
