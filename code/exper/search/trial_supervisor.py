"""What a supervisor does that the server has forked: begin a run or take it up, train it, and record its end."""

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
from exper.search import fork, message
from exper.search.compiled import Compiled

Request = dict[str, Any]
_READ_LATE = {"CUDA_VISIBLE_DEVICES"}  # variables that no import reads


class Supervisor:
    """What all requests have in common; made before the first, and used in a fork for each."""

    def __init__(self, project: paths.Project, threads: int, searching: int) -> None:
        """Take the thread count that libraries have read, and a pipe that ends with the process that searches."""
        self._project, self._threads, self._searching = project, threads, searching
        self._repository = Repository(project.root)
        self._versions = host_info.versions()
        self._is_prepared = False
        self._compiled = Compiled()
        self._blas = _blas()

    def prepare(self, request: Request) -> None:
        """Read what the first commit holds, once for all that follow: those of a search differ in one file."""
        if not self._is_prepared:
            self._is_prepared = True
            with contextlib.suppress(Refused, KeyError):  # the fork will tell
                self._repository.remember(request["commit"])
                entries = [entry for entry in self._repository.files(request["commit"]) if entry.path.endswith(".py")]
                sources = {entry.path: data for entry, data in self._repository.contents(entries)}
                self._compiled.add("main.py", lambda path: sources.get(f"code/{path}"))

    def wait(self, orders: socket.socket, mask: set[int]) -> NoReturn:
        """Wait for a request, with training as it will be started waiting too; work on it, then end."""
        os.setsid()  # or a training that stops would stop all that we share a process group with
        with Signals() as signals:
            waiting = fork.Waiting(self._prepare, mask)
            received = message.receive(orders)
            if received is None:
                os._exit(0)
            request, (report,) = received
            try:
                os.write(report, b"\n")  # the request has not been lost
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                self._work(request, waiting, signals)
            except (Interrupted, lifecycle.Busy):
                pass
            except Refused as error:
                _tell(report, {"refused": str(error)})
            except Exception as error:
                is_bug = not isinstance(error, OSError) or error.strerror is None
                _tell(report, {"bug": traceback.format_exc()} if is_bug else {"failed": str(error)})
            finally:
                os.close(report)  # before the kernel has taken our memory apart
                os._exit(0)

    def _work(self, request: Request, waiting: fork.Waiting, signals: Signals) -> None:
        os.environ.update(request["environment"])
        live = self._begin(request, signals)
        if live is not None:
            is_ours = request["environment"].keys() <= _READ_LATE and self._is_ours(live.record)
            lifecycle.train(self._project, live, signals, start=functools.partial(self._start, waiting, is_ours))

    def _begin(self, request: Request, signals: Signals) -> lifecycle.LiveRun | None:
        """Return the run that is asked for, taken up if it exists; None if it is over."""
        project, repository, command = self._project, self._repository, request["command"]
        run = project.tag(request["tag"]).run(request["id"])
        if run.folder.exists():
            record, now = run_record.read(run), wait_for_end(run)
            if now in status.UNFINISHED:
                return resume_run(project, repository, run, record, command)[0]
            if now not in status.FINAL:
                raise lifecycle.Busy(f"{run} is {now}, as another process has it.")
            lifecycle.finalize(project, run, now)  # a kill after the record may have lost the rest of the end
            return None
        if ids.was_given(project.tag(run.tag), run.id):
            raise Refused(f"{run} has been removed, and no id is given twice.")
        record = run_record.new(request["tag"], request["commit"], request["seed"], request["threads"])
        return lifecycle.create(project, record, command, repository=repository, signals=signals, number=request["id"])

    def _start(self, waiting: fork.Waiting, is_ours: bool, program: Program) -> Training:
        """Start training warm, or cold where that would not be the same; then look after who searches."""
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
        """Tell whether a run has the packages that are imported here, and the threads that OpenMP reads only once."""
        return (record["threads"], record["versions"]) == (self._threads, self._versions)

    def _is_same(self, program: Program) -> bool:
        """Tell whether the program would find the modules that are imported here, and can have them."""
        path = program.environment.get("PYTHONPATH")
        return (
            psutil.Process().num_threads() == 1
            and (not path or all(map(os.path.isabs, path.split(os.pathsep))))
            and (self._blas is not None or _blas_threads(program.environment) == 1)
            and not _shadowed(program.file.parent)
        )

    def _prepare(self, program: Program) -> None:
        """Do in training what its imports would have done, and have others find what is compiled."""
        self._compiled.install()
        self._set_blas_threads(program.environment)

    def _set_blas_threads(self, environment: dict[str, str]) -> None:
        """Give numpy and scipy the threads that they would have taken at their import; here they have one."""
        if _blas_threads(environment) > 1:
            self._blas.limit(limits=_blas_threads(environment), user_api="blas")


def _blas() -> Any:
    """Return what sets the threads of BLAS, None without threadpoolctl; the variables that its import sets go again."""
    before = set(os.environ)
    with contextlib.suppress(ImportError):
        from threadpoolctl import ThreadpoolController

        for name in set(os.environ) - before:
            del os.environ[name]
        return ThreadpoolController()
    return None


def _blas_threads(environment: dict[str, str]) -> int:
    """Return how many threads OpenBLAS takes in an environment."""
    names = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
    wanted = [int(environment[name]) for name in names if environment.get(name, "").isdigit()]
    return min(next(number for number in wanted if number > 0), len(os.sched_getaffinity(0)))


def _shadowed(code: Path) -> set[str]:
    """Return the modules imported here in whose place the program would find its own."""
    names = {path.name.partition(".")[0] for path in code.iterdir()}
    return {name for name in names - {"exper"} if name in sys.modules}


def _watch(searching: int) -> None:
    """Ask this process to end when the one that searches is gone."""
    while os.read(searching, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _tell(report: int, content: dict[str, str]) -> None:
    with contextlib.suppress(OSError):  # nobody reads any more
        os.write(report, f"{json.dumps(content)}\n".encode())
