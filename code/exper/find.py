"""From what a user types to the run or tag that is meant."""

from exper import paths, run_json, tags
from exper.error import Refused
from exper.repository import Repository, TagObject
from exper.tags import Reference


def runs(project: paths.Project, reference: Reference) -> list[paths.Run]:
    """Return the runs of a reference, at least one.

    Raises:
        Refused: there is none; the nearest name is offered.
    """
    tag = project.tag(reference.tag)
    found = tag.runs()
    if not found:
        raise Refused(f"no run has the tag {reference.tag!r}.{tags.nearest(reference.tag, with_runs(project))}")
    if reference.number is None:
        return found
    if tag.run(reference.number) not in found:
        ids = ", ".join(str(run.id) for run in found)
        raise Refused(f"there is no run {reference}. {reference.tag!r} has: {ids}.")
    return [tag.run(reference.number)]


def with_runs(project: paths.Project) -> list[str]:
    """Return the tags that have a folder."""
    return [tag.name for tag in project.tags()]


def code_of(repository: Repository, run: paths.Run, record: run_json.Record) -> str:
    """Return the commit that a run was made from.

    Raises:
        Refused: it was made from no commit, or its tag is gone or now means another one.
    """
    if record.get("commit") is None:
        raise Refused(f"{run} has no tag: its code was not kept. Commit, and type: run <tag>")
    commit = str(record["commit"])
    known = repository.tag(run.tag)
    if known is None:
        raise Refused(f"git has no tag {run.tag!r} any more. Bring it back: git tag {run.tag} {commit}")
    if known.commit != commit:
        raise Refused(
            f"the tag {run.tag!r} now points to {known.commit[:10]}, but {run} was made from {commit[:10]}."
            f" Put it back: git tag -f {run.tag} {commit}"
        )
    return commit


def tag(repository: Repository, project: paths.Project, name: str) -> TagObject:
    """Return the git tag `name`.

    Raises:
        Refused: there is none; the nearest name is offered.
    """
    known = repository.tag(name)
    if known is None:
        near = tags.nearest(name, {*with_runs(project), *repository.tags()})
        raise Refused(f"there is no tag {name!r}.{near}")
    return known
