"""A real SLURM of two nodes, both of them this host, with daemons of ours, as long as tests need it."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from exper.core import paths
from tests.support import manager
from tests.support.manager import wait_for

_DAEMONS = ("munged", "slurmctld", "slurmd -N one", "slurmd -N two")
_PATH = f"{os.environ['PATH']}:/usr/sbin"  # which an ordinary user may not have there
_IS_HERE = all(shutil.which(name.split()[0], path=_PATH) for name in (*_DAEMONS, "sbatch"))
needed = pytest.mark.skipif(not _IS_HERE, reason="slurm-wlm and munge are not installed: no job has been submitted")

_CONFIG = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket/s,cred_expire=5
CredType=cred/munge
SlurmctldPort={ports[0]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=10
SchedulerParameters=sched_interval=1,bf_interval=1
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 State=UNKNOWN
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextlib.contextmanager
def served() -> Iterator[dict[str, str]]:
    """Yield the environment variables with which SLURM's programs find two idle nodes of four cores."""
    folder = Path(tempfile.mkdtemp(prefix="exper-slurm-"))
    folder.chmod(0o755)
    try:
        environment = {"SLURM_CONF": str(_configure(folder)), "PATH": _PATH}
        for daemon in _DAEMONS:
            _start(daemon, folder, environment)
        wait_for(lambda: _said(environment, "sinfo", "--noheader", "--format=%T %D") == "idle 2")
        yield environment
    finally:
        for daemon in reversed(_DAEMONS):
            _stop(folder / f"{daemon.replace(' -N ', '.')}.pid")
        shutil.rmtree(folder, ignore_errors=True)


def _configure(folder: Path) -> Path:
    for name, mode in (
        ("munge", 0o700),
        ("munge.socket", 0o755),
        ("state", 0o755),
        ("spool.one", 0o755),
        ("spool.two", 0o755),
    ):
        (folder / name).mkdir(mode=mode)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    path = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    user = pwd.getpwuid(os.getuid()).pw_name
    path.write_text(_CONFIG.format(folder=folder, host=host, user=user, ports=[_free_port() for _ in range(3)]))
    return path


def _start(daemon: str, folder: Path, environment: dict[str, str]) -> None:
    words = daemon.split()
    if daemon == "munged":
        words += [
            f"--key-file={folder}/munge/key",
            f"--socket={folder}/munge.socket/s",
            f"--pid-file={folder}/munged.pid",
        ]
        words += [f"--log-file={folder}/munge/log", f"--seed-file={folder}/munge/seed", "--force"]
    with (folder / f"{daemon}.said").open("wb") as said:  # a pipe would stay open as long as the daemon
        subprocess.run(words, env=os.environ | environment, stdout=said, stderr=said, check=True, timeout=20)


def _stop(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
        pid = int(path.read_text())
        os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(AssertionError):
            wait_for(lambda: manager.is_gone(pid), seconds=10)
            return
        os.kill(pid, signal.SIGKILL)


def _said(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(words, env=os.environ | environment, capture_output=True, text=True, timeout=20)
    return done.stdout.strip()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# -- what tests do with it ---------------------------------------------------------------------------------------------


def job(project: paths.Project, run: str) -> str:
    """Return the id of a run's job."""
    return str(manager.record(project, run)["job"]["id"])


def tell(*words: str) -> str:
    """Run a program of SLURM and return what it says."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def state(number: str) -> str:
    """Return the state of a SLURM job."""
    words = tell("scontrol", "--oneliner", "show", "job", number).split()
    return next(word.partition("=")[2] for word in words if word.startswith("JobState="))


def notice(number: str) -> None:
    """Send a job the signal that it gets before its time limit."""
    tell("scancel", "--batch", "--signal=USR1", number)


def end(project: paths.Project, run: str, status: str = "finished", seconds: float = 60) -> None:
    """Wait until a run has a status; say what it and its job have said if it does not get there."""
    at = manager.the_run(project, run)
    try:
        wait_for(lambda: manager.state(project, run) == status, seconds)
    except AssertionError:
        said = [path.read_text() for path in (at.log, at.job_log) if path.exists()]
        raise AssertionError("\n".join([f"{run} is {manager.state(project, run)}", *said])) from None


def all_over() -> None:
    """Cancel what is left in the queue, and wait until the node is free again."""
    tell("scancel", "--state=PENDING", f"--user={os.getuid()}")
    tell("scancel", f"--user={os.getuid()}")
    wait_for(lambda: not tell("squeue", "--noheader"), seconds=40)
