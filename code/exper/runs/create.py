"""The first run of a tag, from the committed code and the changes that -m saves: for `run` and `submit`."""

import argparse
import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from exper.config import config_file
from exper.config.config_file import Value
from exper.core.errors import Refused
from exper.core.paths import Project
from exper.core.signals import Signals
from exper.repository.objects import TagObject
from exper.repository.repository import Repository
from exper.runs import commits, lifecycle, remove, run_record, tags


class FirstRun(NamedTuple):
    """A run that has just been created, its settings, and the stop signals that are noted meanwhile."""

    live: lifecycle.LiveRun
    config: dict[str, Value]
    signals: Signals


class _Plan(NamedTuple):
    existing: TagObject | None  # the tag, if it exists already
    config: dict[str, Value]
    record: run_record.Record


@contextlib.contextmanager
def first_run(
    project: Project,
    options: argparse.Namespace,
    command: list[str],
    *,
    status: str = "running",
    threads: int | None = None,
) -> Iterator[FirstRun]:
    """Make the tag, and yield its run 0; a new tag is deleted again if the block fails and leaves no run.

    An existing tag is used if it holds the same code and has no run. `threads` is the thread count if neither
    config.py nor the tag has one.

    Raises:
        Refused: nothing has changed.
    """
    tags.check_new(options.tag)
    settings = dict(map(config_file.parse_change, options.settings))
    repository = Repository(project.root)
    tags.check_free(repository, options.tag)
    uncommitted = commits.uncommitted_changes(project, repository, options)
    with Signals() as signals:
        commit = commits.create(repository, uncommitted, settings, options)
        plan = _plan(project, repository, options, commit, threads)
        lifecycle.check_writable(project)
        signals.check()
        with _tagged(project, repository, options, plan):
            live = lifecycle.create(
                project, plan.record, command, repository=repository, signals=signals, is_first=True, status=status
            )
            yield FirstRun(live, plan.config, signals)


def recorded_command(name: str, options: argparse.Namespace) -> list[str]:
    """Return the command as it is recorded: its known arguments, and no other word that the user typed."""
    return [name, options.tag, *(["-f"] if options.fixed else []), *options.settings]


def _plan(
    project: Project, repository: Repository, options: argparse.Namespace, commit: str, threads: int | None
) -> _Plan:
    """Return the record of the run to create, after every check of its tag and its commit."""
    existing = repository.tag(options.tag)
    if existing is not None:
        _check_existing(project, repository, existing, commit)
        commit = existing.commit
    config = commits.read_config(repository, commit)
    seed = _seed(repository, commit, existing, fixed=options.fixed)
    tagged_threads = existing and tags.trailer_number(existing, "Exper-Threads")
    threads = tagged_threads or run_record.thread_count(config, threads)
    return _Plan(existing, config, run_record.new(options.tag, commit, seed, threads))


@contextlib.contextmanager
def _tagged(project: Project, repository: Repository, options: argparse.Namespace, plan: _Plan) -> Iterator[None]:
    """Make the tag, if it does not exist; delete it again if the block fails."""
    record = plan.record
    tag = plan.existing or tags.create(repository, options, record["commit"], record["seed"], record["threads"])
    try:
        yield
    except BaseException:
        if plan.existing is None:
            remove.undo_tag(project, repository, tag)
        raise


def _check_existing(project: Project, repository: Repository, tag: TagObject, commit: str) -> None:
    """Refuse a tag that has runs, or holds other code than `commit`."""
    lifecycle.check_has_no_runs(project.tag(tag.name))
    if repository.tree(tag.commit) != repository.tree(commit):
        raise Refused(
            f"the tag {tag.name!r} holds other code than you have now. Choose another tag,"
            f" or remove that one: exper rm {tag.name} --tag"
        )


def _seed(repository: Repository, commit: str, tag: TagObject | None, *, fixed: bool) -> int:
    """Return the seed in the tag's message; else with -f the one in code/seed; else a fresh one."""
    recorded = tags.trailer_number(tag, "Exper-Seed") if tag else None
    committed = commits.fixed_seed(repository, commit) if fixed else None
    if recorded is None:
        return run_record.fresh_seed() if committed is None else committed
    if committed not in (None, recorded):
        raise Refused(
            f"the tag records the seed {recorded}, code/seed has {committed}. Leave out -f,"
            f" or remove the tag: exper rm {tag.name if tag else ''} --tag"
        )
    return recorded
