"""Each test in a process of its own, without torch."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.play import CODE, born, start

SCRIPT = """
import os, signal, sys, time
sys.path.insert(0, {code!r})
from pathlib import Path
from exper.training import stopping
stopping.listen()
{body}
"""


def running(body: str, **more: object) -> "subprocess.Popen[str]":
    script = SCRIPT.format(code=str(CODE), body=body)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, **more)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_before_the_loop_a_signal_ends_the_process_with_its_code(number: int, code: int) -> None:
    process = running("print('ready', flush=True); time.sleep(30)")
    assert process.stdout
    process.stdout.readline()
    process.send_signal(number)
    assert process.wait(10) == code
    process.stdout.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_within_the_loop_a_signal_is_only_noted(number: int, code: int) -> None:
    process = running(
        f"stopping.wait_for_step(); signal.raise_signal({int(number)}); signal.raise_signal({int(number)}); "
        "print('step done'); sys.exit(stopping.exit_code())"
    )
    assert process.communicate(timeout=10)[0] == "step done\n"
    assert process.returncode == code


def test_a_second_ctrl_c_stops_at_once() -> None:
    process = running(
        "stopping.wait_for_step(); signal.raise_signal(2); time.sleep(0.4); signal.raise_signal(2); time.sleep(30)"
    )
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT


def test_during_the_imports_of_main_a_signal_has_its_code(tmp_path: Path) -> None:
    training = start(born(tmp_path / "0"))
    wanted = 1 << (signal.SIGTERM - 1)
    while not int(Path(f"/proc/{training.pid}/status").read_text().split("SigCgt:")[1].split()[0], 16) & wanted:
        time.sleep(0.005)
    training.terminate()
    assert training.wait(20) == 143
    assert not (tmp_path / "0" / "history.jsonl").exists()


def test_when_the_supervisor_dies_output_goes_to_the_log_and_nothing_blocks(tmp_path: Path) -> None:
    log = tmp_path / "log"
    master, slave = pty.openpty()
    control, ours = os.pipe()
    body = f"""
stopping.wait_for_step()
stopping.watch_supervisor({control}, {master}, Path({str(log)!r}))
print("x" * 200_000, flush=True)  # more than the terminal holds: blocks until somebody reads
while stopping.exit_code() is None:
    time.sleep(0.01)
print("saved", flush=True)
sys.exit(stopping.exit_code())
"""
    script = SCRIPT.format(code=str(CODE), body=body)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=slave, stderr=slave, pass_fds=[control, master])
    for descriptor in (control, slave, master):
        os.close(descriptor)
    time.sleep(1.0)
    assert process.poll() is None
    os.close(ours)
    assert process.wait(10) == 143
    assert "saved" in log.read_text()
    assert log.read_text().count("x") > 100_000


def test_programs_that_training_starts_do_not_get_the_descriptors() -> None:
    process = running(
        "reading, writing = os.pipe(); os.set_inheritable(writing, True); stopping.hold([writing]); "
        "import subprocess; print(subprocess.call([sys.executable, '-c', f'import os; os.fstat({writing})'], "
        "stderr=subprocess.DEVNULL, close_fds=False))"
    )
    assert process.communicate(timeout=10)[0] == "1\n"
