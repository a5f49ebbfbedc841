"""The only module that calls SLURM: it submits, cancels and requeues jobs, and asks for their states.

A job's id is unique only within its cluster, so both are recorded. Each call has a timeout: a controller that is down
must not block a list of runs.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from exper.core.errors import Refused

WAITING = "waiting"
RUNNING = "running"
GONE = "gone"
Job = dict[str, Any]  # as it is recorded: id, cluster
_MARK = "EXPER_JOB"  # set only in the scripts of our jobs and on their further nodes
_PORT = "EXPER_MEETING"  # the port of the first node to which the further nodes connect
_SECONDS = 5.0  # the timeout of a question
_COMMAND_SECONDS = 60.0  # the timeout of a change; sbatch itself retries for a while
_FRESH_SECONDS = 2.0
_STATES = {  # of a job that squeue lists; in any other state it waits: held, requeued, ...
    **dict.fromkeys(("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING", "COMPLETING"), RUNNING)
}


# -- submitting and cancelling -----------------------------------------------------------------------------------------


def check_here() -> str:
    """Return the cluster that this host submits jobs to.

    Raises:
        Refused: there is none, or it does not answer.
    """
    if shutil.which("sbatch") is None:
        raise Refused("there is no sbatch here. Type it on a host of a SLURM cluster that sees this folder.")
    cluster = _cluster()
    if cluster is None:
        raise Refused("SLURM does not answer. Try: sinfo")
    return cluster


def sbatch(words: Sequence[str], cluster: str) -> Job:
    """Submit a script, after its options in `words`; return the job.

    Raises:
        Refused: SLURM does not accept it.
    """
    done = _call("sbatch", "--parsable", *words)
    if done.returncode != 0:
        raise Refused(f"SLURM does not accept the job: {_error(done)}")
    number, _, elsewhere = done.stdout.strip().partition(";")
    return {"id": number, "cluster": elsewhere or cluster}


def cancel(job: Job) -> None:
    """Cancel a waiting or running job.

    Raises:
        Refused: SLURM does not cancel it.
    """
    done = _call("scancel", str(job["id"]))
    if done.returncode != 0 and "Invalid job id" not in done.stderr:
        raise Refused(f"SLURM does not cancel job {job['id']}: {_error(done)}")


def _error(done: "subprocess.CompletedProcess[str]") -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit code {done.returncode}"


# -- within a job of ours ----------------------------------------------------------------------------------------------


def this_job() -> str | None:
    """Return the id of the job that this process runs in, if a script of ours started it; else None."""
    return os.environ.get("SLURM_JOB_ID") if _MARK in os.environ else None


def restarts() -> int:
    """Return the number of times SLURM has restarted this job."""
    return int(os.environ.get("SLURM_RESTART_COUNT") or 0)


def this_life() -> Job | None:
    """Return this job with its number of restarts, which tells its lives apart; None outside our jobs."""
    cluster = os.environ.get("SLURM_CLUSTER_NAME")
    return None if this_job() is None else {"id": this_job(), "cluster": cluster, "restarts": restarts()}


def is_ours(job: Job | None) -> bool:
    """Tell whether this process runs in that job."""
    return job is not None and str(job.get("id")) == this_job()


def is_to_come_back(number: int) -> bool:
    """Tell whether this job, ended by the signal `number`, will run again.

    It will after the notice before its time limit, unless the user has forbidden it: call `requeue` next. After another
    signal it will if SLURM has requeued it, for a more urgent job or because of a node that goes down.
    """
    if this_job() is None:
        return False
    fields = _this_jobs_fields()
    return _is_requeued(fields) or (number == signal.SIGUSR1 and fields.get("Requeue") != "0")


def requeue() -> str | None:
    """Requeue this job unless SLURM has done so; return SLURM's error, if any.

    Call it last: SLURM then ends all processes of the job, perhaps scontrol itself before it can report success.
    """
    if _is_requeued(_this_jobs_fields()):
        return None
    done = _call("scontrol", "requeue", str(this_job()))
    return None if done.returncode <= 0 else _error(done)


def _this_jobs_fields() -> dict[str, str]:
    done = _call("scontrol", "--oneliner", "show", "job", str(this_job()), seconds=_SECONDS)
    fields = (word.partition("=") for word in done.stdout.split())
    return {name: value for name, _, value in fields}


def _is_requeued(fields: dict[str, str]) -> bool:
    return fields.get("Restarts", str(restarts())) != str(restarts())


# -- the nodes of a job of ours ----------------------------------------------------------------------------------------


def nodes(job: Job | None) -> int:
    """Return the number of nodes that train a run: those of its job if this process runs in it, else 1."""
    if is_further_node(job):
        return number_and_nodes()[1]
    is_here = job is not None and str(job["id"]) == os.environ.get("SLURM_JOB_ID")
    return int(os.environ.get("SLURM_JOB_NUM_NODES") or 1) if is_here else 1


def on_other_nodes(job_nodes: int, command: Sequence[str]) -> list[str]:
    """Return the command line that starts a command on each node of this job except the first, which is this one."""
    others = job_nodes - 1
    words = ["srun", f"--nodes={others}", f"--ntasks={others}", "--ntasks-per-node=1", "--relative=1", "--export=ALL"]
    if cores := os.environ.get("SLURM_CPUS_PER_TASK"):  # srun does not inherit it from sbatch
        words.append(f"--cpus-per-task={cores}")
    return [*words, "--kill-on-bad-exit=1", "--unbuffered", "--quiet", *command]


def further_node_environment(port: int) -> dict[str, str]:
    """Return the variables that mark a process as a further node, with the port on which the first node listens."""
    return {_MARK: "1", _PORT: str(port)}


def is_further_node(job: Job | None) -> bool:
    """Tell whether this process was started on a further node of a run's job, by the first node."""
    return _PORT in os.environ and is_ours(job)


