"""The results of a search as a table of its trials, the best first.

The files of runs decide. The study adds the trials without files here: trials of other machines, and trials whose
settings were refused. Only the runs that the search has made count, not reruns by hand.
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
from exper.search import space, suggestions
from exper.search import study as studies
from exper.search.space import Space
from exper.statistic import groups, rows, tables, titles
from exper.statistic.rows import Row
from exper.statistic.tables import Table

_OPEN = "open"  # asked for, and not known to have ended
_STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}


@dataclass(frozen=True)
class Search:
    """A search, with its study if there is one."""

    project: paths.Project
    tag: str
    space: Space
    metric: str  # in `monitor`
    direction: str  # max, min
    study: Study | None

    @functools.cached_property
    def seeds(self) -> int:
        """Return the number of runs of a trial that count; without a study, the largest number there is."""
        if self.study is not None:
            return int(self.study.user_attrs.get("seeds", 1))
        return max((run.id + 1 for tag in self.project.trials(self.tag) for run in tag.runs()), default=1)

    @property
    def run_column(self) -> str:
        """Return the column that the search optimizes, of single runs."""
        return f"metric/best/{self.metric}"

    @property
    def column(self) -> str:
        """Return the column that the search optimizes, of trials."""
        return self.run_column if self.seeds == 1 else f"{self.run_column}/mean"

    def runs(self, trial: str) -> list[paths.Run]:
        """Return the runs of a trial that count."""
        return [run for run in self.project.tag(trial).runs() if run.id < self.seeds]


def load(project: paths.Project, tag: str, storage: str | None) -> Search:
    """Return the search of a tag, with the study in its journal or in a database.

    Raises:
        Refused: there is no such search, or it has no trials yet.
    """
    if paths.search_of(tag):
        raise Refused(f"{tag!r} is a trial. Type: exper results {paths.search_of(tag)}")
    repository = Repository(project.root)
    tag_object = repository.tag(tag)
    if tag_object is None:
        raise Refused(f"there is no tag {tag!r}.{did_you_mean(tag, project.searches())}")
    source = repository.file(tag_object.commit, commits.CONFIG)
    config = config_file.read(source) if source is not None else {}
    goal = space.goal(config)
    if source is None or goal is None or not config.get("search"):
        raise Refused(f"the tag {tag!r} is of no search.{did_you_mean(tag, project.searches())}")
    study = _study(project.tag(tag), tag_object.commit, storage)
    if study is None and storage is not None:
        raise Refused(f"that storage has no search {tag!r}.")
    if study is None and not project.trials(tag):
        raise Refused(f"the search {tag!r} has no trials here. Type: exper search {tag}")
    return Search(project, tag, space.read(source), goal.metric, goal.direction, study)


def _study(tag: paths.Tag, commit: str, storage: str | None) -> Study | None:
    """Return the study of a search; None where its journal is damaged, as the files of runs tell the same."""
    try:
        return studies.load(tag, commit, storage)
    except Refused as refusal:
        if storage is not None:
            raise
        say(f"results: {refusal} What follows is from the files of the runs.")
        return None


@dataclass(frozen=True)
class Results:
    """The table of a search, the files that can't be read, and the reasons of failed trials by tag."""

    table: Table
    problems: list[str]
    why: dict[str, str]

    def objects(self) -> list[Row]:
        """Return the rows with raw values, by the names of columns; a failed trial has its reason as `why`."""
        objects = []
        for row in self.table.rows:
            content = {name: row[name] for name in self.table.headers if name in row}
            why = self.why.get(tag_of(row))
            objects.append(content if why is None else content | {"why": why})
        return objects


def read(search: Search) -> Results:
    """Read the runs of all trials and arrange them in a table."""
    stored = _stored(search)
    runs = {tag: search.runs(tag) for tag in _tags(search, stored)}
    read_rows = rows.read_all([run for of_trial in runs.values() for run in of_trial])
    next_rows = iter(row for row, _ in read_rows)
    of_trials = {}
    for tag, of_trial in runs.items():
        trial = stored.get(tag)
        of_trials[tag] = [next(next_rows) for _ in of_trial] or [_without_files(search, tag, trial)]
        if trial is not None:
            _add_settings(of_trials[tag], trial, search.space)
    table = _best_first(search, _table(search, of_trials, stored))
    why = {tag: str(trial.user_attrs[studies.WHY]) for tag, trial in stored.items() if studies.WHY in trial.user_attrs}
    return Results(table, [problem for _, problem in read_rows if problem], why)


