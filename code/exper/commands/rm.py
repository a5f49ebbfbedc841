"""Remove runs and, with --tag, their git tag too; says what goes, and asks on a terminal.

An id is never given again, unless the tag goes as well. A run that is being worked on, or that a list of yours names,
is refused; lines in finished.txt go with the run.

Examples:
    exper rm baseline/2                one run
    exper rm baseline --tag            all runs of a tag, and the tag
    exper rm baseline --tag --yes      without asking
"""

import os
import sys

from exper import find, lists, paths, removal, status, tags
from exper.arguments import Parser
from exper.error import Refused
from exper.repository import Repository, TagObject, TagTaken
from exper.say import say


def rm(arguments: list[str], project: paths.Project) -> int:
    """Check everything, say what goes, ask, remove."""
    options = _parser().parse_args(arguments)
    references = list(dict.fromkeys(map(tags.parse_reference, options.runs)))
    if options.tag and any(one.number is not None for one in references):
        raise Refused("--tag removes all runs of a tag; name the tag alone, without an id.")
    known = [_git_tag(project, one.tag) for one in references] if options.tag else []
    named = [run for one in references for run in _runs(project, one, has_tag=options.tag)]
    runs = list(dict.fromkeys(named))
    _check(project, runs)
    _ask(runs, known, yes=options.yes)
    for run in runs:
        removal.remove_run(project, run)
    for one in known:
        _remove_tag(project, one)
    return 0


def _parser() -> Parser:
    parser = Parser("rm", __doc__)
    parser.add_argument("runs", nargs="+", metavar="tag[/id]", help="what to remove")
    parser.add_argument("--tag", action="store_true", help="the git tag too")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _git_tag(project: paths.Project, name: str) -> TagObject:
    return find.tag(Repository(project.root), project, name)


def _runs(project: paths.Project, reference: tags.Reference, *, has_tag: bool) -> list[paths.Run]:
    if has_tag and not project.tag(reference.tag).runs():
        return []  # a tag alone
    return find.runs(project, reference)


def _check(project: paths.Project, runs: list[paths.Run]) -> None:
    live = [run for run in runs if status.is_live(run)]
    if live:
        raise Refused(f"{live[0]} is being worked on. End it first, or wait for it.")
    named = lists.naming(project, {name for run in runs for name in (str(run), run.tag)})
    if named:
        raise Refused(f"the list {named[0]!r} names {runs[0].tag!r} or a run of it. Take it off that list first.")


def _ask(runs: list[paths.Run], known: list[TagObject], *, yes: bool) -> None:
    what = [f"{run} ({status.read(run)}, {_megabytes(run):.1f} MB)" for run in runs]
    what += [f"the tag {one.name} ({one.commit[:10]})" for one in known]
    say("\n".join(f"rm: {line}" for line in what))
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused("nothing removed: nobody to ask. Add --yes.")
    if input("Remove? [y/N] ").strip().lower() not in ("y", "yes"):
        raise Refused("nothing removed.")


def _remove_tag(project: paths.Project, known: TagObject) -> None:
    try:
        Repository(project.root).delete_tag(known)
    except TagTaken as error:
        raise Refused(f"the tag {known.name!r} has changed meanwhile and stays: {error}") from None
    removal.forget_tag(project, project.tag(known.name))


def _megabytes(run: paths.Run) -> float:
    sizes = (os.lstat(os.path.join(parent, name)).st_size for parent, _, names in os.walk(run.folder) for name in names)
    return sum(sizes) / 1e6
