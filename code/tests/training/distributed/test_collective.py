"""Two processes that train together, through the command line: the numbers of one, and no way to go wrong silently."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from exper.core import paths
from exper.runs import run_record, status
from exper.training.distributed import collective
from tests.conftest import isolate
from tests.support import play
from tests.support.manager import wait_for
from tests.support.together import SECONDS, SETTINGS, Together, wait_until_held


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Yield a project in which one/0 has trained in one process, and two/0, with the same seed, in two."""
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, tmp_path_factory.mktemp("home") / "home")
        made = Together(tmp_path_factory.mktemp("together") / "project")
        for words in (("run", "one", "-f", "processes=1"), ("run", "two", "-f")):
            code, output = made.exper(*words)
            assert code == 0, output
        yield made


def ranks(run: paths.Run) -> dict[int, psutil.Process]:
    """Return the processes that train, by their numbers."""
    found = {}
    for process in psutil.Process(run_record.read(run)["pid"]).children(recursive=True):
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if "RANK" in environment and "main.py" in " ".join(process.cmdline()):
            found[int(environment["RANK"])] = process
    return found


@contextlib.contextmanager
def held(together: Together, *words: str) -> Iterator[tuple["subprocess.Popen[str]", paths.Run]]:
    """Start a command that trains a new run of two, which waits in its eighth step."""
    tag = together.project.tag("two")
    before = tag.runs()
    with together.held():
        started = together.start(*words)
        wait_for(lambda: len(tag.runs()) > len(before), SECONDS)
        (run,) = (run for run in tag.runs() if run not in before)
        wait_until_held(run)
        yield started, run


def near(one: Any, other: Any) -> bool:
    """Tell whether numbers are the same to rounding."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(near(one[name], other[name]) for name in one if name != "weights")
    return bool(one == (pytest.approx(other, rel=1e-4, abs=1e-6) if isinstance(one, float) else other))


@pytest.mark.parametrize(
    ("config", "number"),
    [({"device": "auto"}, 2), ({"device": "cuda"}, 2), ({"device": "cuda:1"}, 1), ({"device": "cpu"}, 1),
     ({"device": "auto", "processes": 1}, 1), ({"device": "cpu", "processes": 3}, 3)],
)  # fmt: skip
def test_each_gpu_gets_a_process_unless_config_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], number: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert collective.wanted(config) == number


def test_the_numbers_are_those_of_one_process(together: Together) -> None:
    one, two = (play.history(together.run(tag)) for tag in ("one", "two"))
    assert len(one) == len(two) == 4 * (5 + 1)
    for before, after in zip(one, two, strict=True):
        before.pop("step/images", None), after.pop("step/images", None)
        images = before.pop("train/images", None), after.pop("train/images", None)
        assert images in ((None, None), (57 / 5, 57 / 10))
        assert near(before, after)
    results = [play.statistic(together.run(tag)) for tag in ("one", "two")]
    assert results[0]["metric"]["test"] == pytest.approx(results[1]["metric"]["test"], rel=1e-4)
    assert [result["device"]["processes"] for result in results] == [1, 2]
    states = [torch.load(together.run(tag).checkpoint / "epoch_last.path", weights_only=True) for tag in ("one", "two")]
    for name, weight in states[0]["ema"].items():
        assert torch.allclose(weight, states[1]["ema"][name], rtol=1e-3, atol=1e-5)


def test_the_log_tells_whose_line_it_is(together: Together) -> None:
    log = together.run("two").log.read_text()
    assert log.count("epoch 4/4") == log.count("test of epoch") == 1
    assert "Warning" not in log


def test_rerun_has_the_same_bits(together: Together) -> None:
    code, output = together.exper("rerun", "two", "-f")
    assert code == 0, output
    assert play.end(together.run("two", 1)) == play.end(together.run("two"))


@pytest.mark.parametrize(
    ("victims", "ends", "says"),
    [("all", -signal.SIGKILL, ""), ("rank 1", 1, "[rank1]: was killed by SIGKILL: the run ends")],
)
def test_continue_after_a_kill_has_the_same_bits(victims: str, ends: int, says: str, together: Together) -> None:
    with held(together, "rerun", "two", "-f") as (started, run):
        supervisor = psutil.Process(started.pid)
        killed = [supervisor, *supervisor.children(recursive=True)] if victims == "all" else [ranks(run)[1]]
        for process in killed:
            process.kill()
        began = time.monotonic()
        started.communicate(timeout=SECONDS)
    assert started.returncode == ends
    assert time.monotonic() - began < 30  # gloo itself would wait for minutes
    assert says in run.log.read_text()
    assert "Traceback" not in run.log.read_text()
    wait_for(lambda: status.read(run) in ("died", "failed"))
    code, output = together.exper("continue", str(run))
    assert code == 0, output
    assert "continues after epoch" in output
    assert play.end(run) == play.end(together.run("two"))


@pytest.mark.parametrize("victim", ["supervisor", "launcher"])
def test_ranks_save_and_end_if_supervisor_or_launcher_is_killed(victim: str, together: Together) -> None:
    with held(together, "rerun", "two", "-f") as (started, run):
        of = ranks(run)
        psutil.Process(started.pid if victim == "supervisor" else of[0].ppid()).kill()
        assert psutil.wait_procs(of.values(), timeout=30)[1] == []
    wait_for(lambda: "stopped and saved after epoch" in run.log.read_text())  # the output outlives them
    started.communicate(timeout=SECONDS)
    wait_for(lambda: status.read(run) == ("died" if victim == "supervisor" else "failed"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_a_signal_stops_all_after_the_same_step_and_continue_has_the_same_bits(number: int, together: Together) -> None:
    with held(together, "rerun", "two", "-f") as (started, run):
        started.send_signal(number)
        output, _ = started.communicate(timeout=SECONDS)
    assert started.returncode == 128 + number, output
    assert output.count("stopped and saved after epoch") == 1
    assert status.read(run) == "interrupted"
    assert together.exper("continue", str(run))[0] == 0
    assert play.end(run) == play.end(together.run("two"))


def test_an_exception_of_one_rank_is_the_only_traceback_and_fails_the_run(together: Together) -> None:
    fails = """\
        if os.environ["RANK"] == "1" and state.step == 7:
            raise KeyError("no such thing")
