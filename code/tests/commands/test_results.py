"""`exper results`, and the end of `exper search`: what a search has found, whatever became of its trials."""

import csv
import json
import shutil
import signal
from typing import Any

import pytest

from exper.core import paths
from exper.runs import run_record
from tests.support import manager, searching
from tests.support.manager import exper, git, refused, the_run, untouched
from tests.support.searching import prepare

BEST = "wide+lr=0.01"
PICTURES = ["history_plots.png", "importance.png", "parallel_coordinate.png"]


def table(project: paths.Project, name: str = "wide") -> list[dict[str, str]]:
    """Return the rows of a table's csv."""
    with open(project.table_file(name, "csv"), newline="") as file:
        return list(csv.DictReader(file))


def pictures(project: paths.Project, name: str = "wide") -> list[str]:
    """Return the pictures of a search."""
    found = sorted((project.plots / name).iterdir())
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in found)
    return [path.name for path in found]


# -- after a real search -----------------------------------------------------------------------------------------------


def test_the_table_has_the_trials_best_first_and_those_that_did_not_finish_below(searched: paths.Project) -> None:
    rows = table(searched)
    assert [(row["run"], row["status"]) for row in rows] == [
        ("wide+lr=0.01/0", "finished"),
        ("wide+lr=0.1/0", "finished"),
        ("wide+lr=0.0001/0", "finished"),
        *sorted([("wide+lr=7.0/0", "failed"), ("wide+lr=-1.0/0", "failed")], key=lambda row: rows[3]["run"] != row[0]),
    ]
    assert [row["hparam/optimizer.lr"] for row in rows[:3]] == ["0.01", "0.1", "0.0001"]
    assert {row["hparam/optimizer.lr"] for row in rows[3:]} == {"7.0", "-1.0"}
    assert {row["metric/best/val/acc"] for row in rows[3:]} == {""}


def test_its_columns_are_the_settings_that_were_searched_and_all_metrics(searched: paths.Project) -> None:
    assert list(table(searched)[0]) == [
        *("run", "status", "epoch", "hparam/optimizer.lr"),
        *("metric/best/val/acc", "metric/best/epoch", "metric/last/epoch", "metric/last/val/acc"),
    ]
    lines = searched.table_file("wide", "md").read_text().splitlines()
    assert len(lines) == 2 + len(table(searched))
    assert lines[2].startswith("| wide+lr=0.01/0 | finished | 3 | 0.01 |")


def test_a_search_ends_with_what_results_shows(searched: paths.Project) -> None:
    at_the_end = searching.said(searched)
    before = table(searched)
    with untouched(searched.root):
        done = exper(searched, "results", "wide")
    assert table(searched) == before
    for said in (at_the_end, done.stdout + done.stderr):
        assert "5 trials: 3 finished, 2 failed" in said
        assert f"best val/acc 1: {BEST}. To train it again, type: rerun {BEST} -f" in said
        assert "__statistic__/table/wide.csv and .md; pictures: __statistic__/plot/wide/history_plots.png, " in said
    header, first, *_ = done.stdout.splitlines()
    assert header.split()[:4] == ["status", "epoch", "optimizer.lr", "best/val/acc"]
    assert first.split()[:3] == ["finished", "3", "0.01"]
    assert first.endswith(f"{BEST}/0")


def test_there_are_pictures_of_curves_and_settings(searched: paths.Project) -> None:
    assert pictures(searched) == PICTURES
    shutil.rmtree(searched.plots)
    exper(searched, "results", "wide")
    assert pictures(searched) == PICTURES


def test_the_best_can_be_trained_again_and_that_run_does_not_count(searched: paths.Project) -> None:
    exper(searched, "rerun", BEST, "-f")
    exper(searched, "results", "wide")
    assert [row["run"] for row in table(searched)].count(f"{BEST}/0") == 1
    assert len(table(searched)) == 5
    assert f"{BEST}/1" in exper(searched, "table", "wide").stdout


def test_json_has_raw_values_and_why_trials_failed(searched: paths.Project) -> None:
    found = json.loads(exper(searched, "results", "wide", "--json").stdout)
    assert found[0]["run"] == f"{BEST}/0"
    assert found[0]["metric/best/val/acc"] == pytest.approx(1.0, abs=1e-5)
    why = {row["hparam/optimizer.lr"]: row["why"] for row in found if "why" in row}
    assert why.keys() == {7.0, -1.0}
    assert "failed (exit code 1)" in why[7.0]
    assert "optimizer.lr must be above 0." in why[-1.0]


