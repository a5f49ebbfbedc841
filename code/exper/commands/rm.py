"""Remove runs and, with --tag, their git tag too; says what goes, and asks on a terminal.

An id is never given again, unless the tag goes as well. A run that is being worked on, or that a list of yours names,
is refused; lines in finished.txt go with the run. The tag of a search goes after those of its trials, and takes what
the search remembers with it. Write a pattern in quotes.

Examples:
    exper rm baseline/2                one run
    exper rm baseline --tag            all runs of a tag, and the tag
    exper rm baseline --tag --yes      without asking
    exper rm baseline --dry-run        what would go
    exper rm 'wide+*' --tag            the trials of a search; then: exper rm wide --tag
"""

import fnmatch

from exper.core import files, paths
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import MOST, confirm_removal, say, warn
from exper.housekeeping import spare
from exper.repository.objects import TagObject
from exper.repository.repository import Repository, TagTaken
from exper.runs import jobs, remove, select, status, tags


def rm(arguments: list[str], project: paths.Project) -> int:
    """Check everything, say what goes, ask, remove."""
    options = _parser().parse_args(arguments)
    words = list(dict.fromkeys(word.rstrip("/") for word in options.runs))
    if options.tag and any("/" in word for word in words):
        raise Refused("--tag removes all runs of a tag; name the tag alone, without an id.")
    known, forgotten = _git_tags(project, words) if options.tag else ({}, {})
    gone = {word: project.tag(word.partition("/")[0]) for word in words if _is_gone(project, word)} | forgotten
    warn("rm", [f"{word} has been removed already" for word in gone])
    left = [word for word in words if word not in gone or word in known]
    runs = list(dict.fromkeys(run for word in left for run in _runs(project, word, [*known, *forgotten])))
    _check(project, runs)
    _tell(runs, list(known.values()))
    if options.dry_run:
        return 0
    if runs or known:
        confirm_removal(yes=options.yes)
        _check(project, runs)  # the user may have thought about it for long
    stays = remove.remove_runs(project, runs)
    remove.complete_removal(project, gone.values())
    for tag in forgotten.values():
        remove.remove_tag_folder(project, tag)
    stays += _remove_tags(project, list(known.values()))
    return int(warn("rm", stays))


def _parser() -> Parser:
    parser = Parser("rm", __doc__)
    parser.add_argument("runs", nargs="+", metavar="tag[/id]|glob", help="what to remove")
    parser.add_argument("--tag", action="store_true", help="the git tag too")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _git_tags(project: paths.Project, words: list[str]) -> tuple[dict[str, TagObject], dict[str, paths.Tag]]:
    """Return the git tags that words mean, and those that a killed command has removed from git alone, by name.

    Raises:
        Refused: there is none of that name, or one is of a search that has other trials.
    """
    repository = Repository(project.root)
    every = repository.tags_of_commits()
    meant = (tag for tag in project.tags() if any(fnmatch.fnmatchcase(tag.name, word) for word in words))
    forgotten = {tag.name: tag for tag in meant if spare.is_forgotten(project, tag, every)}
    known: dict[str, TagObject] = {}
    for word in words:
        if word in forgotten:
            continue
        if select.is_glob(word):
            known |= {name: every[name] for name in sorted(fnmatch.filter(every, word))}
        else:
            name = tags.parse_reference(word).tag
            known[name] = select.git_tag(repository, project, name)
    trials = {name: paths.search_of(name) for name in (*every, *project.tag_names()) if name not in known}
    left = [search for search in trials.values() if search in known]
    if left:
        count = f"{len(left)} trial{'s' * (len(left) > 1)}"
        raise Refused(f"the search {left[0]!r} has {count}. Remove them first: exper rm '{left[0]}+*' --tag")
    for name in known:
        _check_no_job(project.tag(name))
    return known, forgotten


def _check_no_job(tag: paths.Tag) -> None:
    """Refuse a search that is in SLURM's queue, or may be."""
    for job in jobs.of_search(tag):
        if jobs.state(job) is None:
            raise Refused(f"SLURM does not say whether {jobs.describe(job)} is over. If it is, remove {tag.jobs}")
        if not jobs.is_over(job):
            raise Refused(f"the search {tag.name!r} is in the queue. Take it out first: exper cancel {tag.name}")


def _is_gone(project: paths.Project, word: str) -> bool:
    """Tell whether a word means runs that have all been removed, maybe by a command that was killed before its end."""
    if select.is_glob(word):
        return False
    reference = tags.parse_reference(word)
    tag = project.tag(reference.tag)
    ids = [run.id for run in remove.removed_runs(tag)]
    return reference.number in ids if reference.number is not None else bool(ids) and not tag.runs()


def _runs(project: paths.Project, word: str, known: list[str]) -> list[paths.Run]:
    """Return the runs that a word means; none where it means one of the known tags alone."""
    if select.is_glob(word):
        found = select.matching(project, word)
        if not found and not fnmatch.filter(known, word):
            raise Refused(f"no run fits {word!r}. Type: expls")
        return found
    reference = tags.parse_reference(word)
    if known and not project.tag(reference.tag).runs():
        return []
    return select.runs(project, reference)


def _check(project: paths.Project, runs: list[paths.Run]) -> None:
    queued = [run for run in runs if status.read(run) in status.QUEUED]
    if queued:
        raise Refused(f"{queued[0]} is queued. Take it out of the queue first: exper cancel {queued[0]}")
    live = [run for run in runs if status.is_live(run)]
    if live:
        raise Refused(f"{live[0]} is being worked on. End it first, or wait for it.")
    named = select.list_naming(project, {name for run in runs for name in (str(run), run.tag)})
    if named is not None:
        raise Refused(f"the list {named[0]!r} names {named[1]!r}. Take it off that list first.")


def _tell(runs: list[paths.Run], known: list[TagObject]) -> None:
    sizes = {run: files.size(run.folder) / 1e6 for run in runs}
    what = [f"{run} ({status.read(run)}, {sizes[run]:.1f} MB)" for run in runs]
    what += [f"the tag {one.name} ({one.commit[:10]})" for one in known]
    warn("rm", what)
    if len(what) > MOST:
        say(f"rm: {len(runs):,} runs ({sum(sizes.values()):.1f} MB) and {len(known):,} tags in all")


def _remove_tags(project: paths.Project, known: list[TagObject]) -> list[str]:
    try:
        return remove.remove_tags(project, Repository(project.root), known) if known else []
    except TagTaken as error:
        raise Refused(f"a tag has changed meanwhile, and so all stay: {error}") from None
