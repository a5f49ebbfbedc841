"""The supervisor of a trial, forked by the server: it begins or resumes a run, trains it, and records its end."""

import contextlib
import functools
import json
import os
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

import psutil

from exper.core import host_info, paths
from exper.core.errors import Refused
from exper.core.signals import Interrupted, Signals
from exper.repository.repository import Repository
from exper.runs import ids, lifecycle, run_record, status, supervisor
from exper.runs.resume import resume_run, wait_for_end
from exper.runs.supervisor import Program, Training
from exper.search import fork

Request = dict[str, Any]
_READ_LATE = {"CUDA_VISIBLE_DEVICES"}  # variables that no import reads


class Supervisor:
    """The state that all requests share; made before the first, and used in a fork for each."""

    def __init__(self, project: paths.Project, threads: int, searching: int) -> None:
        """Take the thread count that libraries have read, and a pipe that closes when the searching process ends."""
        self._project = project
        self._threads = threads
        self._searching = searching
        self._repository = Repository(project.root)
        self._versions = host_info.versions()
        self._is_prepared = False
        self._blas = _blas()

    def prepare(self, request: Request) -> None:
        """Read the first commit once: the commits of a search differ in one file."""
        if not self._is_prepared:
            self._is_prepared = True
            with contextlib.suppress(Refused, KeyError):  # the fork will tell
                self._repository.remember(request["commit"])

    def serve(self, orders: socket.socket, mask: set[int]) -> NoReturn:
        """Wait for a request, with a fork for its training ready; work on it, then end."""
        os.setsid()  # a training that stops would stop its whole process group
        with Signals() as signals:
            waiting = fork.Waiting(self._set_blas_threads, mask)
            message = fork.receive(orders)
            if message is None:
                os._exit(0)
            (report,) = message.descriptors
            try:
                os.write(report, b"\n")  # the request has not been lost
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                self._work(message.content, waiting, signals)
            except (Interrupted, lifecycle.Busy):
                pass
            except Refused as error:
                _tell(report, {"refused": str(error)})
            except Exception as error:
                is_bug = not isinstance(error, OSError) or error.strerror is None
                _tell(report, {"bug": traceback.format_exc()} if is_bug else {"failed": str(error)})
            finally:
                os.close(report)  # before the kernel frees our memory, which takes a while
                os._exit(0)

    def _work(self, request: Request, waiting: fork.Waiting, signals: Signals) -> None:
        os.environ.update(request["environment"])
        live = self._begin(request, signals)
        if live is not None:
            is_ours = request["environment"].keys() <= _READ_LATE and self._is_ours(live.record)
            lifecycle.train(self._project, live, signals, start=functools.partial(self._start, waiting, is_ours))

    def _begin(self, request: Request, signals: Signals) -> lifecycle.LiveRun | None:
        """Return the run of a request, resumed if it exists; None if it is over."""
        project = self._project
        run = project.tag(request["tag"]).run(request["id"])
        if run.folder.exists():
            record = run_record.read(run)
            now = wait_for_end(run)
            if now in status.UNFINISHED:
                return resume_run(project, self._repository, run, record, request["command"])[0]
            if now not in status.FINAL:
                raise lifecycle.Busy(f"{run} is {now}: another process works on it.")
            lifecycle.finalize(project, run, now)  # a kill after the record may have interrupted the rest of the end
            return None
        if ids.was_given(project.tag(run.tag), run.id):
            raise Refused(f"{run} has been removed, and no id is given twice.")
        record = run_record.new(request["tag"], request["commit"], request["seed"], request["threads"])
        return lifecycle.create(
            project, record, request["command"], repository=self._repository, signals=signals, number=request["id"]
        )

    def _start(self, waiting: fork.Waiting, is_ours: bool, program: Program) -> Training:
        """Start training warm, or cold where warm would differ; then watch for the end of the searching process."""
        training: Training
        if is_ours and self._is_same(program):
            training = waiting.start(program)
        else:
            waiting.dismiss()
            training = supervisor.start(program)
        watch = threading.Thread(target=_watch, args=(self._searching,), name="searching", daemon=True)
        watch.start()  # only now: a process with threads must not be forked
        return training

    def _is_ours(self, record: run_record.Record) -> bool:
        """Tell whether a run has the package versions and the OpenMP threads of this process."""
        return (record["threads"], record["versions"]) == (self._threads, self._versions)

    def _is_same(self, program: Program) -> bool:
        """Tell whether a new process would import the same modules, and could set their threads."""
        path = program.environment.get("PYTHONPATH")
        return (
            psutil.Process().num_threads() == 1
            and (not path or all(map(os.path.isabs, path.split(os.pathsep))))
            and (self._blas is not None or _blas_threads(program.environment) == 1)
            and not _shadowed(program.file.parent)
        )

    def _set_blas_threads(self, program: Program) -> None:
        """Give numpy and scipy the threads that they would have taken when imported; here they have one."""
        threads = _blas_threads(program.environment)
        if threads > 1:
            self._blas.limit(limits=threads, user_api="blas")


def _blas() -> Any:
    """Return the controller of BLAS threads if threadpoolctl is there, without the variables that its import sets."""
    before = set(os.environ)
    with contextlib.suppress(ImportError):
        from threadpoolctl import ThreadpoolController

        for name in set(os.environ) - before:
            del os.environ[name]
        return ThreadpoolController()
    return None


def _blas_threads(environment: dict[str, str]) -> int:
    """Return the number of threads that OpenBLAS takes in an environment."""
    names = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
    wanted = [int(environment[name]) for name in names if environment.get(name, "").isdigit()]
    return min(next(number for number in wanted if number > 0), len(os.sched_getaffinity(0)))


def _shadowed(code: Path) -> set[str]:
    """Return the imported modules that a file beside the program would replace."""
    names = {path.name.partition(".")[0] for path in code.iterdir()}
    return {name for name in names - {"exper"} if name in sys.modules}


def _watch(searching: int) -> None:
    """Ask this process to end when the searching process has ended."""
    while os.read(searching, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _tell(report: int, content: dict[str, str]) -> None:
    with contextlib.suppress(OSError):  # nobody reads it any more
        os.write(report, f"{json.dumps(content)}\n".encode())
