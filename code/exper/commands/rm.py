"""Remove runs and, with --tag, also their git tag. The command lists what it removes, and asks on a terminal.

The id of a removed run is never used again, unless its tag is removed too. A run that is being worked on, or that one
of your lists names, is refused. Lines in finished.txt are removed with the run. To remove the tag of a search, remove
those of its trials first; the journal of the search is removed with it. Write a pattern in quotes.

Examples:
    exper rm baseline/2                one run
    exper rm baseline --tag            all runs of a tag, and the tag
    exper rm baseline --tag --yes      without asking
    exper rm baseline --dry-run        list what would be removed
    exper rm 'wide+*' --tag            the trials of a search; then: exper rm wide --tag
"""

import fnmatch

from exper.core import files, paths
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import MOST, confirm_removal, count, say, warn
from exper.housekeeping import spare
from exper.repository.objects import TagObject
from exper.repository.repository import Repository, TagTaken
from exper.runs import jobs, remove, select, status, tags


def rm(arguments: list[str], project: paths.Project) -> int:
    """Check everything, list it, ask, and remove it."""
    options = _parser().parse_args(arguments)
    words = list(dict.fromkeys(word.rstrip("/") for word in options.runs))
    if options.tag and any("/" in word for word in words):
        raise Refused("--tag removes all runs of a tag; name the tag alone, without an id.")
    git_tags, forgotten = _git_tags(project, words) if options.tag else ({}, {})
    gone = {word: project.tag(word.partition("/")[0]) for word in words if _is_gone(project, word)} | forgotten
    warn("rm", [f"{word} has been removed already" for word in gone])
    left = [word for word in words if word not in gone or word in git_tags]
    runs = list(dict.fromkeys(run for word in left for run in _runs(project, word, [*git_tags, *forgotten])))
    _check(project, runs)
    _list(runs, list(git_tags.values()))
    if options.dry_run:
        return 0
    if runs or git_tags:
        confirm_removal(yes=options.yes)
        _check(project, runs)  # the user may have taken long to answer
    failures = remove.remove_runs(project, runs)
    remove.complete_removal(project, gone.values())
    for tag in forgotten.values():
        remove.remove_tag_folder(project, tag)
    failures += _remove_tags(project, list(git_tags.values()))
    return int(warn("rm", failures))


def _parser() -> Parser:
    parser = Parser("rm", __doc__)
    parser.add_argument("runs", nargs="+", metavar="tag[/id]|glob", help="the runs to remove")
    parser.add_argument("--tag", action="store_true", help="also remove the git tag")
    parser.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _git_tags(project: paths.Project, words: list[str]) -> tuple[dict[str, TagObject], dict[str, paths.Tag]]:
    """Return, by name, the git tags that the words name, and the tags that a killed command removed only from git.

    Raises:
        Refused: there is no such tag, or it is the tag of a search that has other trials.
    """
    repository = Repository(project.root)
    every = repository.tags_of_commits()
    meant = (tag for tag in project.tags() if any(fnmatch.fnmatchcase(tag.name, word) for word in words))
    forgotten = {tag.name: tag for tag in meant if spare.is_forgotten(project, tag, every)}
    chosen: dict[str, TagObject] = {}
    for word in words:
        if word in forgotten:
            continue
        if select.is_glob(word):
            chosen |= {name: every[name] for name in sorted(fnmatch.filter(every, word))}
        else:
            name = tags.parse_reference(word).tag
            chosen[name] = select.git_tag(repository, project, name)
    search_of = {name: paths.search_of(name) for name in (*every, *project.tag_names()) if name not in chosen}
    left = [search for search in search_of.values() if search in chosen]
    if left:
        raise Refused(
            f"the search {left[0]!r} has {count(len(left), 'trial')}. Remove them first: exper rm '{left[0]}+*' --tag"
        )
    for name in chosen:
        _check_no_job(project.tag(name))
    return chosen, forgotten


def _check_no_job(tag: paths.Tag) -> None:
    """Refuse a search that has, or may have, a SLURM job."""
    for job in jobs.of_search(tag):
        if jobs.state(job) is None:
            raise Refused(f"SLURM does not say whether {jobs.describe(job)} is over. If it is, remove {tag.jobs}")
        if not jobs.is_over(job):
            raise Refused(f"the search {tag.name!r} is in the queue. Take it out first: exper cancel {tag.name}")


def _is_gone(project: paths.Project, word: str) -> bool:
    """Tell whether all runs that a word names have been removed, maybe by a command that was killed then."""
    if select.is_glob(word):
        return False
    reference = tags.parse_reference(word)
    tag = project.tag(reference.tag)
    ids = [run.id for run in remove.removed_runs(tag)]
    return reference.number in ids if reference.number is not None else bool(ids) and not tag.runs()


def _runs(project: paths.Project, word: str, names: list[str]) -> list[paths.Run]:
    """Return the runs that a word names; none if it names only one of the tags `names`."""
    if select.is_glob(word):
        runs = select.matching(project, word)
        if not runs and not fnmatch.filter(names, word):
            raise Refused(f"no run fits {word!r}. Type: expls")
        return runs
    reference = tags.parse_reference(word)
    if names and not project.tag(reference.tag).runs():
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


def _list(runs: list[paths.Run], git_tags: list[TagObject]) -> None:
    sizes = {run: files.size(run.folder) / 1e6 for run in runs}
    lines = [f"{run} ({status.read(run)}, {sizes[run]:.1f} MB)" for run in runs]
    lines += [f"the tag {tag.name} ({tag.commit[:10]})" for tag in git_tags]
    warn("rm", lines)
    if len(lines) > MOST:
        say(f"rm: {len(runs):,} runs ({sum(sizes.values()):.1f} MB) and {len(git_tags):,} tags in all")


def _remove_tags(project: paths.Project, git_tags: list[TagObject]) -> list[str]:
    try:
        return remove.remove_tags(project, Repository(project.root), git_tags) if git_tags else []
    except TagTaken as error:
        raise Refused(f"a tag has changed meanwhile, so no tag is removed: {error}") from None
