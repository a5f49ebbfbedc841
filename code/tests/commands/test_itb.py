"""`itb`: what a real TensorBoard shows of chosen runs, and what is left of it."""

import functools
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import psutil
import pytest

from exper.core import paths
from exper.statistic import rows
from tests.conftest import copy_project
from tests.support import boards, browser, campaign, manager
from tests.support.boards import curve, opened, runs
from tests.support.manager import exper, refused, start, wait_for, write

POINTS = [(1, 1.0), (2, 2.0), (3, 3.0)]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder for temporary files, in which nothing is left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert [name for name in os.listdir(folder) if not name.startswith("torchinductor")] == []


@pytest.fixture(scope="module")
def _one(module_project: paths.Project) -> paths.Project:
    write(module_project, main=boards.CURVES)
    exper(module_project, "run", "base")
    return module_project


@pytest.fixture(scope="module")
def _three(_one: paths.Project) -> paths.Project:
    project = copy_project(_one, _one.root.parent / "three")
    exper(project, "rerun", "base")
    exper(project, "run", "other")
    return project


@pytest.fixture
def one(_one: paths.Project, tmp_path: Path) -> paths.Project:
    """Return a project with the run base/0."""
    return copy_project(_one, tmp_path / "it's a próject")


@pytest.fixture
def three(_three: paths.Project, tmp_path: Path) -> paths.Project:
    """Return a project with the runs base/0, base/1 and other/0."""
    return copy_project(_three, tmp_path / "it's a próject")


def test_the_chosen_runs_are_shown_as_tag_and_id(three: paths.Project) -> None:
    chosen = {
        (): ["base/0", "base/1", "other/0"],
        ("base",): ["base/0", "base/1"],
        ("base/1", "other"): ["base/1", "other/0"],
        ("*/0",): ["base/0", "other/0"],
        ("finished",): ["base/0", "base/1", "other/0"],
    }
    for words, shown in chosen.items():
        with opened(three, *words) as (address, _):
            assert runs(address) == shown
            assert curve(address, shown[-1], "val/acc") == POINTS


def test_what_a_list_names_and_is_not_there_is_said(three: paths.Project, capfd: pytest.CaptureFixture[str]) -> None:
    three.list_file("mine").write_text("base/1\nbase/7\n")
    with opened(three, "mine") as (address, _):
        assert runs(address) == ["base/1"]
    assert "mine.txt names 'base/7'" in capfd.readouterr().err


def test_runs_come_and_go_while_it_is_open(one: paths.Project) -> None:
    with opened(one, "base", "--", "--reload_interval=1") as (address, _):
        exper(one, "rerun", "base")
        wait_for(lambda: runs(address) == ["base/0", "base/1"])
        exper(one, "rm", "base/0", "--yes")
        wait_for(lambda: runs(address) == ["base/1"])
        assert curve(address, "base/1", "val/acc") == POINTS


def test_a_run_without_curves_is_said_and_shown_once_it_has_some(
    project: paths.Project, capfd: pytest.CaptureFixture[str]
) -> None:
    write(project, main=manager.READY + "ready()\nseconds_until('go')\n" + boards.CURVES + "seconds_until('end')\n")
    with manager.training(project, "run", "base"):
        folder = manager.the_run(project, "base/0").folder
        with opened(project, "base", "--", "--reload_interval=1") as (address, _):
            assert runs(address) == []
            assert "no TensorBoard files yet: base/0" in capfd.readouterr().err
            (folder / "go").touch()
            wait_for(lambda: curve(address, "base/0", "val/acc") == POINTS)


def test_what_can_not_be_shown_is_refused_in_one_line(one: paths.Project) -> None:
    says = {
        ("bas",): "'base'",
        ("base/7",): "base/7",
        ("../x",): "'..'",
        ("nope.txt",): "nope.txt",
        ("--port", "7"): "--port",
        ("base", "--", "--port", "x"): "--port",
        ("base", "--", "--nope"): "--nope",
        ("base", "--", "word"): "word",
        ("base", "--", "--logdir=/"): "--logdir",
        ("base", "--", "--bind_all", "--host=x"): "--bind_all",
        ("base", "--", "--host=192.0.2.1"): "192.0.2.1",
        ("base", "--", "--port=99999"): "99999",
    }
    for words, what in says.items():
        error = refused(one, "itb", *words)
        assert what in error
        assert len(error.splitlines()) == 1, error


def test_without_runs_it_is_refused(project: paths.Project) -> None:
    assert "run <tag>" in refused(project, "itb")


def test_a_taken_port_is_refused(one: paths.Project) -> None:
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in refused(one, "itb", "base", "--", f"--port={port}")


def test_each_takes_the_next_free_port_on_this_machine_alone(one: paths.Project) -> None:
    with opened(one, "base") as (first, itb), opened(one, "base") as (second, _):
        assert first != second
        assert runs(first) == runs(second)
        listening = psutil.Process(itb.pid).net_connections()
        assert {one.laddr.ip for one in listening if one.status == psutil.CONN_LISTEN} <= {"127.0.0.1", "::1"}


