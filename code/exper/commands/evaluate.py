"""Evaluate a checkpoint of a run on its test split, with the code and config of its tag.

The results replace `test` in statistic.json; everything else there, and the run's status, stay as they are. The run's
folder gets evaluate/epoch_<n>/ with predictions.csv and, for a classification, confusion.png.

Examples:
    exper evaluate baseline/0
    exper evaluate baseline/0 --epoch last
    exper evaluate shapes/0 --epoch 7 --pictures 10    every tenth image with its mask and the prediction
"""

import contextlib
import os
from collections.abc import Iterator

from exper.core import lock, paths
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import say
from exper.core.signals import Signals
from exper.repository.repository import Repository
from exper.runs import commits, lifecycle, run_record, select, snapshot, staging, status, supervisor, tags

_PROGRAM = "evaluate.py"


def evaluate(arguments: list[str], project: paths.Project) -> int:
    """Lock the run, restore its code and evaluate."""
    options = _parser().parse_args(arguments)
    _check(options.epoch, options.pictures)
    run = select.single_run(project, options.run)
    repository = Repository(project.root)
    commit = select.commit_of(repository, run, run_record.read(run))
    commits.read_config(repository, commit)
    if repository.file(commit, f"code/{_PROGRAM}") is None:
        raise Refused(f"the code of {run} has no code/{_PROGRAM}, so it can't be evaluated without training.")
    needed = commits.requirements(repository, commit)
    program = [_PROGRAM, "--epoch", options.epoch]
    program += ["--pictures", options.pictures] if options.pictures else []
    with Signals() as signals, _held(run) as held:
        record = run_record.read(run)
        different = run_record.different_versions(record.get("versions", {}), needed, exact=False)
        now = run_record.begin(record | {"different": different}, ["exper", "evaluate", *arguments])
        with _code(project, run, commit, repository):
            signals.check()
            lifecycle.write_session_header(run, now, "evaluation")
            say(lifecycle.version_warnings(now).rstrip())
            environment = supervisor.environment(run, project.data, now)
            code = project.tag(run.tag).snapshot
            returncode = supervisor.Supervisor(
                run, code, environment, held, signals, program=tuple(program)
            ).supervise()
    return _end(run, returncode, signals)


def _parser() -> Parser:
    parser = Parser("exper evaluate", __doc__)
    parser.add_argument("run", metavar="tag/id", help="the run; its tag alone if that has one run")
    parser.add_argument("--epoch", metavar="n", default="best", help="the epoch: best (default), last or a number")
    parser.add_argument("--pictures", metavar="n", help="for segmentation: draw every n-th image")
    return parser


def _check(epoch: str, pictures: str | None) -> None:
    if epoch not in ("best", "last") and tags.whole_number(epoch) is None:
        raise Refused(f"--epoch {epoch!r}: write best, last or the number of an epoch.")
    if pictures is not None and not tags.whole_number(pictures):
        raise Refused(f"--pictures {pictures!r}: write a whole number, 1 for every image.")


@contextlib.contextmanager
def _held(run: paths.Run) -> Iterator[int]:
    """Hold a run's lock, so that no other process trains, evaluates or removes it.

    Raises:
        Refused: another process works on it.
    """
    is_busy = status.read(run) in status.ACTIVE
    held = None if is_busy else lock.take(run.lock, wait_seconds=2.0)
    if held is None:
        raise Refused(f"{run} is being worked on by another process. Wait until it ends, or end it.")
    try:
        record = run_record.read(run)
        if record["status"] == "running":  # it died, and would look alive while we hold its lock
            run_record.write(run, run_record.mark_died(record))
        run.refused.unlink(missing_ok=True)
        yield held
    finally:
        os.close(held)


@contextlib.contextmanager
def _code(project: paths.Project, run: paths.Run, commit: str, repository: Repository) -> Iterator[None]:
    """Keep the tag's snapshot while the block runs; since we hold the run's lock, no other process releases it."""
    tag = project.tag(run.tag)
    is_there = False
    with staging.new(project, tag) as (folder, _):
        while not is_there:  # a run that was ending may not have seen our lock yet
            snapshot.prepare(project, tag, commit, repository, folder, ours=run)
            with lock.held(project.lock):
                is_there = tag.snapshot.is_dir()
    try:
        yield
    finally:
        snapshot.release(project, tag, ours=run)


def _end(run: paths.Run, returncode: int, signals: Signals) -> int:
    if returncode == 2 and run.refused.exists():
        text = run.refused.read_text(errors="replace").strip()
        run.refused.unlink()
        raise Refused(text)
    how = lifecycle.outcome(returncode)
    if how == "interrupted":
        stopped = lifecycle.interruption(returncode, signals)
        say(f"exper: the evaluation of {run} was {stopped}")
        raise stopped
    folder = paths.from_here(run.folder)
    if how == "finished":
        say(f"exper: {run} is evaluated: {folder}/evaluate/")
        return 0
    say(f"exper: the evaluation of {run} failed: {folder}/log")
    return 1
