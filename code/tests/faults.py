"""A proxy before a real server that fails on demand: "500", "hang", "slow", or "cut" (done, and no answer)."""

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Proxy:
    """What it is asked it asks the server at `port`, unless `fault` says otherwise."""

    def __init__(self, port: int) -> None:
        self.fault, self._to = "", port
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                ours.answer(self)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if self.fault == "hang":
            time.sleep(60)
        if self.fault == "slow":
            time.sleep(1)
        with contextlib.suppress(OSError):
            if self.fault == "500":
                request.send_error(500)
                return
            status, headers, found = self._ask(request, body)
            if self.fault == "cut" and request.command == "POST":
                request.connection.close()
                return
            request.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                    request.send_header(name, value)
            request.send_header("Content-Length", str(len(found)))
            request.end_headers()
            request.wfile.write(found)

    def _ask(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._to, timeout=30)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        connection.request(request.command, request.path, body, headers)
        answer = connection.getresponse()
        found = answer.read()
        connection.close()
        return answer.status, answer.headers, found


@contextlib.contextmanager
def between(port: int) -> Iterator[Proxy]:
    """Yield a proxy."""
    proxy = Proxy(port)
    threading.Thread(target=proxy.server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()
