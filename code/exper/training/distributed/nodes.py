"""Where the processes of a run meet, and the further nodes of its SLURM job that train it, too.

One launcher (torchrun.py) works on each node. That of the first node is what the supervisor has started: it keeps the
run's lock, and starts the others by srun, which hands on what they print. They have no lock, as it reaches no other
host, and no control pipe but their standard input, which srun ends when the first launcher is gone.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass

from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.rendezvous import RendezvousHandler, RendezvousParameters, registry

from exper.core import slurm
from exper.training.run import Run

_SECONDS = 600  # for all launchers to come
_SECONDS_TO_END = 60
_LOOK_SECONDS = 0.2
_FAILED = "failed"
_OF_THIS_NODE = ("EXPER_LAUNCHER", "EXPER_LOCK", "EXPER_CONTROL", "EXPER_OUTPUT")


@dataclass(frozen=True)
class Meeting:
    """Where the launchers meet, one for each node."""

    nodes: int
    node: int  # this one's number
    host: str  # of the first one, seen from here
    port: int
    store: TCPStore | None  # what listens there, on the first

    def handler(self, name: str) -> RendezvousHandler:
        """Return torchrun's way to meet for the run `name`: on the first node it finds `store`, by its port."""
        endpoint = f"{self.host}:{self.port}"
        parameters = RendezvousParameters(
            "static", endpoint, name, self.nodes, self.nodes, rank=self.node, timeout=_SECONDS
        )
        return registry.get_rendezvous_handler(parameters)


def meeting(run: Run) -> Meeting:
    """Return where to meet: on the first node a new place, which other machines reach only if they are to come."""
    job = run.record.get("job")
    if slurm.is_further_node(job):
        node, nodes = slurm.number_and_nodes()
        return Meeting(nodes, node, *slurm.first_node(), None)
    nodes, here = slurm.nodes(job), "127.0.0.1"
    listening = socket.create_server((here if nodes == 1 else "", 0))
    port = listening.getsockname()[1]
    store = TCPStore(
        here, port, nodes, True, wait_for_workers=False, multi_tenant=True, master_listen_fd=listening.detach()
    )
    return Meeting(nodes, 0, here, port, store)


def tell_failure(store: Store, code: int) -> None:
    """Tell the launchers of all nodes that one of our ranks has failed: that its launcher has ended comes too late."""
    with contextlib.suppress(RuntimeError):  # the first launcher is gone
        store.set(_FAILED, str(code))


def told_failure(store: Store) -> int:
    """Return the exit code of a rank that has failed on any node, or 0."""
    with contextlib.suppress(RuntimeError):  # the first launcher is gone: the end of standard input tells that
        return int(store.get(_FAILED)) if store.check([_FAILED]) else 0
    return 0


class Others:
    """The launchers of the other nodes, seen from the first one: one process, srun, or none."""

    def __init__(self, meeting: Meeting) -> None:
        self._srun: subprocess.Popen[bytes] | None = None
        self._have_met = threading.Event()
        if meeting.nodes > 1 and meeting.node == 0:
            words = slurm.on_other_nodes(meeting.nodes, [sys.executable, "-s", *sys.argv])
            theirs = {name: value for name, value in os.environ.items() if name not in _OF_THIS_NODE}
            environment = theirs | slurm.to_find_the_first(meeting.port)
            self._srun = subprocess.Popen(words, stdin=subprocess.PIPE, env=environment)
            self._watcher = threading.Thread(target=self._watch, name="other nodes", daemon=True)
            self._watcher.start()

    def have_met(self) -> None:
        """Note that all launchers have come; from here on it is for us to ask for `failed`."""
        self._have_met.set()
        if self._srun is not None:
            self._watcher.join()

    def failed(self) -> int | None:
        """Return the exit code of one that has failed or stopped."""
        return None if self._srun is None else self._srun.poll() or None

    def signal(self, number: int) -> None:
        """Have them stop as we do, or with SIGKILL end at once."""
        if self._srun is not None and self._srun.poll() is None:
            # srun hands on SIGUSR1; at SIGQUIT, as at SIGTERM, it ends all that it has started.
            self._srun.send_signal(signal.SIGQUIT if number == signal.SIGKILL else signal.SIGUSR1)

    def wait(self) -> int:
        """Wait for their end, which is near; return their exit code."""
        if self._srun is None:
            return 0
        try:
            return self._srun.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            return self._srun.wait()

    def _watch(self) -> None:
        """End if the others end before all have met: we would wait for them."""
        while not self._have_met.wait(_LOOK_SECONDS):
            if self.failed() is not None:
                print(f"the other nodes have ended before training began (exit code {self.failed()})", flush=True)
                os._exit(1)
