"""The meeting point of a run's launchers, and the further nodes of its SLURM job.

One launcher (launcher.py) works on each node. The supervisor starts that of the first node, which keeps the run's lock
and starts the others with srun; srun forwards their output. They have no lock, as it reaches no other host, and their
only control pipe is their standard input, which srun closes when the first launcher is gone.
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

_MEETING_SECONDS = 600  # until all launchers have come
_ENDING_SECONDS = 60
_POLL_SECONDS = 0.2
_FAILED = "failed"
_OF_THIS_NODE = ("EXPER_LAUNCHER", "EXPER_LOCK", "EXPER_CONTROL", "EXPER_OUTPUT")


@dataclass(frozen=True)
class Meeting:
    """The point where the launchers meet, one launcher per node."""

    nodes: int
    node: int  # this node's number
    host: str  # the first node's address, seen from here
    port: int
    store: TCPStore | None  # listens there; on the first node only

    def handler(self, name: str) -> RendezvousHandler:
        """Return torchrun's rendezvous for the run `name`; on the first node it finds `store` by its port."""
        endpoint = f"{self.host}:{self.port}"
        parameters = RendezvousParameters(
            "static", endpoint, name, self.nodes, self.nodes, rank=self.node, timeout=_MEETING_SECONDS
        )
        return registry.get_rendezvous_handler(parameters)


def meeting(job: slurm.Job | None) -> Meeting:
    """Return the meeting point of the run's job.

    The first node opens a new one, which other machines can reach only if the job has further nodes.
    """
    if slurm.is_further_node(job):
        node, nodes = slurm.number_and_nodes()
        return Meeting(nodes, node, *slurm.first_node(), None)
    nodes = slurm.nodes(job)
    here = "127.0.0.1"
    listening = socket.create_server((here if nodes == 1 else "", 0))
    port = listening.getsockname()[1]
    store = TCPStore(
        here, port, nodes, True, wait_for_workers=False, multi_tenant=True, master_listen_fd=listening.detach()
    )
    return Meeting(nodes, 0, here, port, store)


def tell_failure(store: Store, code: int) -> None:
    """Tell the launchers of all nodes that a rank of this node has failed; its launcher's end would come too late."""
    with contextlib.suppress(RuntimeError):  # the first launcher is gone
        store.set(_FAILED, str(code))


def told_failure(store: Store) -> int:
    """Return the exit code of a rank that has failed on any node, or 0."""
    with contextlib.suppress(RuntimeError):  # the first launcher is gone: the end of standard input tells that
        return int(store.get(_FAILED)) if store.check([_FAILED]) else 0
    return 0


class Others:
    """The launchers of the other nodes, seen from the first: one srun process, or none."""

    def __init__(self, meeting: Meeting) -> None:
        self._srun: subprocess.Popen[bytes] | None = None
        self._have_met = threading.Event()
        if meeting.nodes > 1 and meeting.node == 0:
            words = slurm.on_other_nodes(meeting.nodes, [sys.executable, "-s", *sys.argv])
            inherited = {name: value for name, value in os.environ.items() if name not in _OF_THIS_NODE}
            environment = inherited | slurm.further_node_environment(meeting.port)
            self._srun = subprocess.Popen(words, stdin=subprocess.PIPE, env=environment)
            self._watcher = threading.Thread(target=self._watch, name="other nodes", daemon=True)
            self._watcher.start()

    def have_met(self) -> None:
        """Note that all launchers have come; from here on the agent asks `failed`."""
        self._have_met.set()
        if self._srun is not None:
            self._watcher.join()

    def failed(self) -> int | None:
        """Return the exit code of srun if another launcher has failed or stopped, else None."""
        return None if self._srun is None else self._srun.poll() or None

    def signal(self, number: int) -> None:
        """Ask the other launchers to stop, or with SIGKILL end them at once."""
        if self._srun is not None and self._srun.poll() is None:
            # srun forwards SIGUSR1; at SIGQUIT, as at SIGTERM, it ends everything that it has started.
            self._srun.send_signal(signal.SIGQUIT if number == signal.SIGKILL else signal.SIGUSR1)

    def wait(self) -> int:
        """Wait until the other launchers end, which is soon; return their exit code."""
        if self._srun is None:
            return 0
        try:
            return self._srun.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            return self._srun.wait()

    def _watch(self) -> None:
        """Exit if the other launchers end before all have met; this one would wait for them."""
        while not self._have_met.wait(_POLL_SECONDS):
            if self.failed() is not None:
                print(f"the other nodes have ended before training began (exit code {self.failed()})", flush=True)
                os._exit(1)
