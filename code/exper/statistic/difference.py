"""The differences between two runs, tags or config files, under the names of a table's columns."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exper.config import config_file
from exper.core import paths, statistic_file
from exper.core.errors import Refused
from exper.core.statistic_file import Statistic
from exper.repository.client import GitFailed
from exper.repository.repository import Repository
from exper.runs import commits, run_record, select, status, tags
from exper.statistic import cells, rows

Values = dict[str, Any]
ABSENT = cells.MISSING
RUN = "run"
SETTINGS = "settings"
PACKAGES = "packages"
METRICS = "metrics"
_JOB_VARIABLES = "SLURM_"  # they differ in every job


@dataclass
class Side:
    """The values of a run, tag or config file, by section and name. It lacks a section that is unknown."""

    name: str
    sections: dict[str, Values] = field(default_factory=dict)
    commit: str | None = None


@dataclass(frozen=True)
class Pair:
    """Two values that differ; ABSENT stands for a missing one."""

    a: Any
    b: Any

    @property
    def difference(self) -> Any:
        """Return b - a if both are numbers, else ABSENT."""
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in (self.a, self.b)):
            return self.b - self.a
        return ABSENT


def side(project: paths.Project, word: str) -> Side:
    """Read a run, a tag's commit or a config file; a tag, too, may have a name that ends in .py.

    Raises:
        Refused: it does not exist, or can't be read.
    """
    if word.endswith(".py") and (Path(word).exists() or Repository(project.root).tag(word) is None):
        return _of_file(word)
    reference = tags.parse_reference(word)
    if reference.number is None:
        return _of_tag(project, reference.tag)
    return _of_run(project, select.runs(project, reference)[0])


def _of_file(word: str) -> Side:
    try:
        source = Path(word).read_bytes()
    except OSError as error:
        raise Refused(f"{word} can't be read: {error.strerror}.") from None
    return Side(word, {SETTINGS: _settings(config_file.read(source, word))})


def _of_tag(project: paths.Project, name: str) -> Side:
    repository = Repository(project.root)
    tag = select.git_tag(repository, project, name)
    seed = tags.trailer_number(tag, "Exper-Seed")
    run: dict[str, Values] = {} if seed is None else {RUN: {"seed": seed}}
    return Side(name, run | {SETTINGS: _of_commit(repository, tag.commit)}, tag.commit)


def _of_commit(repository: Repository, commit: str) -> Values:
    source = repository.file(commit, commits.CONFIG)
    return {} if source is None else _settings(config_file.read(source))


def _settings(config: Mapping[str, Any]) -> Values:
    """Return settings by dotted names as in statistic.json: without those of a search, tuples as lists."""
    kept = {name: value for name, value in config.items() if name not in config_file.SEARCH_SETTINGS}
    return {name: _listed(value) for name, value in config_file.flatten(kept).items()}


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _listed(item) for name, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


def _of_run(project: paths.Project, run: paths.Run) -> Side:
    record = run_record.read(run)
    statistic = statistic_file.read_or_empty(run)
    row = rows.row(run, "finished", statistic)  # "finished": with metrics, whatever its status
    side = Side(str(run), commit=record.get("commit"))
    side.sections[RUN] = {"status": status.derive(run, record), "epoch": row["epoch"], "seed": record["seed"]}
    if "hparam" in statistic.content:
        side.sections[SETTINGS] = _under(row, "hparam/")
    elif side.commit is not None:
        with contextlib.suppress(GitFailed):  # this repository has lost the commit
            side.sections[SETTINGS] = _of_commit(Repository(project.root), side.commit)
    side.sections |= {PACKAGES: record.get("versions", {}), "machine": _machine(record, statistic)}
    for name in ("data", "pretrained", "outside_code"):
        if name in statistic.content:
            side.sections[name] = config_file.flatten(statistic.section(name))
    side.sections[METRICS] = _under(row, "metric/")
    return side


def _under(row: rows.Row, start: str) -> Values:
    return {name.removeprefix(start): value for name, value in row.items() if name.startswith(start)}


def _machine(record: run_record.Record, statistic: Statistic) -> Values:
    variables = {name: value for name, value in record.get("environment", {}).items() if _JOB_VARIABLES not in name}
    machine = {"host": record.get("host"), "threads": record.get("threads")}
    return machine | statistic.section("device") | variables


def sections(a: Side, b: Side) -> dict[str, dict[str, Pair]]:
    """Return the differing values by section and name; sections that only one side has are left out."""
    compared = {name: _pairs(a.sections[name], b.sections[name]) for name in a.sections if name in b.sections}
    return {name: pairs for name, pairs in compared.items() if pairs}


def _pairs(a: Values, b: Values) -> dict[str, Pair]:
    pairs = {name: Pair(a.get(name, ABSENT), b.get(name, ABSENT)) for name in {**a, **b}}
    return {name: pair for name, pair in pairs.items() if not run_record.is_equal(pair.a, pair.b)}