def tag_of(row: Row) -> str:
    """Return the tag of a row's trial."""
    return str(row["tag"] if "tag" in row else row["run"].rpartition("/")[0])


def _stored(search: Search) -> dict[str, FrozenTrial]:
    """Return the trials in the study, by tag; of several with the same values one that has a result."""
    stored: dict[str, FrozenTrial] = {}
    for trial in studies.begun(search.study) if search.study else ():
        tag = trial.user_attrs.get(studies.TAG, f"trial {trial.number}")  # no tag: it could not be made
        if tag not in stored or stored[tag].value is None:
            stored[tag] = trial
    return stored


def _tags(search: Search, stored: Iterable[str]) -> list[str]:
    """Return the tags of all trials, in the order of their numbers."""
    here = [tag.name for tag in search.project.trials(search.tag) if tag.runs()]
    return list(dict.fromkeys([*stored, *here]))


# -- the table ---------------------------------------------------------------------------------------------------------


def _without_files(search: Search, tag: str, trial: FrozenTrial | None) -> Row:
    """Return the row of a trial that has no files here."""
    row: Row = {"run": f"{tag}/0", "status": _state(trial), "epoch": None}
    return row | ({search.run_column: trial.value} if trial and trial.value is not None else {})


def _state(trial: FrozenTrial | None) -> str:
    return _STATES.get(trial.state.name, _OPEN) if trial else _OPEN


def _add_settings(of_trial: list[Row], trial: FrozenTrial, searched: Space) -> None:
    """Add the values that Optuna has suggested to the rows of runs that have not written theirs."""
    for name, value in config_file.flatten(suggestions.suggested(trial, searched)).items():
        for row in of_trial:
            row.setdefault(f"hparam/{name}", value)


def _table(search: Search, of_trials: dict[str, list[Row]], stored: dict[str, FrozenTrial]) -> Table:
    """Return the table of a search: as its title says, else with the settings that it varies and all metrics."""
    title = titles.read(search.project.title_file(search.tag))
    table = tables.of([row for of_trial in of_trials.values() for row in of_trial], title)
    if title is None:
        table = replace(table, headers=_headers(search, table.headers))
    return table if search.seeds == 1 else _by_trial(search, table, of_trials, stored)


def _headers(search: Search, headers: dict[str, str]) -> dict[str, str]:
    """Return the columns without settings that the search does not vary, its own metric as the first metric."""
    searched = [column for name in search.space for column in headers if f"{column}.".startswith(f"hparam/{name}.")]
    first = [column for column in headers if not column.startswith(("hparam/", "metric/"))]
    metrics = [column for column in (search.run_column, *headers) if column in headers and column.startswith("metric/")]
    return {column: headers[column] for column in (*first, *searched, *metrics)}


def _by_trial(search: Search, table: Table, of_trials: dict[str, list[Row]], stored: dict[str, FrozenTrial]) -> Table:
    """Return the table with a row for each trial of several runs; its status is that of all of them."""
    grouped = tables.grouped(table, "tag")
    for row in grouped.rows:
        tag = row["tag"]
        row["status"] = _state_of_all(of_trials[tag], search.seeds, stored.get(tag))
        if not search.runs(tag):  # the value is a mean of runs on another machine
            for name in (*groups.FIRST, f"{search.run_column}/n"):
                row.pop(name, None)
    first = {"tag": grouped.headers["tag"], "status": "status"}
    return replace(grouped, headers=first | grouped.headers)


def _state_of_all(of_trial: list[Row], seeds: int, trial: FrozenTrial | None) -> str:
    unfinished = [str(row["status"]) for row in of_trial if row["status"] != "finished"]
    if unfinished or len(of_trial) == seeds:
        return unfinished[0] if unfinished else "finished"
    return _state(trial)


def _best_first(search: Search, table: Table) -> Table:
    """Return the table with the finished trials on top, the best first, and the others as they were."""
    finished = [row for row in table.rows if row["status"] == "finished"]
    others = [row for row in table.rows if row["status"] != "finished"]
    if any(search.column in row for row in finished):
        best_on_top = replace(table, rows=finished)
        finished = tables.ordered(best_on_top, search.column, is_ascending=search.direction == "min").rows
    return replace(table, rows=finished + others)