def test_flags_are_passed_through(one: paths.Project) -> None:
    with opened(one, "base", "--", "--port=0", "--path_prefix=/here", "--load_fast=false") as (address, itb):
        assert address.endswith("/here/")
        assert runs(address) == ["base/0"]
        assert psutil.Process(itb.pid).children() == []
    assert "--bind_all" in exper(one, "itb", "base", "--", "--help").stdout


def test_a_signal_ends_it_and_nothing_is_left(one: paths.Project, temporary: Path) -> None:
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        with opened(one, "base") as (_, itb):
            children = psutil.Process(itb.pid).children(recursive=True)
            itb.send_signal(number)
            assert itb.wait(30) == code
            assert [child for child in children if not manager.is_gone(child.pid)] == []
            assert os.listdir(temporary) == []


def test_a_signal_while_it_starts_leaves_nothing(one: paths.Project) -> None:
    for seconds in (0.1, 0.3, 0.5, 0.7, 1.0):
        itb = start(one, "itb", "base")
        time.sleep(seconds)
        itb.terminate()
        itb.communicate(timeout=30)


def test_what_a_killed_one_leaves_goes_with_the_next(one: paths.Project, temporary: Path) -> None:
    with opened(one, "base") as (_, killed):
        killed.kill()
        killed.wait(30)
    (left,) = temporary.iterdir()
    os.utime(left, (0, 0))
    with opened(one, "base"), opened(one, "base"):
        assert not left.exists()
        assert len(list(temporary.iterdir())) == 2


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_it_ends_with_ctrl_c_or_the_terminal(three: paths.Project, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} IS NOT INSTALLED: itb is not tested there")
    options = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}[shell]
    env = os.environ | {"PS1": "ready> ", "PROMPT": "ready> "}
    with pexpect.spawn(shell, options, cwd=three.root, timeout=20, encoding="utf-8", env=env) as terminal:
        terminal.expect("ready> ")
        terminal.sendline(". code/source.sh")
        for word in ("base", "'*/1'"):
            terminal.expect("ready> ")
            terminal.sendline(f"itb {word}")
            terminal.expect(r"(http://\S+) shows")
            terminal.sendcontrol("c")
        terminal.expect("ready> ")
        terminal.sendline("itb other/0")
        terminal.expect(r"(http://\S+) shows 1 run\. ")
        pids = [child.pid for child in psutil.Process(terminal.pid).children(recursive=True)]
    wait_for(lambda: all(map(manager.is_gone, pids)))


def test_curves_of_a_continued_run_are_those_of_its_history(tmp_path: Path) -> None:
    """Real training, killed and continued before the eyes of both of TensorBoard's loaders."""
    project = paths.Project(campaign.make_project(tmp_path / "project"))
    training = campaign.exper(project.root, "run", "base", "epochs=4", "log_every_steps=1")
    run = manager.the_run(project, "base/0")
    with training:
        wait_for(lambda: len(boards.history(run)) > 200, 60)  # of 79 steps an epoch
        campaign.kill(training, "both")
    lost = len([line for line in boards.history(run) if "step/loss" in line])
    with opened(project, "base") as (fast, _), opened(project, "base", "--", "--load_fast=false") as (slow, _):
        for address in (fast, slow):
            wait_for(functools.partial(has_points, address, "step/loss", lost - 1))  # the kill may precede the last
        exper(project, "continue", "base")
        lines = [line for line in boards.history(run) if "step/loss" in line]
        assert "continues after epoch 2, step 158" in run.log.read_text()
        for address in (fast, slow):
            wait_for(functools.partial(has_points, address, "val/loss", 4))
            points = curve(address, "base/0", "step/loss")
            assert [step for step, _ in points] == [line["step"] for line in lines] == list(range(1, 317))
            assert [value for _, value in points] == pytest.approx([line["step/loss"] for line in lines])


def has_points(address: str, tag: str, count: int) -> bool:
    return len(curve(address, "base/0", tag)) >= count


@browser.needed
def test_the_page_shows_runs_curves_and_settings(tmp_path: Path) -> None:
    """Real training, seen by a real browser."""
    project = paths.Project(campaign.make_project(tmp_path / "project"))
    exper(project, "run", "base", "epochs=2")
    exper(project, "run", "slow", "epochs=2", "optimizer.lr=0.0001")
    row = rows.of(manager.the_run(project, "slow/0"))
    with opened(project) as (address, _), boards.page(f"{address}#timeseries") as page:
        names = page.locator("runs-data-table")
        names.get_by_text("slow/0").wait_for()
        assert "base/0" in names.inner_text()
        page.get_by_text("train/loss").first.wait_for()
        page.wait_for_timeout(1500)  # until the curves are drawn
        browser.keep_picture(page, "itb-curves")
        page.get_by_role("tab", name="HParams").click()
        value = f"{row['metric/best/val/loss']:#.5g}"
        for text in ("hparam/optimizer.lr", "metric/best/val/loss", "0.00010000", value):
            page.get_by_text(text).locator("visible=true").first.wait_for()
        browser.keep_picture(page, "itb-hparams")
