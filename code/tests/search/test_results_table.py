"""The results of a search as a table, from files alone; tests/commands/test_results.py has whole searches."""

import json
from pathlib import Path

import pytest

from exper.core import paths
from exper.runs import run_record
from exper.search import results_table
from exper.search.results_table import Search
from exper.search.space import Choice


@pytest.fixture
def search(tmp_path: Path) -> Search:
    """Return a search without a study; its trials are still to be written."""
    return Search(paths.Project(tmp_path), "wide", {"lr": Choice((1, 2))}, "val/acc", "max", study=None)


def write(search: Search, lr: int, number: int, value: float, status: str = "finished") -> None:
    """Write a run of a trial."""
    run = search.project.tag(f"wide+lr={lr}").run(number)
    run.folder.mkdir(parents=True)
    record = run_record.begin(run_record.new(run.tag, "0" * 40, 0, 1), ["search", "wide"])
    run_record.write(run, run_record.end(record | {"id": number}, status, 0))
    metrics = {"epoch": 2, "val/acc": value}
    run.statistic.write_text(json.dumps({"hparam": {"lr": lr}, "metric": {"last": metrics, "best": metrics}}))


def test_with_one_run_a_trial_a_row_is_a_run(search: Search) -> None:
    write(search, 1, 0, 0.25)
    write(search, 2, 0, 0.5)
    rows = results_table.read(search).objects()
    assert [(row["run"], row["hparam/lr"], row[search.column]) for row in rows] == [
        ("wide+lr=2/0", 2, 0.5),
        ("wide+lr=1/0", 1, 0.25),
    ]


def test_without_a_study_the_largest_number_of_runs_is_the_number_of_seeds(search: Search) -> None:
    write(search, 1, 0, 0.25)
    write(search, 2, 0, 0.5)
    write(search, 2, 1, 1.0)
    assert search.seeds == 2
    rows = results_table.read(search).table.rows
    assert [(row["tag"], row["status"]) for row in rows] == [("wide+lr=2", "finished"), ("wide+lr=1", "open")]
    assert rows[0][search.column] == 0.75


def test_a_run_that_has_not_finished_stands_below_however_good(search: Search) -> None:
    write(search, 1, 0, 0.25)
    write(search, 2, 0, 0.5, "pruned")
    assert [results_table.tag_of(row) for row in results_table.read(search).table.rows] == ["wide+lr=1", "wide+lr=2"]
