"""Remove unneeded files: snapshots that no live run uses, and leftovers of verifications and killed commands.

With --keep, also checkpoints. A finished run keeps those that --keep names: best (the last epoch, if no epoch is best),
last, or epochs by number. An unfinished run keeps the newest two intact checkpoints and the best. A checkpoint that
another run started from stays, and so does every file of a run that is in use. Runs, settings, results and logs always
stay; to remove runs, use `exper rm`. The command lists what it removes, and asks on a terminal.

Examples:
    exper gc --dry-run                       list what would be removed
    exper gc --keep best,last                of all runs
    exper gc --keep best 'wide+*' small/2    of these runs
    exper gc --tags                          also the git tags of trials whose runs are removed
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
    """Find spare files and tags, list them, ask, and remove them."""
    options = _parser().parse_args(arguments)
    keep = checkpoints.parse(options.keep) if options.keep is not None else None
    if options.tags and options.runs:
        raise Refused("--tags is about trials that have no runs. Name no runs with it.")
    runs, problems = select.resolve(project, options.runs) if options.runs else (project.runs(), [])
    repository = Repository(project.root)
    git_tags = repository.tags_of_commits()
    spares = list(_leftovers(project, runs, git_tags, is_all=not options.runs))
    if options.tags:
        spares += spare.trial_tags(project, repository, git_tags, problems)
    if keep is not None:
        spares += _checkpoints(project, runs, keep, problems)
    warn("gc", problems)
    _list(spares)
    if options.dry_run or not spares:
        return int(bool(problems))
    confirm_removal(yes=options.yes)
    failures = [line for each in spares for line in (each.remove() or "").splitlines()]
    return int(warn("gc", failures) or bool(problems))


def _parser() -> Parser:
    parser = Parser("exper gc", __doc__)
    parser.add_argument("runs", nargs="*", metavar="tag[/id]|list|glob", help="only of these runs")
    parser.add_argument("--keep", metavar="which", help="remove checkpoints except best,last,<epoch>")
    parser.add_argument("--tags", action="store_true", help="also remove the git tags of trials without runs")
    parser.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _leftovers(project: paths.Project, runs: list[paths.Run], git_tags: spare.Tags, *, is_all: bool) -> Iterator[Spare]:
    """Yield the spare files of all tags, or of the tags of the runs, other than checkpoints."""
    for run in runs:
        yield from spare.half_written(run)
    for tag in project.tags() if is_all else dict.fromkeys(project.tag(run.tag) for run in runs):
        yield from spare.of_tag(project, tag, git_tags)
    if is_all:
        yield from spare.verifications(project)
        yield from spare.lines(project)


def _checkpoints(project: paths.Project, runs: list[paths.Run], keep: Keep, problems: list[str]) -> Iterator[Spare]:
    """Yield the spare checkpoints; add to `problems` why those of a run stay."""
    locked = project.locked_names()
    if locked:
        names = ", ".join(str(project.tag(name).folder) for name in locked)
        raise Refused(f"--keep: {names} can't be read, so the checkpoints that runs there started from are unknown.")
    busy = {run for run in runs if status.is_busy(run)}
    warn("gc", [f"{run} is being worked on, so its checkpoints stay" for run in busy])
    needed = checkpoints.started_from(project.runs())
    for run in runs:
        if run in busy:
            continue
        try:
            checkpoint = checkpoints.of_run(project, run, keep, needed.get(str(run), set()))
        except Refused as refusal:
            problems.append(str(refusal))
        else:
            if checkpoint is not None:
                yield checkpoint


def _list(spares: list[Spare]) -> None:
    if not spares:
        say("gc: there is nothing to remove")
    warn("gc", [f"{each.what}{_size(each.size)}" for each in spares])
    if len(spares) > 1:
        say(f"gc: {_megabytes(sum(each.size for each in spares))} in all")


def _size(size: int) -> str:
    return f", {_megabytes(size)}" if size else ""


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
