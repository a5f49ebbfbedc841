"""Tag as `run` does, and train in a SLURM job. The run is queued at once.

Two minutes before the job's time limit, training saves, the job goes back into the queue, and the same run continues
later; so it does after a preemption or a node failure. Flags of sbatch follow `--` and override Exper's own. If
config.py does not set `threads`, the run has the number that --cpus-per-task asks for, else 1.

Examples:
    exper submit baseline -f -- --time 4:00:00 --gres gpu:1
    exper submit small model.dropout=0.5 -- --partition short --cpus-per-task 4
    exper submit --continue baseline/0 -- --time 8:00:00
    exper search wide --submit 4           a search, as four tasks of a job array
"""

import argparse

from exper.core import slurm
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import say
from exper.core.paths import Project
from exper.core.signals import Signals
from exper.repository.repository import Repository
from exper.runs import create, jobs, lifecycle, run_record, tags
from exper.runs.resume import choose_run, resume_run, wait_for_end


def submit(arguments: list[str], project: Project) -> int:
    """Create a queued run, or resume one, and submit it to SLURM."""
    words, flags = jobs.split_flags(arguments)
    if "--continue" in words:
        return _continue(project, _parse_continue(words), flags)
    options = _parser().parse_intermixed_args(words)
    cluster = slurm.check_here()
    command = create.recorded_command("submit", options)
    threads = jobs.threads_from_flags(flags)
    with create.first_run(project, options, command, status="queued", threads=threads) as first:
        _hand_over(project, first.live, flags, cluster)
    return 0


def _parser() -> Parser:
    parser = Parser("exper submit", __doc__)
    parser.add_argument("tag", help="the name of the experiment, a new git tag; with --continue a tag or tag/id")
    tags.add_arguments(parser)
    parser.add_argument("--continue", action="store_true", help="continue a run that has not finished, in a new job")
    return parser


def _parse_continue(words: list[str]) -> argparse.Namespace:
    parser = Parser("exper submit", __doc__)
    parser.add_argument("run", metavar="tag[/id]", help="the run to continue")
    parser.add_argument("--continue", action="store_true")
    parser.add_argument("--exact", action="store_true", help="refuse if bits may differ")
    return parser.parse_args(words)


def _continue(project: Project, options: argparse.Namespace, flags: list[str]) -> int:
    cluster = slurm.check_here()
    run = choose_run(project, options.run)
    record = run_record.read(run)
    if wait_for_end(run) == "finished":
        raise Refused(f"{run} has finished already. To train it again, type: rerun {run} -f")
    command = ["submit", "--continue", str(run)]
    with Signals():
        repository = Repository(project.root)
        resumed = resume_run(project, repository, run, record, command, exact=options.exact, status="queued")
        _hand_over(project, resumed.live, flags, cluster)
    return 0


def _hand_over(project: Project, live: lifecycle.LiveRun, flags: list[str], cluster: str) -> None:
    say(lifecycle.version_warnings(live.record).rstrip())
    job = jobs.hand_over(project, live, flags, cluster)
    numbers = f"seed {live.record['seed']} and {live.record['threads']} threads"
    say(f"submit: {live.run} is queued with {numbers}, as {jobs.describe(job)}")
