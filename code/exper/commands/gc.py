"""Remove what nobody needs: snapshots that no live run uses, and what verifications and killed commands have left.

With --keep also checkpoints. Of a finished run those that it names stay: best (the last, if none is best), last, or
epochs by their numbers. One that has not finished can still go on: the newest two that are whole stay, and the best.
What another run has started from stays, and so does everything of a run that is being worked on. Runs, settings,
results and logs always stay; for runs there is `exper rm`. It says what goes, and asks on a terminal.

Examples:
    exper gc --dry-run                       what would go
    exper gc --keep best,last                of all runs
    exper gc --keep best 'wide+*' small/2    of these runs
    exper gc --tags                          also git tags of trials whose runs have been removed
"""

from collections.abc import Iterator

from exper.core import paths
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import confirm_removal, say, warn
from exper.housekeeping import checkpoints, spare
from exper.housekeeping.checkpoints import Keep
from exper.housekeeping.spare import Spare
from exper.repository.repository import Repository
from exper.runs import select, status


def gc(arguments: list[str], project: paths.Project) -> int:
    """Find it all, say what goes, ask, remove."""
    options = _parser().parse_args(arguments)
    keep = checkpoints.parse(options.keep) if options.keep is not None else None
    if options.tags and options.runs:
        raise Refused("--tags is about trials that have no runs. Name no runs with it.")
    runs, problems = select.resolve(project, options.runs) if options.runs else (project.runs(), [])
    repository = Repository(project.root)
    known = repository.tags_of_commits()
    found = list(_found(project, runs, known, is_all=not options.runs))
    if options.tags:
        found += spare.trial_tags(project, repository, known, problems)
    if keep is not None:
        found += _checkpoints(project, runs, keep, problems)
    warn("gc", problems)
    _tell(found)
    if options.dry_run or not found:
        return int(bool(problems))
    confirm_removal(yes=options.yes)
    stays = [line for one in found for line in (one.remove() or "").splitlines()]
    return int(warn("gc", stays) or bool(problems))


def _parser() -> Parser:
    parser = Parser("exper gc", __doc__)
    parser.add_argument("runs", nargs="*", metavar="tag[/id]|list|glob", help="of these runs alone")
    parser.add_argument("--keep", metavar="which", help="the checkpoints that stay: best,last,<epoch>")
    parser.add_argument("--tags", action="store_true", help="the git tags of trials that have no runs, too")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _found(project: paths.Project, runs: list[paths.Run], known: spare.Tags, *, is_all: bool) -> Iterator[Spare]:
    """Yield what can go beside checkpoints: of all tags, or of those that the runs have."""
    for run in runs:
        yield from spare.half_written(run)
    for tag in project.tags() if is_all else dict.fromkeys(project.tag(run.tag) for run in runs):
        yield from spare.of_tag(project, tag, known)
    if is_all:
        yield from spare.verifications(project)
        yield from spare.lines(project)


def _checkpoints(project: paths.Project, runs: list[paths.Run], keep: Keep, problems: list[str]) -> Iterator[Spare]:
    """Yield the checkpoints that can go; where they stay because something is wrong, add that to `problems`."""
    locked = project.locked_names()
    if locked:
        names = ", ".join(str(project.tag(name).folder) for name in locked)
        raise Refused(f"--keep: {names} can't be read, and what runs there have started from must stay.")
    busy = {run for run in runs if status.is_busy(run)}
    warn("gc", [f"{run} is being worked on, so its checkpoints stay" for run in busy])
    needed = checkpoints.started_from(project.runs())
    for run in runs:
        if run in busy:
            continue
        try:
            found = checkpoints.of_run(project, run, keep, needed.get(str(run), set()))
        except Refused as refusal:
            problems.append(str(refusal))
        else:
            if found is not None:
                yield found


def _tell(found: list[Spare]) -> None:
    if not found:
        say("gc: there is nothing to remove")
    warn("gc", [f"{one.what}{_size(one.size)}" for one in found])
    if len(found) > 1:
        say(f"gc: {_megabytes(sum(one.size for one in found))} in all")


def _size(size: int) -> str:
    return f", {_megabytes(size)}" if size else ""


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
