"""`exper search`: trials are tagged commits with ordinary runs, and what happens to them is never lost."""

import contextlib
import os
import random
import re
import shlex
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pexpect
import psutil
import pytest

from exper.core import paths
from exper.runs import run_record
from exper.search import study as studies
from tests.support import database, manager, searching
from tests.support.manager import exper, refused, state, tags, the_run, untouched, write
from tests.support.searching import config_of, noted, prepare, told, trials


def test_each_combination_of_lists_is_a_tagged_commit_with_a_finished_run(project: paths.Project) -> None:
    prepare(project, search='{"optimizer.lr": [0.1, 0.01], "model.sizes": [[4], [4, 8]]}')
    with untouched(project.root):
        said = exper(project, "search", "wide").stderr
    assert len(trials(project, "wide")) == 4
    assert "wide+lr=0.01+sizes=_4_+" in "\n".join(trials(project, "wide"))
    assert all(state(project, f"{tag}/0") == "finished" for tag in trials(project, "wide"))
    assert "best val/acc 1" in said
    assert "4 finished" in said


def test_the_space_may_be_typed(project: paths.Project) -> None:
    prepare(project, search="None")
    words = ["wide", 'search={"optimizer.lr": [0.1, 0.01]}']
    for _ in range(2):  # the second goes on
        done = exper(project, "search", *words)
        assert done.returncode == 0, done.stderr
        assert {*trials(project, "wide")} == {"wide+lr=0.01", "wide+lr=0.1"}


def test_on_a_terminal_the_best_so_far_is_shown_from_the_beginning(project: paths.Project) -> None:
    prepare(project, search='{"optimizer.lr": [0.1, 0.01, 0.3, 0.001]}')
    quiet = exper(project, "search", "wide", "-f", "--trials", "3").stderr
    before = max(told(project, "wide"), key=lambda one: one.value or 0)
    program, *words = manager.command(project, "search", "wide", "--trials", "4")
    with pexpect.spawn(program, words, timeout=60, encoding="utf-8", dimensions=(24, 150)) as terminal:
        shown = re.findall(r"best ([0-9.]+) (wide\S*[0-9])", terminal.read())
    assert shown[0] == (f"{before.value:.4g}", before.user_attrs["tag"])
    assert shown[-1] == ("1", "wide+lr=0.01")
    assert [line.partition(":")[0] for line in quiet.splitlines()] == ["search"] * 3  # without one: results alone


def test_more_trials_are_added_to_those_there_are(project: paths.Project) -> None:
    prepare(project, search='{"optimizer.lr": {"low": 1e-4, "high": 1.0, "log": True}}', search_trials="2")
    exper(project, "search", "deep")
    assert len(trials(project, "deep")) == 2
    exper(project, "search", "deep", "--trials", "5")
    exper(project, "search", "deep")
    assert len(trials(project, "deep")) == len(noted(project, "ended")) == 5


def test_a_range_ends_at_the_last_value_that_its_steps_reach(project: paths.Project) -> None:
    space = '{"optimizer.lr": {"low": 0.1, "high": 0.75, "step": 0.2}, "epochs": {"low": 2, "high": 7, "step": 4}}'
    prepare(project, search=space)
    said = exper(project, "search", "deep", "-f", "--trials", "12", "--sampler", "random").stderr
    assert "Warning" not in said
    assert {one.params["epochs"] for one in told(project, "deep")} == {2, 6}
    assert {round(one.params["optimizer.lr"], 9) for one in told(project, "deep")} == {0.1, 0.3, 0.5, 0.7}


def test_values_suggested_again_are_answered_with_their_known_result(project: paths.Project) -> None:
    prepare(project)
    exper(project, "search", "wide", "--sampler", "random", "--trials", "12")
    assert len(told(project, "wide")) == 12
    assert len(trials(project, "wide")) == len(noted(project, "begun")) <= 3
    values = {(one.params["optimizer.lr"], one.value) for one in told(project, "wide")}
    assert len(values) == len(trials(project, "wide"))


