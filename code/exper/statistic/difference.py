"""What differs between two runs, tags or config files, under the names that a table has."""

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
RUN, SETTINGS, PACKAGES, METRICS = "run", "settings", "packages", "metrics"
_OF_A_JOB = "SLURM_"  # variables that differ in every job


@dataclass
class Side:
    """One of the two: what is known of it, by section and name. A section that is not there is not known."""

    name: str
    sections: dict[str, Values] = field(default_factory=dict)
    commit: str | None = None


@dataclass(frozen=True)
class Pair:
    """Two values that are not the same; ABSENT is that of a side without one."""

    a: Any
    b: Any

    @property
    def difference(self) -> Any:
        """Return B - A of two numbers; else ABSENT."""
        if all(isinstance(one, int | float) and not isinstance(one, bool) for one in (self.a, self.b)):
            return self.b - self.a
        return ABSENT


def side(project: paths.Project, word: str) -> Side:
    """Return what is known of a run, of a tag's commit, or of a config file, whose name ends in .py as a tag's may.

    Raises:
        Refused: there is no such thing, or it can't be read.
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
    known = select.git_tag(repository, project, name)
    found = Side(name, {SETTINGS: _of_commit(repository, known.commit)}, known.commit)
    seed = tags.trailer_number(known, "Exper-Seed")
    return found if seed is None else Side(name, {RUN: {"seed": seed}, **found.sections}, known.commit)


def _of_commit(repository: Repository, commit: str) -> Values:
    source = repository.file(commit, commits.CONFIG)
    return {} if source is None else _settings(config_file.read(source))


def _settings(config: Mapping[str, Any]) -> Values:
    """Return settings by dotted names as statistic.json has them: without those of a search, tuples as lists."""
    kept = {name: value for name, value in config.items() if name not in config_file.SEARCH_SETTINGS}
    return {name: _listed(value) for name, value in config_file.flatten(kept).items()}


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _listed(item) for name, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


def _of_run(project: paths.Project, run: paths.Run) -> Side:
    record = run_record.read(run)
    statistic = statistic_file.read_or_empty(run)
    row = rows.row(run, "finished", statistic)  # with its metrics, though it may not have finished
    found = Side(str(run), commit=record.get("commit"))
    found.sections[RUN] = {"status": status.derive(run, record), "epoch": row["epoch"], "seed": record["seed"]}
    if "hparam" in statistic.content:
        found.sections[SETTINGS] = _under(row, "hparam/")
    elif found.commit is not None:
        with contextlib.suppress(GitFailed):  # the commit is not here any more
            found.sections[SETTINGS] = _of_commit(Repository(project.root), found.commit)
    found.sections |= {PACKAGES: record.get("versions", {}), "machine": _machine(record, statistic)}
    for part in ("data", "pretrained", "outside_code"):
        if part in statistic.content:
            found.sections[part] = config_file.flatten(statistic.section(part))
    found.sections[METRICS] = _under(row, "metric/")
    return found


def _under(row: rows.Row, start: str) -> Values:
    return {name.removeprefix(start): value for name, value in row.items() if name.startswith(start)}


def _machine(record: run_record.Record, statistic: Statistic) -> Values:
    variables = {name: value for name, value in record.get("environment", {}).items() if _OF_A_JOB not in name}
    machine = {"host": record.get("host"), "threads": record.get("threads")}
    return machine | statistic.section("device") | variables


def sections(a: Side, b: Side) -> dict[str, dict[str, Pair]]:
    """Return what differs by section and name, of the sections that both know."""
    known = [name for name in a.sections if name in b.sections]
    found = {name: _pairs(a.sections[name], b.sections[name]) for name in known}
    return {name: pairs for name, pairs in found.items() if pairs}


def _pairs(a: Values, b: Values) -> dict[str, Pair]:
    pairs = {name: Pair(a.get(name, ABSENT), b.get(name, ABSENT)) for name in {**a, **b}}
    return {name: pair for name, pair in pairs.items() if not run_record.is_equal(pair.a, pair.b)}
