"""Messages between the processes of a warm start: an object, and open descriptors with it."""

import json
import os
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("=I")
_MOST_DESCRIPTORS = 8


def send(to: socket.socket, content: dict[str, Any], *descriptors: int) -> None:
    """Send a message; who receives it gets descriptors of his own for the same open files.

    Raises:
        OSError: nobody is there to receive it.
    """
    text = json.dumps(content).encode()
    socket.send_fds(to, [_LENGTH.pack(len(text))], descriptors)
    to.sendall(text)


def receive(where: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Wait for a message; return it with its descriptors, or None if who could send one is gone."""
    length, descriptors, _, _ = socket.recv_fds(where, _LENGTH.size, _MOST_DESCRIPTORS)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    with where.makefile("rb") as file:
        text = file.read(_LENGTH.unpack(length)[0]) if length else b""
    return (json.loads(text), descriptors) if text else None