"""
    with together.loop_with(fails):
        code, output = together.exper("run", "fails", "-m", "it fails")
    log = together.run("fails").log.read_text()
    assert code == 1, output
    assert log.count("Traceback") == 1
    assert "[rank1]: KeyError: 'no such thing'\n" in log
    assert log.index("KeyError") < log.index("[rank1]: failed (exit code 1): the run ends")
    assert status.read(together.run("fails")) == "failed"


def test_a_nan_is_traced_to_its_layer_and_said_once(together: Together) -> None:
    code, output = together.exper(
        "run", "nan", "-f", "optimizer.conv1.lr=1e30", "clip=None", "checkpoint.every_steps=3"
    )
    assert code == 1
    last = output.strip().splitlines()[-3:]
    assert output.count("Traceback") == 1, output
    assert any("NotFinite: the loss is NaN or infinite at step 3, in epoch 1; the first" in line for line in last)


def test_a_wrong_setting_leaves_no_tag(together: Together) -> None:
    code, output = together.exper("run", "wrong", "model.dropout=2.0")
    assert code == 2
    assert output.strip().splitlines()[-1] == "run: model.dropout = 2.0: must be a number from 0 to 1."
    assert "the run ends" not in output
    assert not together.project.tag("wrong").folder.exists()


def test_a_batch_of_one_image_in_a_process_is_refused_where_two_are_needed(together: Together) -> None:
    changes = ("model={'name': 'resnet18', 'width': 2}", "optimizer={'name': 'adam'}")
    code, output = together.exper("run", "alone", *changes)
    assert code == 2, output
    assert output.strip().splitlines()[-1] == (
        "run: data.batch_size = 14: with 57 training samples, accumulate = 2 and 2 processes, a batch has 1 image;"
        " batch normalization needs 2. Write 15."
    )
    assert not together.project.tag("alone").folder.exists()


def test_evaluating_takes_one_process(together: Together) -> None:
    before = play.statistic(together.run("two"))["metric"]["test"]
    code, output = together.exper("evaluate", "two/0")
    assert code == 0, output
    assert play.statistic(together.run("two"))["metric"]["test"] == pytest.approx(before, rel=1e-5)


def test_main_started_by_hand_trains_in_several_processes(together: Together) -> None:
    started = subprocess.run(
        [sys.executable, "code/main.py", "--debug"],
        cwd=together.project.root, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    run = together.project.tag("untagged").run(0)
    assert play.statistic(run)["device"]["processes"] == 2, started.stdout
    assert status.read(run) == "finished"


def test_continuing_with_another_number_of_processes_is_logged(together: Together, tmp_path: Path) -> None:
    source = together.run("two")
    for number, count in enumerate((1, 3)):
        folder = tmp_path / "x" / str(number)
        shutil.copytree(source.folder, folder, symlinks=True)
        run = paths.Run(folder)
        for path in folder.glob("checkpoint/epoch_4*"):
            path.unlink()
        record = json.loads(run.record.read_text())
        run.record.write_text(json.dumps(record | {"recorded": play.statistic(run)}))
        code = Path(shutil.copytree(together.project.code, tmp_path / f"code{count}"))
        config = play.config(**SETTINGS | {"processes": count})
        (code / "config.py").write_text("".join(f"{name} = {one!r}\n" for name, one in config.items()))
        assert play.start(run, code).wait(SECONDS) == 0, run.log.read_text()
        said = run.log.read_text()
        assert f"not as recorded, so numbers may differ: device processes was 2 and is {count}" in said
        assert near(play.statistic(run)["metric"]["last"], play.statistic(source)["metric"]["last"])
