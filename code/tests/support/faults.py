"""A proxy before a real server that fails on demand: "500", "hang", "slow", or "cut" (carried out, not answered)."""

import contextlib
import http.client
import time
from http.server import BaseHTTPRequestHandler

from tests.support import loopback


class Proxy(loopback.Server):
    """Forward each request to the server at `port`, unless `fault` says otherwise."""

    def __init__(self, port: int) -> None:
        self.fault = ""
        self._to = port
        super().__init__()

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
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
            own = ("transfer-encoding", "content-length", "connection")
            kept = {name: value for name, value in headers.items() if name.lower() not in own}
            loopback.send(request, status, kept, found)

    def _ask(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._to, timeout=30)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        connection.request(request.command, request.path, body, headers)
        answer = connection.getresponse()
        found = answer.read()
        connection.close()
        return answer.status, answer.headers, found


def between(port: int) -> contextlib.AbstractContextManager[Proxy]:
    """Yield a proxy."""
    return loopback.until_stopped(Proxy(port))
