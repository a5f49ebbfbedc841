"""Jobs that train: the script that SLURM runs, and a queued run handed over with it."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from exper.core import files, host_info, paths, slurm
from exper.core.errors import Refused
from exper.runs import lifecycle, remove, run_record

_SCRIPT = """\
#!/bin/sh
# What SLURM runs. Two minutes before the time limit it sends SIGUSR1: training saves, and the job goes back into the
# queue. What training prints is in the run's own log.
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
EXPER_JOB=1 exec {command} >/dev/null
"""


def write_script(path: Path, project: paths.Project, command: Sequence[str], mode: int = 0o755) -> None:
    """Write a script that starts a command of this project, in this Python, in the place of its shell."""
    words = [sys.executable, "-I", str(project.code / "exper"), *command]
    files.replace(path, _SCRIPT.format(command=shlex.join(words)), mode)


def hand_over(project: paths.Project, live: lifecycle.LiveRun, flags: Sequence[str], cluster: str) -> slurm.Job:
    """Hand a queued run, and what is to train it, to SLURM; let go of it and return its job.

    Raises:
        Refused: SLURM does not take it; the run is as it was before, or gone if it is new.
    """
    run = live.run
    try:
        write_script(run.job_script, project, ["continue", str(run)])
        words = [f"--job-name={run.tag}.{run.id}", f"--output={escape_pattern(run.job_log)}", *flags]
        job = slurm.sbatch([*words, str(run.job_script)], cluster)
        run_record.write(run, run_record.give_job(live.record, job))
    except Refused:
        if live.previous is None:
            remove.remove_run(project, run)
        else:
            files.replace(run.record, live.previous)
        raise
    finally:
        os.close(live.lock)
    return job


def submit_search(
    project: paths.Project, tag: paths.Tag, command: Sequence[str], tasks: int, flags: Sequence[str]
) -> slurm.Job:
    """Submit a search as an array of jobs, which share what it knows; return the job.

    Raises:
        Refused: SLURM does not take it.
    """
    write_script(tag.job_script, project, command, 0o700)  # the URL of a database may hold a password
    output = f"--output={escape_pattern(tag.job_log.parent)}/{tag.job_log.name}"
    words = [f"--job-name={tag.name}", output, f"--array=0-{tasks - 1}", *flags]
    job = slurm.sbatch([*words, str(tag.job_script)], slurm.check_here())
    with files.open_to_append(tag.jobs) as file:
        file.write(f"{job['id']} {job['cluster']}\n".encode())
    return job


def of_search(tag: paths.Tag) -> list[slurm.Job]:
    """Return the jobs that a search was submitted as."""
    if not tag.jobs.exists():
        return []
    lines = [line.split(maxsplit=1) for line in tag.jobs.read_text().splitlines()]
    return [{"id": number, "cluster": cluster} for number, cluster in lines]


def state(job: slurm.Job) -> str | None:
    """Return what SLURM says of a job of ours; None if it does not answer."""
    return slurm.word(job, os.getuid(), 0.0)


def is_over(job: slurm.Job) -> bool:
    """Tell whether a job is gone for sure."""
    return state(job) == slurm.GONE


def escape_pattern(path: Path) -> str:
    """Return a path as sbatch takes it for output, where % begins a pattern."""
    return str(path).replace("%", "%%")


def describe(job: slurm.Job | None) -> str:
    """Return what names a job to a user."""
    return f"job {job['id']} of the cluster {job['cluster']!r}" if job else "a job that is being submitted"


def threads_from_flags(flags: Sequence[str]) -> int:
    """Return the threads of a run whose settings name none: the cores that sbatch's flags ask for, else SLURM's one."""
    found = 1
    for flag, following in zip(flags, [*flags[1:], ""], strict=False):
        name, _, value = flag.partition("=")
        if name in ("-c", "--cpus-per-task"):
            value = value or following
        elif flag.startswith("-c"):
            value = flag[2:]
        else:
            continue
        found = int(value) if value.isascii() and value.isdigit() else found
    return max(1, min(found, host_info.MAX_THREADS))


def split_flags(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the words of a command, and the flags of sbatch that follow `--`."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]
