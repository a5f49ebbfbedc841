"""Jobs that train: the script that SLURM runs, and the submission of a queued run or a search."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from exper.core import files, host_info, paths, slurm
from exper.core.errors import Refused
from exper.runs import lifecycle, run_record

_SCRIPT = """\
#!/bin/sh
# SLURM runs this script. Two minutes before the time limit it sends SIGUSR1: training saves, and the job goes back into
# the queue. Training prints into the run's own log.
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
EXPER_JOB=1 exec {command} >/dev/null
"""


class Words(NamedTuple):
    """The arguments of a command, and the flags of sbatch after `--`."""

    arguments: list[str]
    flags: list[str]


def write_script(path: Path, project: paths.Project, command: Sequence[str], mode: int = 0o755) -> None:
    """Write a script that replaces its shell by a command of this project, in this Python."""
    words = [sys.executable, "-I", str(project.code / "exper"), *command]
    files.replace(path, _SCRIPT.format(command=shlex.join(words)), mode)


def hand_over(project: paths.Project, live: lifecycle.LiveRun, flags: Sequence[str], cluster: str) -> slurm.Job:
    """Submit a queued run to SLURM, and release its lock; return its job.

    Raises:
        Refused: SLURM rejects it; the run is as before, or removed if it is new.
    """
    run = live.run
    try:
        write_script(run.job_script, project, ["continue", str(run)])
        words = [f"--job-name={run.tag}.{run.id}", f"--output={escape_pattern(run.job_log)}", *flags]
        job = slurm.sbatch([*words, str(run.job_script)], cluster)
        run_record.write(run, run_record.give_job(live.record, job))
    except Refused:
        lifecycle.undo_session(project, live)
        raise
    finally:
        os.close(live.lock)
    return job


def submit_search(
    project: paths.Project, tag: paths.Tag, command: Sequence[str], tasks: int, flags: Sequence[str]
) -> slurm.Job:
    """Submit a search as an array of jobs that share its journal; return the job.

    Raises:
        Refused: SLURM rejects it.
    """
    write_script(tag.job_script, project, command, 0o700)  # the URL of a database may hold a password
    output = f"--output={escape_pattern(tag.job_log.parent)}/{tag.job_log.name}"
    words = [f"--job-name={tag.name}", output, f"--array=0-{tasks - 1}", *flags]
    job = slurm.sbatch([*words, str(tag.job_script)], slurm.check_here())
    with files.open_to_append(tag.jobs) as file:
        file.write(f"{job['id']} {job['cluster']}\n".encode())
    return job


def of_search(tag: paths.Tag) -> list[slurm.Job]:
    """Return the jobs of a search that was submitted."""
    if not tag.jobs.exists():
        return []
    lines = [line.split(maxsplit=1) for line in tag.jobs.read_text().splitlines()]
    return [{"id": number, "cluster": cluster} for number, cluster in lines]


def state(job: slurm.Job) -> str | None:
    """Return the state that SLURM reports for a job of this user; None if it does not answer."""
    return slurm.state(job, os.getuid(), 0.0)


def is_over(job: slurm.Job) -> bool:
    """Tell whether SLURM confirms that a job is gone."""
    return state(job) == slurm.GONE


def escape_pattern(path: Path) -> str:
    """Escape a path for sbatch's --output, where % begins a pattern."""
    return str(path).replace("%", "%%")


def describe(job: slurm.Job | None) -> str:
    """Return the name of a job for a message."""
    return f"job {job['id']} of the cluster {job['cluster']!r}" if job else "a job that is being submitted"


def threads_from_flags(flags: Sequence[str]) -> int:
    """Return the thread count for a run without the setting: the cores in sbatch's flags, else SLURM's default of 1."""
    threads = 1
    for flag, following in zip(flags, [*flags[1:], ""], strict=False):
        name, _, value = flag.partition("=")
        if name in ("-c", "--cpus-per-task"):
            value = value or following
        elif flag.startswith("-c"):
            value = flag[2:]
        else:
            continue
        threads = int(value) if value.isascii() and value.isdigit() else threads
    return max(1, min(threads, host_info.MAX_THREADS))


def split_flags(words: list[str]) -> Words:
    """Split the words of a command line at `--`."""
    at = words.index("--") if "--" in words else len(words)
    return Words(words[:at], words[at + 1 :])