def test_seeds_make_runs_whose_mean_counts(project: paths.Project) -> None:
    prepare(project, search='{"optimizer.lr": [0.1, 0.01]}')
    exper(project, "search", "sure", "-f", "--seeds", "3", "-j", "2")
    for one in told(project, "sure"):
        runs = [the_run(project, f"{one.user_attrs['tag']}/{number}") for number in range(3)]
        assert [run_record.read(run)["seed"] for run in runs] == [42, 43, 44]
        values = [searching.best(run.folder)["val/acc"] for run in runs]
        assert len(set(values)) > 1
        assert one.value == pytest.approx(sum(values) / 3, abs=1e-12)
    assert "3 seeds a trial, not 2" in refused(project, "search", "sure", "--seeds", "2")


def test_a_rerun_by_hand_leaves_the_ids_of_a_trials_seeds_to_its_search(project: paths.Project) -> None:
    prepare(project, seconds="0.3", search='{"optimizer.lr": [0.01]}')
    search = manager.start(project, "search", "sure", "-f", "--seeds", "3")
    manager.wait_for(lambda: noted(project, "begun"))
    search.send_signal(signal.SIGINT)
    search.communicate(timeout=30)
    exper(project, "rerun", "sure+lr=0.01", "-f")
    exper(project, "search", "sure")
    runs = [the_run(project, f"sure+lr=0.01/{number}") for number in range(4)]
    assert [run_record.read(run)["seed"] for run in runs] == [42, 43, 44, 42]
    assert [run_record.read(run)["command"][0] for run in runs] == [*["search"] * 3, "rerun"]
    (found,) = told(project, "sure")
    assert found.value == pytest.approx(sum(searching.best(run.folder)["val/acc"] for run in runs[:3]) / 3, abs=1e-12)


def test_a_trial_whose_metric_is_nan_has_no_result(project: paths.Project) -> None:
    prepare(project, search='{"optimizer.lr": [0.1, 0.01]}')
    nan = searching.MAIN.replace('"val/acc": (1', '"val/acc": math.nan if lr == 0.1 else (1')
    write(project, main=nan.replace('"best": best}', '"best": best or line}'))
    said = exper(project, "search", "wide", "-f", code=1).stderr
    assert "search: wide+lr=0.1/0: its best val/acc is nan\nsearch: these trials have no result" in said
    assert "2 trials: 2 finished" in said


def test_a_picture_that_needs_results_says_that_there_are_none(project: paths.Project) -> None:
    prepare(project, search='{"optimizer.lr": [0.1, 0.01]}')
    write(project, main=searching.MAIN.replace('"val/acc": (1', '"val/acc": math.nan * (1'))
    said = exper(project, "search", "wide", "-f", code=1).stderr
    assert "no parallel_coordinate.png: no trial has a number for val/acc." in said


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_settings_that_training_refuses_at_once_leave_nothing(project: paths.Project, jobs: str) -> None:
    prepare(project, search='{"optimizer.lr": [-1.0, -2.0, -3.0, -4.0, -5.0]}')
    before = manager.left(project)
    with untouched(project.root):
        assert "optimizer.lr must be above 0." in refused(project, "search", "wide", "-j", jobs)
    assert tags(project) == []
    assert manager.left(project) == before


def test_a_hopeless_trial_is_pruned_and_says_when_and_why(project: paths.Project) -> None:
    changed = '{"optimizer.lr": {"low": 1e-9, "high": 1e-2, "log": True}}'
    prepare(project, epochs="8", seconds="0.15", search=changed)
    exper(project, "search", "deep", "--trials", "12", "--pruner", "median", "--sampler", "random", "-f", "-j", "2")
    pruned = [one.user_attrs["tag"] for one in told(project, "deep") if one.state.name == "PRUNED"]
    assert pruned
    record = manager.record(project, f"{pruned[0]}/0")
    assert record["status"] == "pruned"
    assert record["pruned"]["epoch"] >= 1
    seen = [len(the_run(project, f"{tag}/0").history.read_text().splitlines()) for tag in pruned]
    assert max(seen) < 8
    assert all(one.last_step == 7 for one in told(project, "deep") if one.state.name == "COMPLETE")
    assert "median pruner: val/acc" in record["pruned"]["why"]
    assert not project.tag(pruned[0]).snapshot.exists()
    assert all(f"{tag}/0" not in manager.finished(project) for tag in pruned)


