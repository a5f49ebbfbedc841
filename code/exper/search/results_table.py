"""What a search has found, as a table of its trials, the best first.

The files of runs decide, and the study tells of trials without files here: those of another machine, or those whose
settings were refused. Of a trial only the runs that the search has made count, not what was rerun by hand.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace

from optuna.study import Study
from optuna.trial import FrozenTrial

from exper.config import config_file
from exper.core import paths
from exper.core.errors import Refused, did_you_mean
from exper.core.messages import say
from exper.repository.repository import Repository
from exper.runs import commits
from exper.search import space
from exper.search import study as studies
from exper.search.space import Space
from exper.statistic import groups, rows, tables, titles
from exper.statistic.rows import Row
from exper.statistic.tables import Table

_OPEN = "open"  # asked for, and not known to have ended
_STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}


@dataclass(frozen=True)
class Search:
    """A search, and what Optuna knows of it; None: nothing."""

    project: paths.Project
    tag: str
    space: Space
    metric: str  # that `monitor` names
    direction: str  # max, min
    study: Study | None

    @functools.cached_property
    def seeds(self) -> int:
        """Return how many runs of a trial count; those that there are, if nobody knows."""
        if self.study is not None:
            return int(self.study.user_attrs.get("seeds", 1))
        return max((run.id + 1 for tag in self.project.trials(self.tag) for run in tag.runs()), default=1)


def of(project: paths.Project, tag: str, storage: str | None) -> Search:
    """Return the search of a tag, with the study in its journal or in a database.

    Raises:
        Refused: there is none, or it has no trials yet.
    """
    if paths.search_of(tag):
        raise Refused(f"{tag!r} is a trial. Type: exper results {paths.search_of(tag)}")
    repository = Repository(project.root)
    known = repository.tag(tag)
    source = repository.file(known.commit, commits.CONFIG) if known else None
    config = config_file.read(source) if source is not None else {}
    direction, metric = space.monitored(config)
    if known is None or source is None or not config.get("search") or not metric:
        what = f"there is no tag {tag!r}" if known is None else f"the tag {tag!r} is of no search"
        raise Refused(f"{what}.{did_you_mean(tag, project.searches())}")
    study = _study(project.tag(tag), known.commit, storage)
    if study is None and storage is not None:
        raise Refused(f"that storage knows no search {tag!r}.")
    if study is None and not project.trials(tag):
        raise Refused(f"the search {tag!r} has no trials here. Type: exper search {tag}")
    return Search(project, tag, space.read(source), metric, direction, study)


def _study(tag: paths.Tag, commit: str, storage: str | None) -> Study | None:
    """Return what Optuna knows of a search; nothing where its journal is damaged, as the files of runs tell as much."""
    try:
        return studies.load(tag, commit, storage)
    except Refused as refusal:
        if storage is not None:
            raise
        say(f"results: {refusal} The files of the runs tell what follows.")
        return None


@dataclass(frozen=True)
class Results:
    """The table of a search, what can't be read, and why trials have failed, by tag, as far as the study knows."""

    table: Table
    problems: list[str]
    why: dict[str, str]

    def objects(self) -> list[Row]:
        """Return the rows with raw values, under the names of columns; what has failed says `why`, if that is known."""
        shown = [{name: row[name] for name in self.table.headers if name in row} for row in self.table.rows]
        whys = ({"why": self.why[tag_of(row)]} if tag_of(row) in self.why else {} for row in self.table.rows)
        return [row | why for row, why in zip(shown, whys, strict=True)]


def read(search: Search) -> Results:
    """Read the runs of all trials, and arrange them."""
    known = _known(search)
    by_tag = {name: runs(search, name) for name in _tags(search, known)}
    read = rows.read_all([run for of_tag in by_tag.values() for run in of_tag])
    lines = iter(row for row, _ in read)
    of_trials = {
        name: [next(lines) for _ in of_tag] or [_without_files(search, name, known.get(name))]
        for name, of_tag in by_tag.items()
    }
    for name, found in of_trials.items():
        _add_settings(search, found, known.get(name))
    table = _table(search, of_trials, known)
    why = {name: str(one.user_attrs[studies.WHY]) for name, one in known.items() if studies.WHY in one.user_attrs}
    return Results(_best_first(search, table), [problem for _, problem in read if problem], why)


def tag_of(row: Row) -> str:
    """Return the tag of the trial that a row is of."""
    return str(row["tag"] if "tag" in row else row["run"].rpartition("/")[0])


