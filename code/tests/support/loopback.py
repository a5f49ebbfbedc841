"""A small HTTP server on loopback, in a thread of the tests. A subclass decides its answers."""

import abc
import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar


class Server(abc.ABC):
    """Pass each request and its body to `answer`."""

    def __init__(self, port: int = 0) -> None:
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                ours.answer(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @abc.abstractmethod
    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer a request."""

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


_Server = TypeVar("_Server", bound=Server)


@contextlib.contextmanager
def until_stopped(server: _Server) -> Iterator[_Server]:
    """Yield a server, and stop it."""
    try:
        yield server
    finally:
        server.stop()


def send(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
    """Answer, unless the client is gone."""
    with contextlib.suppress(OSError):
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
