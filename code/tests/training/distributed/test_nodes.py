"""One run on two nodes of a real SLURM: the bits of two processes on one machine, whatever ends it in between."""

import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from exper.core import paths
from tests.conftest import isolate
from tests.support import manager, play, slurm
from tests.support.manager import wait_for
from tests.support.together import Together, wait_until_held

pytestmark = slurm.needed

NODES = ("processes=1", "--", "--nodes=2")


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Together]:
    """Yield a project beside a SLURM, in which here/0 has trained in two processes of one machine."""
    with pytest.MonkeyPatch.context() as patch, slurm.served() as environment:
        isolate(patch, tmp_path_factory.mktemp("home") / "home")
        for name, value in environment.items():
            patch.setenv(name, value)
        made = Together(tmp_path_factory.mktemp("together") / "project")
        code, output = made.exper("run", "here", "-f")
        assert code == 0, output
        yield made


@pytest.fixture(autouse=True)
def _queue(together: Together) -> Iterator[None]:
    yield
    slurm.all_over()


def submitted(together: Together, tag: str, *words: str) -> paths.Run:
    code, output = together.exper("submit", tag, *words, *NODES)
    assert code == 0, output
    return together.run(tag)


def of_run(run: paths.Run, further: bool) -> list[psutil.Process]:
    """Return the processes that train on the first node, or those on the further one."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            words = process.cmdline()
        except psutil.Error:
            continue
        is_its = environment.get("EXPER_RUN") == str(run.folder) and "main.py" in " ".join(words)
        if is_its and "srun" not in words[0] and ("EXPER_MEETING" in environment) is further:
            found.append(process)
    return found


def test_it_has_the_bits_of_two_processes_on_one_machine(together: Together) -> None:
    run = submitted(together, "far", "-f")
    slurm.end(together.project, "far/0", seconds=90)
    assert play.history(run) == play.history(together.run("here"))
    assert play.statistic(run)["device"]["processes"] == 2


def test_a_requeued_job_continues_with_the_same_bits(together: Together) -> None:
    with together.held():
        run = submitted(together, "again", "-f")
        wait_until_held(run)
        slurm.notice(slurm.job(together.project, "again/0"))
        slurm.end(together.project, "again/0", "queued")
    slurm.end(together.project, "again/0", seconds=90)
    assert play.history(run) == play.history(together.run("here"))
    assert run.log.read_text().count("stopped and saved after epoch") == 1
    sessions = manager.record(together.project, "again/0")["sessions"]
    assert [one["status"] for one in sessions] == ["interrupted", "finished"]


def test_an_exception_on_a_further_node_ends_the_run_with_its_traceback(together: Together) -> None:
    fails = """\
        if "EXPER_MEETING" in os.environ and state.step == 7:
            raise KeyError("no such thing")
"""
    with together.loop_with(fails):
        run = submitted(together, "fails", "-m", "it fails")
    slurm.end(together.project, "fails/0", "failed", seconds=90)
    log = run.log.read_text()
    assert log.count("Traceback") == 1
    assert "[rank1]: KeyError: 'no such thing'\n" in log
    wait_for(lambda: not of_run(run, further=True))


@pytest.mark.parametrize("victim", ["supervisor", "launcher", "rank"])
def test_what_is_killed_leaves_nothing_behind(victim: str, together: Together) -> None:
    with together.held():
        run = submitted(together, victim, "-f")
        wait_until_held(run)
        first = of_run(run, further=False)
        further = of_run(run, further=True)
        assert len(first) == len(further) == 2
        launcher, rank = sorted(further, key=lambda one: "RANK" in one.environ())
        pid = {"supervisor": manager.record(together.project, f"{victim}/0")["pid"], "launcher": launcher.pid}
        os.kill(pid.get(victim, rank.pid), signal.SIGKILL)
        assert psutil.wait_procs([*first, *further], timeout=40)[1] == []
    slurm.end(together.project, f"{victim}/0", "died" if victim == "supervisor" else "failed")
    if victim == "rank":
        assert "[rank1]: was killed by SIGKILL: the run ends" in run.log.read_text()