def _known(search: Search) -> dict[str, FrozenTrial]:
    """Return the trials that Optuna knows, by tag; of several with the same values one that has a result."""
    found: dict[str, FrozenTrial] = {}
    for one in studies.begun(search.study) if search.study else ():
        name = one.user_attrs.get(studies.TAG, f"trial {one.number}")  # no tag: it could not be made
        if name not in found or found[name].value is None:
            found[name] = one
    return found


def _tags(search: Search, known: Iterable[str]) -> list[str]:
    """Return the tags of all trials, in the order in which they were asked for."""
    here = [tag.name for tag in search.project.trials(search.tag) if tag.runs()]
    return list(dict.fromkeys([*known, *here]))


def runs(search: Search, tag: str) -> list[paths.Run]:
    """Return the runs of a trial that count."""
    return [run for run in search.project.tag(tag).runs() if run.id < search.seeds]


# -- the table ---------------------------------------------------------------------------------------------------------


def _without_files(search: Search, tag: str, known: FrozenTrial | None) -> Row:
    """Return the row of a trial of which there are no files here."""
    row: Row = {"run": f"{tag}/0", "status": _state(known), "epoch": None}
    return row | ({_best(search): known.value} if known and known.value is not None else {})


def _state(known: FrozenTrial | None) -> str:
    return _STATES.get(known.state.name, _OPEN) if known else _OPEN


def _best(search: Search) -> str:
    """Return the column that a search makes best, of single runs."""
    return f"metric/best/{search.metric}"


def column(search: Search) -> str:
    """Return the column that a search makes best, of trials."""
    return _best(search) if search.seeds == 1 else f"{_best(search)}/mean"


def _add_settings(search: Search, found: list[Row], known: FrozenTrial | None) -> None:
    """Add the values that Optuna has suggested to rows of runs that have not written theirs."""
    values = config_file.flatten(studies.values(known, search.space)) if known else {}
    for row in found:
        for name, value in values.items():
            row.setdefault(f"hparam/{name}", value)


def _table(search: Search, of_trials: dict[str, list[Row]], known: dict[str, FrozenTrial]) -> Table:
    """Return the table of a search: as its title says, else with the settings that it varies and all metrics."""
    title = titles.read(search.project.title_file(search.tag))
    table = tables.of([row for found in of_trials.values() for row in found], title)
    if title is None:
        table = replace(table, headers=_headers(search, table.headers))
    return table if search.seeds == 1 else _by_trial(search, table, of_trials, known)


def _headers(search: Search, headers: dict[str, str]) -> dict[str, str]:
    """Return the columns without settings that the search does not vary, and its metric as the first."""
    searched = [column for name in search.space for column in headers if f"{column}.".startswith(f"hparam/{name}.")]
    first = [column for column in headers if not column.startswith(("hparam/", "metric/"))]
    metrics = [column for column in (_best(search), *headers) if column in headers and column.startswith("metric/")]
    return {column: headers[column] for column in (*first, *searched, *metrics)}


def _by_trial(search: Search, table: Table, of_trials: dict[str, list[Row]], known: dict[str, FrozenTrial]) -> Table:
    """Return the table with a row for each trial, of several runs; its status is that of all of them."""
    grouped = tables.grouped(table, "tag")
    for row in grouped.rows:
        found, asked = of_trials[row["tag"]], known.get(row["tag"])
        row["status"] = _state_of_all(found, search.seeds, asked)
        if not runs(search, row["tag"]):  # what is known is a mean of runs that are elsewhere
            for name in (*groups.FIRST, f"{_best(search)}/n"):
                row.pop(name, None)
    first = {"tag": grouped.headers["tag"], "status": "status"}
    return replace(grouped, headers=first | grouped.headers)


def _state_of_all(found: list[Row], seeds: int, known: FrozenTrial | None) -> str:
    unfinished = [str(row["status"]) for row in found if row["status"] != "finished"]
    if unfinished or len(found) == seeds:
        return unfinished[0] if unfinished else "finished"
    return _state(known)


def _best_first(search: Search, table: Table) -> Table:
    """Return the table with the trials that have finished on top, the best first, and the others as they were."""
    finished = [row for row in table.rows if row["status"] == "finished"]
    others = [row for row in table.rows if row["status"] != "finished"]
    name = column(search)
    if any(name in row for row in finished):
        ordered = tables.ordered(replace(table, rows=finished), name, is_ascending=search.direction == "min")
        finished = ordered.rows
    return replace(table, rows=finished + others)
