"""hardware.jsonl, the peaks, TensorBoard's curves: with real training, and a Meter beside real processes."""

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from exper.core import paths
from exper.training.distributed import device
from exper.training.records.hardware import Hardware, Meter
from tests.support import campaign, manager, play
from tests.support.manager import the_run

OF_MACHINE = {
    *("training/cpu_cores", "training/memory_gb"),
    *("machine/cpu_percent", "machine/memory_percent", "machine/memory_gb"),
    *("network/received_mb_per_second", "network/sent_mb_per_second"),
}


def lines(run: paths.Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.hardware.read_text().splitlines()]


def sampled(run: paths.Run, seconds: float = 0.0, every_seconds: float = 100.0) -> Hardware:
    """Sample the hardware for so many seconds."""
    hardware = Hardware(run, every_seconds, [], lambda: 7)
    hardware.begin(lambda *_: None)
    time.sleep(seconds)
    hardware.close()
    return hardware


# -- with training -----------------------------------------------------------------------------------------------------


def test_sampling_changes_no_number_of_training(tmp_path: Path) -> None:
    plain = play.born(tmp_path / "0")
    watched = play.born(tmp_path / "1")
    play.train(plain, play.small())
    play.train(watched, play.small(hardware_every_seconds=0.01))
    found = play.end(watched)
    expected = play.end(plain)
    peak = found["statistic"].pop("peak")
    for end in (found, expected):
        end["statistic"]["hparam"].pop("hardware_every_seconds")
    assert found == expected
    assert not plain.hardware.exists()
    seen = lines(watched)
    assert len(seen) > 3
    assert set(seen[0]) >= {"time", "step"} | OF_MACHINE
    assert set(peak) == set(seen[0]) - {"time", "step"}
    assert all(peak[name] == max(line[name] for line in seen) for name in peak)
    assert all(before["time"] <= after["time"] for before, after in itertools.pairwise(seen))
    assert abs(seen[-1]["time"] - time.time()) < 60
    assert [line["step"] for line in seen] == sorted(line["step"] for line in seen)
    assert 0 < seen[-1]["step"] <= 12
    assert not [thread for thread in threading.enumerate() if thread.name == "hardware"]


def test_tensorboard_shows_it_at_the_steps_of_training(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, play.small(hardware_every_seconds=0.01))
    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    shown = [(point.step, point.value) for point in events.Scalars("usage/training/memory_gb")]
    expected = [(line["step"], line["training/memory_gb"]) for line in lines(run)]
    assert shown == [(step, pytest.approx(value)) for step, value in expected]
    assert [point.step for point in events.Scalars("val/loss")] == [4, 8, 12]


def test_a_short_run_of_the_template_has_a_line_its_peaks_and_a_panel(tmp_path: Path) -> None:
    project = paths.Project(tmp_path / "project")
    project.root.mkdir()
    campaign.make_project(project.root)
    manager.exper(project, "run", "base", "debug=True", "logger=['picture']", "threads=1", timeout=120)
    run = the_run(project, "base/0")
    assert len(lines(run)) == 1
    peak = play.statistic(run)["peak"]
    assert 0.05 < peak["training/memory_gb"] < 8
    assert 0.01 < peak["training/cpu_cores"] < 64
    manager.exper(project, "record", "base")
    table = json.loads(manager.exper(project, "table", "--json").stdout)
    assert not [name for name in table[0] if "cpu" in name or "memory" in name]


# -- the file ----------------------------------------------------------------------------------------------------------


def test_a_torn_line_is_repaired_and_earlier_sessions_stay(tmp_path: Path) -> None:
    run = paths.Run(tmp_path)
    sampled(run)
    first = run.hardware.read_bytes()
    before = json.loads(first) | {"machine/memory_gb": 1e6, "gpu0/watts": 700.0}
    run.hardware.write_text(json.dumps(before) + '\n{"time": 17')
    peak = sampled(run).peak
    assert [line["machine/memory_gb"] == 1e6 for line in lines(run)] == [True, False]
    assert (peak["machine/memory_gb"], peak["gpu0/watts"]) == (1e6, 700.0)
    assert "time" not in peak
    assert "step" not in peak