def number_and_nodes() -> tuple[int, int]:
    """Return this further node's number and the number of nodes of the job."""
    return int(os.environ["SLURM_PROCID"]) + 1, int(os.environ["SLURM_STEP_NUM_TASKS"]) + 1


def first_node() -> tuple[str, int]:
    """Return the first node's address, and the port on which it listens for further nodes."""
    return os.environ["SLURM_LAUNCH_NODE_IPADDR"], int(os.environ[_PORT])


# -- states of jobs ----------------------------------------------------------------------------------------------------


class _Answer:
    """An answer of squeue: the states of a user's jobs by id, None if SLURM did not answer."""

    def __init__(self, owner: int) -> None:
        self.asked = time.time()
        self.at = time.monotonic()
        self.cluster = _cluster()
        self.jobs = None if self.cluster is None else _jobs(owner)


_answers: dict[int, _Answer] = {}


def state(job: Job, owner: int, recorded: float) -> str | None:
    """Return "waiting", "running" or "gone"; None if SLURM does not answer for the job's cluster.

    One call of squeue answers for all jobs of a user, for two seconds.

    Args:
        job: the job as recorded.
        owner: the user id that submitted it; some clusters hide the jobs of other users.
        recorded: when the job was recorded, in seconds since the epoch.
    """
    answer = _answers.get(owner)
    if answer is None or recorded > answer.asked or time.monotonic() - answer.at > _FRESH_SECONDS:
        answer = _answers[owner] = _Answer(owner)
    if answer.jobs is None or answer.cluster != job.get("cluster"):
        return None
    if job["id"] not in answer.jobs and os.getuid() not in (0, owner):
        return None
    return answer.jobs.get(job["id"], GONE)


def is_over(life: Job) -> bool:
    """Tell whether a life of a job is certainly over: it is an earlier life of this job, or the job is gone."""
    if is_ours(life):
        return bool(life["restarts"] < restarts())
    return state(life, os.getuid(), 0.0) == GONE


def forget_answers() -> None:
    """Make the next question call squeue again."""
    _answers.clear()


def _jobs(owner: int) -> dict[str, str] | None:
    done = _call("squeue", "--noheader", f"--user={owner}", "--format=%A %F %T", seconds=_SECONDS)
    if done.returncode != 0:
        return None
    states: dict[str, str] = {}
    for line in done.stdout.splitlines():
        number, array, shown = line.split()
        for name in (array, number):  # an array runs as long as one of its tasks
            if states.get(name) != RUNNING:
                states[name] = _STATES.get(shown, WAITING)
    return states


def _cluster() -> str | None:
    done = _call("scontrol", "show", "config", seconds=_SECONDS)
    lines = [line.partition("=") for line in done.stdout.splitlines() if line.startswith("ClusterName ")]
    return lines[0][2].strip() if lines and done.returncode == 0 else None


def _call(*words: str, seconds: float = _COMMAND_SECONDS) -> "subprocess.CompletedProcess[str]":
    """Run a SLURM command in a session of its own, which Ctrl-C does not reach."""
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
