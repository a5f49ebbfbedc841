"""The first run of a tag, of what is committed now or of what -m saves: for `run` and `submit`."""

import argparse
import contextlib
from collections.abc import Iterator

from exper.config import config_file
from exper.config.config_file import Value
from exper.core.errors import Refused
from exper.core.paths import Project
from exper.core.signals import Signals
from exper.repository.repository import Repository, TagObject
from exper.runs import commits, lifecycle, remove, run_record, tags


@contextlib.contextmanager
def first_run(
    project: Project,
    options: argparse.Namespace,
    command: list[str],
    *,
    status: str = "running",
    threads: int | None = None,
) -> Iterator[tuple[lifecycle.LiveRun, dict[str, Value], Signals]]:
    """Tag, and yield run 0 of the tag, its settings, and the signals that are noted until the end of the block.

    An existing tag is used if it holds the same code and has no run. A new one is taken back if the block fails and
    leaves no run. `threads` are those of a config.py and a tag that say nothing of them.

    Raises:
        Refused: nothing has changed.
    """
    tags.check_new(options.tag)
    changes = dict(map(config_file.parse_change, options.settings))
    repository = Repository(project.root)
    tags.check_free(repository, options.tag)
    changed = commits.uncommitted_changes(project, repository, options)
    with Signals() as signals:
        commit = commits.create(repository, changed, changes, options)
        known = repository.tag(options.tag)
        if known is not None:
            _check_known(project, repository, known, commit)
            commit = known.commit
        config = commits.read_config(repository, commit)
        seed = _seed(repository, commit, known, fixed=options.fixed)
        threads = (known and tags.trailer_number(known, "Exper-Threads")) or run_record.thread_count(config, threads)
        record = run_record.new(options.tag, commit, seed, threads)
        lifecycle.check_writable(project)
        signals.check()
        tag = known or tags.create(repository, options, commit, seed, threads)
        try:
            yield (
                lifecycle.create(
                    project, record, command, repository=repository, signals=signals, is_first=True, status=status
                ),
                config,
                signals,
            )
        except BaseException:
            if known is None:
                remove.undo_tag(project, repository, tag)
            raise


def recorded_command(name: str, options: argparse.Namespace) -> list[str]:
    """Return the command as it is recorded: the parts we know, and no other word of the user's."""
    return [name, options.tag, *(["-f"] if options.fixed else []), *options.settings]


def _check_known(project: Project, repository: Repository, known: TagObject, commit: str) -> None:
    """Refuse a tag that has runs, or holds other code."""
    lifecycle.check_has_no_runs(project.tag(known.name))
    if repository.tree(known.commit) != repository.tree(commit):
        raise Refused(
            f"the tag {known.name!r} holds other code than you have now. Take another tag,"
            f" or remove that one: exper rm {known.name} --tag"
        )


def _seed(repository: Repository, commit: str, known: TagObject | None, *, fixed: bool) -> int:
    """Return the seed in the tag's message; else with -f the one in code/seed; else a fresh one."""
    recorded = tags.trailer_number(known, "Exper-Seed") if known else None
    written = commits.fixed_seed(repository, commit) if fixed else None
    if recorded is None:
        return run_record.fresh_seed() if written is None else written
    if written not in (None, recorded):
        raise Refused(
            f"the tag records the seed {recorded}, code/seed has {written}. Leave out -f,"
            f" or remove the tag: exper rm {known.name if known else ''} --tag"
        )
    return recorded