def test_a_title_of_the_users_chooses_the_columns(searched: paths.Project) -> None:
    searched.titles.mkdir(parents=True)
    searched.title_file("wide").write_text(
        '{"hparam": {"optimizer.lr": "rate", "epochs": "epochs"}, "metric": {"best/val/acc": "acc"}}'
    )
    exper(searched, "results", "wide")
    assert list(table(searched)[0]) == ["run", "status", "epoch", "rate", "epochs", "acc"]
    assert table(searched)[0]["run"] == f"{BEST}/0"


def test_a_trial_without_files_is_shown_with_what_the_study_knows(searched: paths.Project) -> None:
    shutil.rmtree(searched.tag(BEST).folder)
    said = exper(searched, "results", "wide").stderr
    first = table(searched)[0]
    assert (first["run"], first["status"], first["epoch"]) == (f"{BEST}/0", "finished", "")
    assert float(first["metric/best/val/acc"]) == pytest.approx(1.0, abs=1e-5)
    assert first["hparam/optimizer.lr"] == "0.01"
    assert f"rerun {BEST} -f" in said


def test_without_the_study_the_files_tell(searched: paths.Project) -> None:
    searched.tag("wide").journal.unlink()
    said = exper(searched, "results", "wide").stderr
    assert [row["run"] for row in table(searched)[:3]] == [f"{BEST}/0", "wide+lr=0.1/0", "wide+lr=0.0001/0"]
    assert "4 trials: 3 finished, 1 failed" in said
    assert "history_plots.png" in said
    assert "importance.png" not in said


def test_a_damaged_run_is_told_of_with_exit_code_1(searched: paths.Project) -> None:
    the_run(searched, f"{BEST}/0").statistic.write_text("{")
    said = exper(searched, "results", "wide", code=1).stderr
    assert "statistic.json is damaged" in said
    assert "best val/acc 0.9" in said
    assert {row["run"]: row["status"] for row in table(searched)}[f"{BEST}/0"] == "damaged"


def test_what_can_not_be_drawn_is_left_out_and_said(project: paths.Project) -> None:
    prepare(project, search='{"optimizer.lr": [0.5]}')
    done = exper(project, "search", "one")
    assert "search: no importance.png: that needs trials with different settings and results." in done.stderr
    assert pictures(project, "one") == ["history_plots.png", "parallel_coordinate.png"]
    assert "1 trial: 1 finished" in done.stderr


def test_several_seeds_are_one_row_with_mean_and_spread(project: paths.Project) -> None:
    prepare(project, search='{"optimizer.lr": [0.1, 0.01, 7.0]}')
    exper(project, "search", "sure", "-f", "--seeds", "2", code=1)
    rows = table(project, "sure")
    assert [(row["tag"], row["status"], row["runs"], row["finished"]) for row in rows] == [
        ("sure+lr=0.01", "finished", "2", "2"),
        ("sure+lr=0.1", "finished", "2", "2"),
        ("sure+lr=7.0", "failed", "1", "0"),
    ]
    values = [searching.best(the_run(project, f"sure+lr=0.01/{number}").folder)["val/acc"] for number in (0, 1)]
    assert float(rows[0]["metric/best/val/acc/mean"]) == pytest.approx(sum(values) / 2, abs=1e-12)
    assert rows[0]["metric/best/val/acc/n"] == "2"
    assert float(rows[0]["metric/best/val/acc/std"]) > 0
    for tag in project.trials("sure"):
        shutil.rmtree(tag.folder)
    exper(project, "results", "sure")
    first = table(project, "sure")[0]
    assert (first["tag"], first["status"], first["runs"]) == ("sure+lr=0.01", "finished", "")
    assert float(first["metric/best/val/acc/mean"]) == pytest.approx(sum(values) / 2, abs=1e-12)


def test_ctrl_c_shows_what_has_been_found(project: paths.Project) -> None:
    prepare(project, seconds="0.4", search='{"optimizer.lr": [0.1, 0.01, 0.001, 0.0001]}')
    searching_now = manager.start(project, "search", "wide")
    manager.wait_for(lambda: searching.noted(project, "ended") and len(searching.noted(project, "begun")) > 1, 60)
    manager.wait_for(lambda: len(manager.finished(project)) > 0)
    searching_now.send_signal(signal.SIGINT)
    said = searching_now.communicate(timeout=60)[0]
    assert "best val/acc" in said
    assert "To go on, type: exper search wide" in said
    assert table(project)[0]["status"] == "finished"


