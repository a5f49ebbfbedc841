"""The only file that calls SLURM: what it says of jobs, and what we ask of it.

A job's id means something only within its cluster, so that both are recorded. Every question is bounded in time: a
controller that is down must not hold up a list of runs.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from exper.core.errors import Refused

WAITING, RUNNING, GONE = "waiting", "running", "gone"
Job = dict[str, Any]  # as it is recorded: id, cluster
_MARK = "EXPER_JOB"  # set in the scripts of our jobs, and on their further nodes, alone
_PORT = "EXPER_MEETING"  # on the first node, where a further one of its job finds it
_SECONDS = 5.0  # for an answer about all jobs
_COMMAND_SECONDS = 60.0  # for one that changes something; sbatch itself asks again for a while
_FRESH_SECONDS = 2.0
_STATES = {  # of a job that squeue still shows; any other one waits: held, requeued, ...
    **dict.fromkeys(("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING", "COMPLETING"), RUNNING)
}


# -- before and around a job -------------------------------------------------------------------------------------------


def check_here() -> str:
    """Return the cluster that jobs go to from here.

    Raises:
        Refused: there is none, or it does not answer.
    """
    if shutil.which("sbatch") is None:
        raise Refused("there is no sbatch here. Type it on a host of a SLURM cluster that sees this folder.")
    found = _cluster()
    if found is None:
        raise Refused("SLURM does not answer. Try: sinfo")
    return found


def sbatch(words: Sequence[str], cluster: str) -> Job:
    """Hand a script to SLURM, with options before it; return the job.

    Raises:
        Refused: SLURM does not take it.
    """
    done = _call("sbatch", "--parsable", *words)
    if done.returncode != 0:
        raise Refused(f"SLURM does not take the job: {_said(done)}")
    number, _, elsewhere = done.stdout.strip().partition(";")
    return {"id": number, "cluster": elsewhere or cluster}


def cancel(job: Job) -> None:
    """End a job, waiting or running.

    Raises:
        Refused: SLURM does not do it.
    """
    done = _call("scancel", str(job["id"]))
    if done.returncode != 0 and "Invalid job id" not in done.stderr:
        raise Refused(f"SLURM does not cancel job {job['id']}: {_said(done)}")


def _said(done: "subprocess.CompletedProcess[str]") -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit code {done.returncode}"


# -- within a job of ours ----------------------------------------------------------------------------------------------


def this_job() -> str | None:
    """Return the id of the job that this process is, if a script of ours has started it; else None."""
    return os.environ.get("SLURM_JOB_ID") if _MARK in os.environ else None


def restarts() -> int:
    """Return how often SLURM has started this job anew."""
    return int(os.environ.get("SLURM_RESTART_COUNT") or 0)


def this_life() -> Job | None:
    """Return what names this job, and of its lives this one; None outside of our jobs."""
    cluster = os.environ.get("SLURM_CLUSTER_NAME")
    return None if this_job() is None else {"id": this_job(), "cluster": cluster, "restarts": restarts()}


def is_ours(job: Job | None) -> bool:
    """Tell whether this process is that job."""
    return job is not None and str(job.get("id")) == this_job()


def is_to_come_back(number: int) -> bool:
    """Tell whether this job, which a signal has ended, goes on later.

    It does after the notice that its time is nearly over, unless the user has forbidden it: `requeue` is the next thing
    to call. After another signal it does if SLURM has put it back into the queue, for a job that is more urgent or a
    node that goes down.
    """
    if this_job() is None:
        return False
    said = _about_this_job()
    return _is_back(said) or (number == signal.SIGUSR1 and said.get("Requeue") != "0")


def requeue() -> str | None:
    """Put this job back into the queue, unless SLURM has done so; return what SLURM says against it, if anything.

    To be called last: SLURM then ends all processes of the job, maybe scontrol before it can say that all is well.
    """
    if _is_back(_about_this_job()):
        return None
    done = _call("scontrol", "requeue", str(this_job()))
    return None if done.returncode <= 0 else _said(done)


def _about_this_job() -> dict[str, str]:
    done = _call("scontrol", "--oneliner", "show", "job", str(this_job()), seconds=_SECONDS)
    fields = (word.partition("=") for word in done.stdout.split())
    return {name: value for name, _, value in fields}


def _is_back(said: dict[str, str]) -> bool:
    return said.get("Restarts", str(restarts())) != str(restarts())


# -- the nodes of a job of ours ----------------------------------------------------------------------------------------


def nodes(job: Job | None) -> int:
    """Return how many nodes train a run: those of its job, if this process is in it."""
    if is_further_node(job):
        return number_and_nodes()[1]
    is_here = job is not None and str(job["id"]) == os.environ.get("SLURM_JOB_ID")
    return int(os.environ.get("SLURM_JOB_NUM_NODES") or 1) if is_here else 1


def on_other_nodes(job_nodes: int, command: Sequence[str]) -> list[str]:
    """Return what starts a command on each node of this job but the first, which is this one."""
    others = job_nodes - 1
    words = ["srun", f"--nodes={others}", f"--ntasks={others}", "--ntasks-per-node=1", "--relative=1", "--export=ALL"]
    if cores := os.environ.get("SLURM_CPUS_PER_TASK"):  # which srun does not take over from sbatch
        words.append(f"--cpus-per-task={cores}")
    return [*words, "--kill-on-bad-exit=1", "--unbuffered", "--quiet", *command]


def to_find_the_first(port: int) -> dict[str, str]:
    """Return the environment of a further node: it makes the process one, and tells where the first one listens."""
    return {_MARK: "1", _PORT: str(port)}


def is_further_node(job: Job | None) -> bool:
    """Tell whether this process is on a further node of a run's job, started there by the first one."""
    return _PORT in os.environ and is_ours(job)


