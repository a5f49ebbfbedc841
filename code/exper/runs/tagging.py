"""A new tag of what is committed now, for `run` and `search`; with -m also of what is not."""

import argparse
import functools

from exper.config import config_file
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import say
from exper.core.paths import Project
from exper.repository.repository import Change, Repository, TagObject, TagTaken
from exper.runs import tagged, tags, uncommitted


def add_arguments(parser: Parser) -> None:
    """Add what can be said of a new tag, beside its name."""
    parser.add_argument("settings", nargs="*", metavar="name=value", help="a setting to change in the tagged config.py")
    parser.add_argument("-f", dest="fixed", action="store_true", help="take the seed in code/seed, not a fresh one")
    parser.add_argument("-m", dest="message", metavar="WHY", help="why; also saves uncommitted changes with the tag")
    parser.add_argument("--include", action="append", default=[], metavar="PATH", help="with -m: save it even so")
    parser.set_defaults(command=parser.prog)


def check_free(repository: Repository, tag: str) -> None:
    """Refuse a tag that git would confuse with something else."""
    if repository.has_branch_or_remote(tag):
        raise Refused(f"{tag!r} is a branch or a remote here; git would not know which is meant. Take another.")


def uncommitted_changes(project: Project, repository: Repository, options: argparse.Namespace) -> list[Change]:
    """Return the uncommitted changes, which -m saves and tells; without it they are refused."""
    changes = repository.changes()
    if not changes:
        return []
    repository.head()  # before the first commit, -m is of no use either
    if options.message is None:
        raise Refused(
            f"there are uncommitted changes:\n{uncommitted.listing(project, changes)}\n"
            f'Commit them, or let the tag alone hold them: {options.command} {options.tag} -m "why"'
        )
    uncommitted.check_savable(project, changes, options.include)
    name = options.command.rpartition(" ")[2]
    say(f"{name}: the tag alone will hold these changes:\n{uncommitted.listing(project, changes)}")
    return changes


def commit(
    repository: Repository, changed: list[Change], changes: dict[str, config_file.Value], options: argparse.Namespace
) -> str:
    """Return HEAD, or a commit on top of it with the uncommitted changes and the changed settings."""
    if not changed and not changes:
        return repository.head()
    edits = {tagged.CONFIG: functools.partial(config_file.edit, changes=changes)} if changes else {}
    return repository.commit(changed, edits, options.message or f"{options.tag}: {' '.join(options.settings)}")


def create(repository: Repository, options: argparse.Namespace, commit: str, seed: int, threads: int) -> TagObject:
    """Make the tag, with all that is needed to repeat its run 0."""
    message = tags.message(options.tag, options.message, tagged.trailers(seed, threads, options.settings))
    try:
        return repository.create_tag(options.tag, commit, message)
    except TagTaken:
        again = "To join it, type the same again" if options.command.endswith(" search") else "Take another"
        raise Refused(f"somebody else has made the tag {options.tag!r} just now. {again}.") from None