def test_each_run_at_a_time_gets_a_gpu_of_its_own(project: paths.Project) -> None:
    prepare(project, seconds="0.2")
    exper(project, "search", "wide", "-j", "3", env={**os.environ, "CUDA_VISIBLE_DEVICES": "4,GPU-7"})
    found = [
        manager.record(project, f"{tag}/0")["environment"]["CUDA_VISIBLE_DEVICES"] for tag in trials(project, "wide")
    ]
    assert sorted(found) == ["4", "4", "GPU-7"]


# -- after a search of five rates: one fails, one is refused -----------------------------------------------------------


def test_a_trial_is_a_child_of_the_searched_commit_that_differs_in_its_settings_alone(searched: paths.Project) -> None:
    tag = "wide+lr=0.01"
    parent = manager.git(searched.root, "rev-parse", f"{tag}^{{commit}}^").strip()
    assert parent == manager.git(searched.root, "rev-parse", "wide^{commit}").strip()
    changed = manager.git(searched.root, "diff", "--unified=0", "wide", tag)
    lines = {line for line in changed.splitlines() if line[0] in "+-" and not line.startswith(("+++", "---"))}
    assert lines == {
        '-optimizer = {"name": "sgd", "lr": 0.1}  # too high for ResNets',
        '+optimizer = {"name": "sgd", "lr": 0.01}  # too high for ResNets',
        "-threads = None",
        f"+threads = {run_record.read(the_run(searched, f'{tag}/0'))['threads']}",
        f'-search = {{"optimizer.lr": {searching.RATES}}}',
        "+search = None",
    }
    assert "Exper-Set: optimizer.lr=0.01" in manager.git(searched.root, "cat-file", "tag", tag)


def test_the_runs_of_a_trial_are_ordinary_runs(searched: paths.Project) -> None:
    exper(searched, "rerun", "wide+lr=0.01/0", "-f")
    first = the_run(searched, "wide+lr=0.01/0")
    second = the_run(searched, "wide+lr=0.01/1")
    assert first.history.read_bytes() == second.history.read_bytes()
    assert "finished already" in exper(searched, "continue", "wide+lr=0.01/0").stderr
    table = exper(searched, "table", "wide").stdout
    assert all(f"{tag}/0" in table for tag in trials(searched, "wide"))
    exper(searched, "record", "wide+lr=0.1")


def test_a_second_call_repeats_nothing_and_keeps_to_the_tag(searched: paths.Project) -> None:
    begun = noted(searched, "begun")
    prepare(searched, search='{"optimizer.lr": [0.7]}')
    said = exper(searched, "search", "wide").stderr
    assert "goes on with the code and the space of the tag 'wide'" in said
    assert noted(searched, "begun") == begun  # what failed is not tried again either
    assert len(begun) == 5
    assert len(trials(searched, "wide")) == 4


def test_a_failed_trial_is_reported_and_the_others_go_on(searched: paths.Project) -> None:
    said = searching.said(searched)
    assert "wide+lr=7.0/0: failed (exit code 1)" in said
    assert "3 finished" in said
    assert state(searched, "wide+lr=7.0/0") == "failed"


def test_a_refused_trial_among_others_is_reported_and_leaves_no_tag(searched: paths.Project) -> None:
    assert "wide+lr=-1.0/0: optimizer.lr must be above 0." in searching.said(searched)
    assert trials(searched, "wide") == ["wide+lr=0.0001", "wide+lr=0.01", "wide+lr=0.1", "wide+lr=7.0"]
    failed = [trial.user_attrs["why"] for trial in told(searched, "wide") if trial.state.name == "FAIL"]
    assert "wide+lr=-1.0/0: optimizer.lr must be above 0." in failed


def test_snapshots_of_finished_trials_are_removed_and_tags_are_packed(searched: paths.Project) -> None:
    assert [tag.name for tag in searched.tags() if tag.snapshot.exists()] == ["wide+lr=7.0"]  # failed
    assert (searched.root / ".git/packed-refs").read_text().count("refs/tags/wide+") == 4