def test_a_damaged_file_loses_only_the_earlier_peaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = paths.Run(tmp_path)
    run.hardware.write_text('{"time": 1, "gpu0/watts": 700.0}\nx\n')
    assert set(sampled(run).peak) >= OF_MACHINE
    assert "peaks are those of this session: " in capsys.readouterr().out
    assert run.hardware.read_text().startswith('{"time": 1, "gpu0/watts": 700.0}\nx\n{"time":')


def test_training_continues_if_hardware_jsonl_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = play.born(tmp_path / "0")
    run.hardware.mkdir()
    play.train(run, play.small(hardware_every_seconds=0.01))
    assert "no hardware.jsonl from here on: [Errno 21] Is a directory" in capsys.readouterr().out
    assert len(play.history(run)) == 15


@pytest.mark.parametrize("value", [0, -1, "10", True])
def test_a_wrong_setting_is_refused(value: Any, tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    with pytest.raises(SystemExit):
        play.train(run, play.small(hardware_every_seconds=value))
    assert f"hardware_every_seconds = {value!r}: must be a number above 0 or None." in run.refused.read_text()


# -- what is counted ---------------------------------------------------------------------------------------------------


def test_child_processes_count_even_after_they_end(tmp_path: Path) -> None:
    burn = "import sys, time\nheld = bytearray(300_000_000)\nheld[::4096] = b'x' * len(held[::4096])\n"
    burn += "print(flush=True)\nwhile time.process_time() < 1: pass\nprint(flush=True)\nsys.stdin.read()\n"
    meter = Meter([])
    alone = meter.sample()["training/memory_gb"]
    started = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert meter.sample()["training/memory_gb"] - alone > 0.29
        child.stdout.readline()
        child.communicate(b"")
    found = meter.sample()
    assert found["training/cpu_cores"] * (time.monotonic() - started) > 0.7
    assert found["training/memory_gb"] - alone < 0.1


def test_bytes_written_to_the_disk_count(tmp_path: Path) -> None:
    meter = Meter([])
    if "disk/write_mb_per_second" not in meter.sample():
        pytest.skip("THIS MACHINE COUNTS NO DISKS: what is written to them is not tested")
    with open(tmp_path / "file", "wb") as file:
        file.write(os.urandom(20_000_000))
        file.flush()
        os.fsync(file.fileno())
    assert meter.sample()["disk/write_mb_per_second"] >= 0


def test_several_processes_are_sampled_by_the_first_for_all(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0", threads=2)
    code = tmp_path / "project" / "code"
    campaign.make_project(code.parent)
    text = (code / "config.py").read_text()
    for old, new in (("every_seconds = 10.0", "every_seconds = 0.5"), ("processes = None", "processes = 2")):
        assert old in text
        text = text.replace(old, new)
    (code / "config.py").write_text(text.replace("epochs = 10", "epochs = 2").replace(', "picture"', ""))
    training = play.start(run, code)
    assert training.wait(120) == 0, run.log.read_text()
    alone = Meter([]).sample()["training/memory_gb"]
    assert max(line["training/memory_gb"] for line in lines(run)) > 0.4, alone  # launcher and two ranks with torch
    times = [line["time"] for line in lines(run)]
    assert times == sorted(times)
    assert "peak" in play.statistic(run)


def test_a_gpu_that_trains_is_sampled() -> None:
    if not torch.cuda.is_available():
        pytest.skip("THERE IS NO GPU: what is recorded of one is not tested")
    held = torch.zeros(2**28, device="cuda")  # 1 GiB
    found = Meter(device.gpus(held.device)).sample()
    assert found["gpu0/memory_gb"] > 1
    assert 0 <= found["gpu0/percent"] <= 100
    assert 10 < found["gpu0/celsius"] < 110
    assert found["gpu0/watts"] > 1


def test_a_gpu_unknown_to_nvml_is_left_out_with_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(Meter(["GPU-00000000-0000-0000-0000-000000000000"]).sample()) >= OF_MACHINE
    assert "hardware.jsonl has no GPU: " in capsys.readouterr().out