def test_a_database_knows_the_trials_of_all_machines(project: paths.Project) -> None:
    prepare(project, search='{"optimizer.lr": [0.1, 0.01]}')
    url = f"sqlite:///{project.data}/study.db"
    exper(project, "search", "wide", "--storage", url)
    for tag in project.trials("wide"):
        shutil.rmtree(tag.folder)
    assert "no trials here" in refused(project, "results", "wide")
    exper(project, "results", "wide", "--storage", url)
    assert [row["run"] for row in table(project)] == ["wide+lr=0.01/0", "wide+lr=0.1/0"]
    assert "has no search 'wide'" in refused(project, "results", "wide", "--storage", "sqlite:///:memory:")


# -- of files alone ----------------------------------------------------------------------------------------------------


def write_run(project: paths.Project, name: str, metrics: dict[str, float], status: str = "finished") -> None:
    """Write a run as a search leaves it."""
    run = the_run(project, name)
    run.folder.mkdir(parents=True)
    record = run_record.begin(run_record.new(run.tag, "0" * 40, 0, 1), ["search", "wide"])
    run_record.write(run, run_record.end(record | {"id": run.id}, status, 0))
    best: dict[str, Any] = {"epoch": 2} | metrics
    run.statistic.write_text(json.dumps({"hparam": {"optimizer.lr": 0.1}, "metric": {"last": best, "best": best}}))
    run.history.write_text("".join(json.dumps({"epoch": epoch} | metrics) + "\n" for epoch in (1, 2)))


def tag_search(project: paths.Project, **changed: str) -> None:
    """Tag a commit that can be searched."""
    prepare(project, **changed)
    git(project.root, "tag", "wide")


def test_what_is_least_is_best_where_monitor_says_so(project: paths.Project) -> None:
    tag_search(project, monitor='"min val/loss"')
    for number, value in enumerate((0.5, 0.25, 2.0, float("nan"))):
        write_run(project, f"wide+lr={number}/0", {"val/loss": value})
    write_run(project, "wide+lr=9/0", {"val/loss": 0.1}, "pruned")
    said = exper(project, "results", "wide").stderr
    assert [row["run"] for row in table(project)] == [f"wide+lr={number}/0" for number in (1, 0, 2, 3, 9)]
    assert "best val/loss 0.25: wide+lr=1." in said
    assert "5 trials: 4 finished, 1 pruned" in said


def test_the_first_ten_rows_are_printed_and_the_file_has_all(project: paths.Project) -> None:
    tag_search(project)
    for number in range(12):
        write_run(project, f"wide+lr={number}/0", {"val/acc": number / 16})
    done = exper(project, "results", "wide")
    assert len(done.stdout.splitlines()) == 11
    assert "wide+lr=11/0" in done.stdout.splitlines()[1]
    assert len(table(project)) == 12


def test_names_from_runs_can_not_move_the_cursor(project: paths.Project) -> None:
    tag_search(project)
    write_run(project, "wide+lr=1/0", {"val/acc": 0.5, "\x1b[31mred": 1.0})
    done = exper(project, "results", "wide")
    assert "\x1b" not in done.stdout + done.stderr


def test_a_database_that_is_not_there_is_not_made(project: paths.Project) -> None:
    tag_search(project)
    write_run(project, "wide+lr=1/0", {"val/acc": 0.5})
    (project.data / "empty.db").touch()
    for name in ("typo.db", "empty.db"):
        said = refused(project, "results", "wide", "--storage", f"sqlite:///{project.data}/{name}")
        assert "that storage has no search 'wide'" in said
    assert [(path.name, path.stat().st_size) for path in project.data.iterdir()] == [("empty.db", 0)]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("wid", "there is no tag 'wid'. Did you mean 'wide'?"),
        ("plain", "the tag 'plain' is of no search."),
        ("wide+lr=1", "'wide+lr=1' is a trial. Type: exper results wide"),
        ("../wide", "there is no tag"),
    ],
)
def test_what_is_no_search_is_refused(project: paths.Project, word: str, said: str) -> None:
    git(project.root, "tag", "plain")
    tag_search(project)
    write_run(project, "wide+lr=1/0", {"val/acc": 0.5})
    with untouched(project.root):
        assert said in refused(project, "results", word)
    assert not project.plots.exists()


def test_a_search_without_trials_is_refused(project: paths.Project) -> None:
    tag_search(project)
    assert "has no trials here. Type: exper search wide" in refused(project, "results", "wide")