@pytest.mark.parametrize("kind", ["sampler", "pruner"])
def test_a_stored_name_that_is_unknown_is_refused_until_an_option_replaces_it(
    searched: paths.Project, kind: str
) -> None:
    commit = manager.git(searched.root, "rev-parse", "wide^{commit}").strip()
    study = studies.load(searched.tag("wide"), commit, None)
    assert study is not None
    study.set_user_attr(kind, "medan" if kind == "pruner" else "tpee")
    message = refused(searched, "search", "wide")
    assert f"the {kind} of this search: " in message
    assert f"Did you mean {'median' if kind == 'pruner' else 'tpe'!r}?" in message
    assert f"Choose one: --{kind}" in message
    exper(searched, "search", "wide", f"--{kind}", "none" if kind == "pruner" else "grid")


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["wide", "-j", "0"], "no whole number above 0"),
        (["wide", "--trials", "x"], "no whole number above 0"),
        (
            ["wide", "--sampler", "tpee"],
            "--sampler: 'tpee' is unknown. Did you mean 'tpe'? Known: cmaes, grid, random, tpe.",
        ),
        (["wide", "--pruner", "Median"], "--pruner: 'Median' is unknown. Did you mean 'median'?"),
        (["wide", "search={}"], "no search space"),
        (["wide", 'search={"optimizer.lr": [0.1, 0.1]}'], "the value 0.1 twice"),
        (["lr=0.1"], "the tag is missing"),
        (["wide+lr=0.1"], "reserved for the trials"),
        (["x" * 300], "can't be a tag"),
        (["x" * 195], "can't be a tag"),
        (["main"], "is a branch"),
        (["wide", "optimizer.lr=high"], "a number"),
        (["wide", "--storage", "nothing://here"], "storage of the search can't be used"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(project: paths.Project, words: list[str], said: str) -> None:
    prepare(project)
    with manager.nothing_left(project):
        assert said in refused(project, "search", *words)


def test_a_search_needs_a_metric_to_make_best(project: paths.Project) -> None:
    prepare(project, monitor="None")
    assert "needs `monitor`" in refused(project, "search", "wide")


def test_uncommitted_changes_are_refused_or_saved(project: paths.Project) -> None:
    prepare(project)
    (project.code / "config.py").write_text((project.code / "config.py").read_text().replace("0.001]", "0.02]"))
    assert 'exper search wide -m "why"' in refused(project, "search", "wide")
    exper(project, "search", "wide", "-m", "nearer")
    assert "wide+lr=0.02" in trials(project, "wide")


def test_a_tag_of_the_users_own_is_left_alone(project: paths.Project) -> None:
    prepare(project)
    manager.git(project.root, "tag", "wide+lr=0.01")
    said = exper(project, "search", "wide", code=1).stderr
    assert "the tag 'wide+lr=0.01' is of another search or run" in said
    assert len(noted(project, "ended")) == 2


def test_a_long_or_odd_value_gets_a_hash_in_the_tag(project: paths.Project) -> None:
    prepare(project, search=f'{{"optimizer.name": ["a..b", "x" * 1, "ä/ö", "{"y" * 300}", "end.lock"]}}'.replace(
        '"x" * 1', '"x"'
    ))  # fmt: skip
    exper(project, "search", "odd")
    found = trials(project, "odd")
    assert len(found) == 5
    assert "odd+name=x" in found
    assert all(len(tag) <= 100 for tag in found)
    assert sum(len(tag.rpartition("+")[2]) == 8 for tag in found) == 4


# -- what is interrupted -----------------------------------------------------------------------------------------------


def test_ctrl_c_lets_runs_save_and_the_same_command_goes_on(project: paths.Project) -> None:
    prepare(project, seconds="0.3")
    search = manager.start(project, "search", "wide", "-j", "2")
    manager.wait_for(lambda: len(noted(project, "begun")) == 2)
    search.send_signal(signal.SIGINT)
    said = search.communicate(timeout=30)[0]
    assert search.returncode == 130
    assert "To go on, type: exper search wide" in said
    states = [state(project, f"{tag}/0") for tag in trials(project, "wide")]
    assert states == ["interrupted", "interrupted"]
    exper(project, "search", "wide", "-j", "2")
    assert sorted(noted(project, "ended")) == sorted(f"{tag}/0" for tag in trials(project, "wide"))
    assert len(trials(project, "wide")) == 3


def test_ctrl_c_twice_stops_what_does_not_end_at_the_first(project: paths.Project) -> None:
    prepare(project, search='{"optimizer.lr": [0.1, 0.01]}')
    deaf = "got = []\ndef note(number, frame):\n    got.append(1)\n    (run / 'got').touch()\n"
    deaf += "    if len(got) == 2: sys.exit(130)\nsignal.signal(signal.SIGINT, note)\n"
    write(project, main=f"{manager.READY}{deaf}ready()\ntime.sleep(60)\n")
    search = manager.start(project, "search", "wide", "-j", "2")
    folders = [project.tag(f"wide+lr={rate}").run(0).folder for rate in (0.1, 0.01)]
    manager.wait_for(lambda: all((folder / "ready").exists() for folder in folders))
    search.send_signal(signal.SIGINT)
    manager.wait_for(lambda: all((folder / "got").exists() for folder in folders))
    search.send_signal(signal.SIGINT)
    said = search.communicate(timeout=20)[0]
    assert search.returncode == 130
    assert said.endswith("To go on, type: exper search wide\n")
    assert {state(project, f"{tag}/0") for tag in trials(project, "wide")} == {"interrupted"}


def test_seeds_that_are_out_of_range_are_refused(project: paths.Project) -> None:
    prepare(project)
    (project.code / "seed").write_text(f"{2**63 - 1}\n")
    manager.commit(project)
    with manager.nothing_left(project):
        assert "the last of 2 seeds" in refused(project, "search", "wide", "-f", "--seeds", "2")


def test_after_kill_9_of_everything_nothing_is_lost_or_repeated(project: paths.Project) -> None:
    """Six kills at random moments; KILLS=50 in the environment makes it a campaign."""
    kills = int(os.environ.get("KILLS", "6"))
    chance = random.Random(0)
    rates = [round(0.5 / 1.3**number, 9) for number in range(2 * kills)]
    prepare(project, seconds="0.15", search=f'{{"optimizer.lr": {rates}}}')
    for _ in range(kills):
        search = manager.start(project, "search", "wide", "-j", "2")
        time.sleep(chance.uniform(0.2, 2.0))
        _kill_all(search.pid)
        search.communicate()
        manager.wait_for(lambda: not _alive(project))
    exper(project, "search", "wide", "-j", "2", timeout=300)
    ended = noted(project, "ended")
    assert set(ended) == {f"{tag}/0" for tag in trials(project, "wide")}
    again = {run for run in ended if ended.count(run) > 1}  # killed between its last line and the record of its end
    assert all(manager.record(project, run)["sessions"][0]["status"] == "died" for run in again)
    assert len(trials(project, "wide")) == len(rates)
    assert all(one.state.name == "COMPLETE" for one in told(project, "wide"))
    assert sorted(manager.finished(project)) == sorted(set(ended))


def test_kill_9_of_the_search_alone_ends_its_runs(project: paths.Project) -> None:
    prepare(project, seconds="0.5", epochs="20")
    search = manager.start(project, "search", "wide", "-j", "2")
    manager.wait_for(lambda: len(noted(project, "begun")) == 2)
    os.kill(search.pid, signal.SIGKILL)
    search.communicate()
    manager.wait_for(lambda: not _alive(project))
    assert {state(project, f"{tag}/0") for tag in trials(project, "wide")} == {"interrupted"}


def test_searchers_that_ask_at_once_ask_for_each_trial_once(project: paths.Project) -> None:
    rates = [round(0.5 / 1.3**number, 9) for number in range(12)]
    prepare(project, search=f'{{"optimizer.lr": {rates}}}')
    slow = "    trial = study.ask()\n"
    path = project.code / "exper" / "search" / "study.py"
    path.write_text(path.read_text().replace(slow, f"    import time; time.sleep(0.2)\n{slow}"))
    manager.commit(project)
    exper(project, "search", "wide", "-f", "--trials", "1")
    searchers = [manager.start(project, "search", "wide", "--trials", "5") for _ in range(3)]
    assert [one.communicate(timeout=60) and one.returncode for one in searchers] == [0, 0, 0]
    assert len(told(project, "wide")) == 5
    exper(project, "search", "wide", "--trials", "12")
    assert {one.state.name for one in told(project, "wide")} == {"COMPLETE"}
    assert len(trials(project, "wide")) == len(set(noted(project, "ended"))) == len(noted(project, "ended")) == 12


def test_two_searchers_share_the_trials(project: paths.Project) -> None:
    prepare(project, seconds="0.1", search='{"optimizer.lr": [0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.2]}')
    first = manager.start(project, "search", "wide")
    manager.wait_for(lambda: noted(project, "begun"))
    second = manager.start(project, "search", "wide")
    for one in (first, second):
        said = one.communicate(timeout=60)[0]
        assert one.returncode == 0, said
    assert sorted(noted(project, "ended")) == sorted(f"{tag}/0" for tag in trials(project, "wide"))
    assert len(trials(project, "wide")) == 8
    pids = {manager.record(project, f"{tag}/0")["command"][0] for tag in trials(project, "wide")}
    assert pids == {"search"}
    owners = {one.user_attrs["owner"]["pid"] for one in told(project, "wide")}
    assert owners == {first.pid, second.pid}


def test_a_searcher_takes_over_what_another_has_left(project: paths.Project) -> None:
    prepare(project, seconds="0.4", epochs="8")
    first = manager.start(project, "search", "wide")
    manager.wait_for(lambda: noted(project, "begun"))
    second = manager.start(project, "search", "wide")
    manager.wait_for(lambda: len(noted(project, "begun")) == 2)
    _kill_all(first.pid)
    first.communicate()
    assert second.wait(60) == 0
    assert second.stdout is not None
    second.stdout.close()
    assert len(set(noted(project, "ended"))) == len(noted(project, "ended")) == 3


def test_two_searchers_that_begin_at_once_do_not_take_over_the_same_trial(project: paths.Project) -> None:
    prepare(project, seconds="0.2", search='{"optimizer.lr": [0.1, 0.05, 0.02, 0.01]}')
    first = manager.start(project, "search", "wide", "-j", "4")
    manager.wait_for(lambda: len(noted(project, "begun")) == 4)
    _kill_all(first.pid)
    first.communicate()
    manager.wait_for(lambda: not _alive(project))
    both = [manager.start(project, "search", "wide", "-j", "2", "--pruner", "median") for _ in range(2)]
    for one in both:
        said = one.communicate(timeout=60)[0]
        assert one.returncode == 0, said
    assert {one.state.name for one in told(project, "wide")} == {"COMPLETE"}
    assert sorted(noted(project, "ended")) == sorted(f"{tag}/0" for tag in trials(project, "wide"))


def test_results_that_cannot_be_written_do_not_hide_how_the_search_ended(project: paths.Project) -> None:
    prepare(project)
    project.title_file("wide").parent.mkdir(parents=True)
    project.title_file("wide").write_text("{")
    said = exper(project, "search", "wide").stderr
    assert "title/wide.json" in said
    assert len(manager.finished(project)) == 3


def test_a_search_goes_on_without_a_place_in_finished(project: paths.Project) -> None:
    prepare(project, seconds="0.3")
    search = manager.start(project, "search", "wide")
    manager.wait_for(lambda: noted(project, "begun"))
    project.list_file("finished").parent.mkdir(parents=True, exist_ok=True)
    project.list_file("finished").mkdir()
    said = search.communicate(timeout=60)[0]
    assert search.returncode == 0, said
    assert said.count("finished.txt: Is a directory") == 3
    assert "3 trials: 3 finished" in said
    assert "Traceback" not in said


@manager.can_mount
def test_a_full_disk_is_told_in_a_line(project: paths.Project) -> None:
    prepare(project, seconds="0.1")
    done, _ = manager.on_a_small_disk(project, project.result, "search", "wide")
    assert done.returncode in (1, 2), done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_leaves_no_half_record(project: paths.Project) -> None:
    """A limit on the size of files stands for it: the journal meets it in the middle of a record."""
    prepare(project)
    exper(project, "search", "wide", "--trials", "1")
    journal = project.tag("wide").journal
    size = journal.stat().st_size + 50
    command = manager.command(project, "search", "wide", "--trials", "3")
    done = subprocess.run(["prlimit", f"--fsize={size}", *command], capture_output=True, text=True, cwd=project.root)
    assert done.returncode == 1, done.stderr
    assert f"search: File too large: {journal}" in done.stderr
    assert journal.read_bytes().endswith(b"\n")
    exper(project, "search", "wide", "--trials", "3")
    assert {one.state.name for one in told(project, "wide")} == {"COMPLETE"}
    assert len(told(project, "wide")) == 3


def test_half_a_record_that_a_kill_has_left_is_cut_off(project: paths.Project) -> None:
    prepare(project)
    exper(project, "search", "wide", "--trials", "1")
    with project.tag("wide").journal.open("a") as file:
        file.write('{"op_code": 4, "wor')
    exper(project, "results", "wide")
    exper(project, "search", "wide", "--trials", "3")
    exper(project, "search", "wide")
    assert [one.state.name for one in told(project, "wide")] == ["COMPLETE"] * 3


def test_a_database_that_is_locked_for_too_long_ends_a_search_that_can_go_on(project: paths.Project) -> None:
    prepare(project, seconds="0.3")
    file = project.root / "__result__" / "study.db"
    url = f"sqlite:///{file}?timeout=0.2"
    search = manager.start(project, "search", "wide", "--storage", url)
    manager.wait_for(lambda: noted(project, "begun"))
    with contextlib.closing(sqlite3.connect(file, timeout=20)) as other:
        other.execute("BEGIN EXCLUSIVE")
        said = search.communicate(timeout=60)[0]
    assert search.returncode == 1, said
    assert "Traceback" not in said
    assert said.endswith(f"database is locked. To go on, type: exper search wide --storage {shlex.quote(url)}\n")
    manager.wait_for(lambda: not _alive(project))
    exper(project, "search", "wide", "--storage", url)
    assert sorted(noted(project, "ended")) == sorted(f"{tag}/0" for tag in trials(project, "wide"))
    assert len(trials(project, "wide")) == 3


@database.needed
def test_two_machines_share_a_search_in_a_database(project: paths.Project, tmp_path: Path) -> None:
    prepare(project, seconds="0.2", search='{"optimizer.lr": [0.1, 0.05, 0.02, 0.01, 0.005, 0.002]}')
    other = paths.Project(tmp_path / "other machine")
    with database.served() as url:
        first = manager.start(project, "search", "wide", "-f", "--storage", url)
        manager.wait_for(lambda: noted(project, "begun"))
        subprocess.run(["git", "clone", "--quiet", project.root, other.root], check=True)
        other.data.mkdir(exist_ok=True)
        second = manager.start(other, "search", "wide", "--storage", url)
        for one in (first, second):
            said = one.communicate(timeout=60)[0]
            assert one.returncode == 0, said
        shown = exper(other, "results", "wide", "--storage", url, "--json").stdout
    ended = noted(project, "ended") + noted(other, "ended")
    assert sorted(ended) == [f"wide+lr={rate}/0" for rate in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)]
    assert noted(project, "ended")
    assert noted(other, "ended")
    assert all(run.removesuffix("/0") in shown for run in ended)
    everything = "".join(path.read_text() for path in project.result.rglob("run.json"))
    assert url not in everything


def _kill_all(pid: int) -> None:
    """SIGKILL a search with all that it has started, as the machine's end would."""
    every = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in every:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def _alive(project: paths.Project) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(str(project.root) in word for word in process.info["cmdline"] or [])
    ]


def test_a_run_of_the_search_is_never_waited_for_in_vain(project: paths.Project) -> None:
    """A run that somebody stops is left to the next call, and the search ends with what it has."""
    prepare(project, seconds="0.5", search='{"optimizer.lr": [0.1]}')
    search = manager.start(project, "search", "wide")
    manager.wait_for(lambda: noted(project, "begun"))
    os.kill(manager.record(project, "wide+lr=0.1/0")["pid"], signal.SIGTERM)
    said = search.communicate(timeout=30)[0]
    assert search.returncode == 1
    assert "wide+lr=0.1/0 interrupted; it goes on with the next call" in said
    exper(project, "search", "wide")
    assert state(project, "wide+lr=0.1/0") == "finished"
    assert config_of(project, "wide+lr=0.1").count("search = None") == 1
    assert isinstance(search, subprocess.Popen)