def number_and_nodes() -> tuple[int, int]:
    """Return a further node's number among all of the job, and how many these are."""
    return int(os.environ["SLURM_PROCID"]) + 1, int(os.environ["SLURM_STEP_NUM_TASKS"]) + 1


def first_node() -> tuple[str, int]:
    """Return where a further node finds the first one: its address, and the port on which it listens."""
    return os.environ["SLURM_LAUNCH_NODE_IPADDR"], int(os.environ[_PORT])


# -- what SLURM says of jobs -------------------------------------------------------------------------------------------


class _Answer:
    """What squeue has said: the jobs of a user by id, or nothing if it could not be asked."""

    def __init__(self, owner: int) -> None:
        self.asked, self.at = time.time(), time.monotonic()
        self.cluster = _cluster()
        self.jobs = None if self.cluster is None else _jobs(owner)


_answers: dict[int, _Answer] = {}


def word(job: Job, owner: int, recorded: float) -> str | None:
    """Return "waiting", "running" or "gone"; None if SLURM can't be asked here.

    One call of squeue answers for all jobs of a user, for a moment.

    Args:
        job: as it is recorded.
        owner: who has submitted it; of others' jobs not every cluster tells.
        recorded: when that was written, seconds since the epoch.
    """
    known = _answers.get(owner)
    if known is None or recorded > known.asked or time.monotonic() - known.at > _FRESH_SECONDS:
        known = _answers[owner] = _Answer(owner)
    if known.jobs is None or known.cluster != job.get("cluster"):
        return None
    if job["id"] not in known.jobs and os.getuid() not in (0, owner):
        return None
    return known.jobs.get(job["id"], GONE)


def is_over(life: Job) -> bool:
    """Tell whether a life of a job is over for sure: an earlier one of this job, or of one that is gone."""
    if is_ours(life):
        return bool(life["restarts"] < restarts())
    return word(life, os.getuid(), 0.0) == GONE


def forget_answers() -> None:
    """Have the next question asked anew."""
    _answers.clear()


def _jobs(owner: int) -> dict[str, str] | None:
    done = _call("squeue", "--noheader", f"--user={owner}", "--format=%A %F %T", seconds=_SECONDS)
    if done.returncode != 0:
        return None
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        number, array, state = line.split()
        for name in (array, number):  # an array lives as long as one of its tasks
            if found.get(name) != RUNNING:
                found[name] = _STATES.get(state, WAITING)
    return found


def _cluster() -> str | None:
    done = _call("scontrol", "show", "config", seconds=_SECONDS)
    lines = [line.partition("=") for line in done.stdout.splitlines() if line.startswith("ClusterName ")]
    return lines[0][2].strip() if lines and done.returncode == 0 else None


def _call(*words: str, seconds: float = _COMMAND_SECONDS) -> "subprocess.CompletedProcess[str]":
    """Run a program of SLURM in a session of its own, where Ctrl-C does not reach it."""
    environment = os.environ | {"LC_ALL": "C"}
    try:
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env=environment,
            start_new_session=True,
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(words, 127, "", f"there is no {words[0]} here")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, "", f"{words[0]} has not answered for {seconds:.0f} s")
