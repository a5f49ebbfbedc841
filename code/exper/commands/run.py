"""Tag the committed code, and train it from a read-only copy of that tag.

The run's files are in __result__/<tag>/0/. Nothing of the working tree, the index, HEAD or a branch is touched.

Examples:
    run baseline                       a fresh seed
    run baseline -f                    the seed in code/seed
    run small model.width=8 epochs=3   with settings changed in the tagged config.py
    run try -m "wider kernels"         uncommitted changes saved in a commit that only the tag holds
"""

import argparse
import fnmatch
import functools
import os

from exper import life, run_json, settings, tagged, tags
from exper.arguments import Parser
from exper.error import Refused
from exper.interrupt import Signals
from exper.paths import Project
from exper.repository import Change, Repository, TagObject, TagTaken

_SECRETS = (".env*", "*.pem", "*.key", "id_*")
_LARGE_BYTES = 10_000_000
_SHOWN = 20


def run(arguments: list[str], project: Project) -> int:
    """Tag, then train; an existing tag is used if it holds the same code and has no run."""
    options = _parser().parse_intermixed_args(arguments)
    tags.check_new(options.tag)
    changes = dict(map(settings.parse_change, options.settings))
    repository = Repository(project.root)
    if repository.has_branch_or_remote(options.tag):
        raise Refused(f"{options.tag!r} is a branch or a remote here; git would not know which is meant. Take another.")
    uncommitted = repository.changes()
    _check_uncommitted(project, repository, uncommitted, options)
    with Signals() as signals:
        commit = _commit(repository, uncommitted, changes, options)
        known = repository.tag(options.tag)
        if known is not None:
            _check_known(project, repository, known, commit)
            commit = known.commit
        config = tagged.check(repository, commit)
        seed = _seed(repository, commit, known, fixed=options.fixed)
        threads = (known and tags.number_in(known, "Exper-Threads")) or tagged.threads(config)
        signals.check()
        trailers = tagged.trailers(seed, threads, options.settings)
        life.check_writable(project)
        tag = known or _create_tag(repository, options.tag, commit, options.message, trailers)
        try:
            record = run_json.new(tag.name, commit, repository.tree(commit), seed, threads)
            command = _command(options)
            live = life.begin(project, record, command, repository=repository, signals=signals, least=0, is_first=True)
            try:
                return life.carry_out(project, live, signals)
            except Refused:
                life.remove(project, live.run)
                if known is None:
                    life.forget(project, project.tag(tag.name))
                raise
        except BaseException:
            if known is None:
                life.take_back_tag(project, repository, tag)
            raise


def _parser() -> Parser:
    parser = Parser("run", __doc__)
    parser.add_argument("tag", help="the name of the experiment, a new git tag")
    parser.add_argument("settings", nargs="*", metavar="name=value", help="a setting to change in the tagged config.py")
    parser.add_argument("-f", dest="fixed", action="store_true", help="take the seed in code/seed, not a fresh one")
    parser.add_argument("-m", dest="message", metavar="WHY", help="why; also saves uncommitted changes with the tag")
    parser.add_argument("--include", action="append", default=[], metavar="PATH", help="with -m: save it even so")
    return parser


def _command(options: argparse.Namespace) -> list[str]:
    """Return the command as it is recorded: the parts we know, and no other word of the user's."""
    return ["run", options.tag, *(["-f"] if options.fixed else []), *options.settings]


# -- what the tag will hold --------------------------------------------------------------------------------------------


def _check_uncommitted(
    project: Project, repository: Repository, uncommitted: list[Change], options: argparse.Namespace
) -> None:
    """Refuse uncommitted changes, or with -m only those that should not be in git; tell what is saved."""
    if uncommitted:
        repository.head()  # before the first commit, -m is of no use either
    if uncommitted and options.message is None:
        raise Refused(
            f"there are uncommitted changes:\n{_listing(project, uncommitted)}\n"
            f'Commit them, or let the tag alone hold them: run {options.tag} -m "why"'
        )
    unmerged = [change.path for change in uncommitted if change.kind == "unmerged"]
    if unmerged:
        raise Refused(f"{unmerged[0]} is in the middle of a merge. Finish it first.")
    untracked = [change for change in uncommitted if change.kind == "untracked" and change.path not in options.include]
    for change in untracked:
        _check_untracked(project, change.path)
    if uncommitted:
        life.say(f"run: the tag alone will hold these changes:\n{_listing(project, uncommitted)}")


def _check_untracked(project: Project, path: str) -> None:
    name, size = os.path.basename(path), os.lstat(project.root / path).st_size
    if path.endswith("/"):
        raise Refused(f"{path} is a git repository of its own; a tag would not hold its files. Move it out of code/.")
    if any(fnmatch.fnmatch(name, pattern) for pattern in _SECRETS):
        raise Refused(f"{path} looks like a secret. Add /{path} to .gitignore, or save it: --include {path}")
    if size > _LARGE_BYTES:
        raise Refused(f"{path} has {_size(size)}. Add /{path} to .gitignore, or save it: --include {path}")


def _commit(
    repository: Repository, uncommitted: list[Change], changes: dict[str, settings.Value], options: argparse.Namespace
) -> str:
    """Return HEAD, or a commit on top of it with the uncommitted changes and the changed settings."""
    if not uncommitted and not changes:
        return repository.head()
    edits = {tagged.CONFIG: functools.partial(settings.edit, changes=changes)} if changes else {}
    return repository.commit(uncommitted, edits, options.message or f"{options.tag}: {' '.join(options.settings)}")


def _check_known(project: Project, repository: Repository, known: TagObject, commit: str) -> None:
    """Refuse a tag that has runs, or holds other code."""
    life.check_first(project.tag(known.name))
    if repository.tree(known.commit) != repository.tree(commit):
        raise Refused(
            f"the tag {known.name!r} holds other code than you have now. Take another tag,"
            f" or remove that one: exper rm {known.name} --tag"
        )


def _seed(repository: Repository, commit: str, known: TagObject | None, *, fixed: bool) -> int:
    """Return the seed in the tag's message; else with -f the one in code/seed; else a fresh one."""
    recorded = tags.number_in(known, "Exper-Seed") if known else None
    written = tagged.seed(repository, commit) if fixed else None
    if recorded is None:
        return run_json.fresh_seed() if written is None else written
    if written not in (None, recorded):
        raise Refused(
            f"the tag records the seed {recorded}, code/seed has {written}. Leave out -f,"
            f" or remove the tag: exper rm {known.name if known else ''} --tag"
        )
    return recorded


def _create_tag(
    repository: Repository,
    name: str,
    commit: str,
    why: str | None,
    trailers: list[tuple[str, object]],
) -> TagObject:
    try:
        return repository.create_tag(name, commit, tags.message(name, why, trailers))
    except TagTaken:
        raise Refused(f"somebody else has made the tag {name!r} just now. Take another.") from None


# -- how it is shown ---------------------------------------------------------------------------------------------------


def _listing(project: Project, changes: list[Change]) -> str:
    lines = [f"  {change.kind:<9} {_printable(change.path)}{_weight(project, change)}" for change in changes[:_SHOWN]]
    more = len(changes) - _SHOWN
    return "\n".join(lines + ([f"  … and {more} more"] if more > 0 else []))


def _weight(project: Project, change: Change) -> str:
    if change.kind != "untracked":
        return ""
    return f" ({_size(os.lstat(project.root / change.path).st_size)})"


def _size(size_bytes: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} GB"


def _printable(path: str) -> str:
    """Return a path that can't move the cursor of a terminal."""
    return path if path.isprintable() else ascii(path)
