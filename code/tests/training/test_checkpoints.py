import itertools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exper.core.checkpoint_file import is_whole
from exper.training import checkpoints
from exper.training.checkpoints import Checkpoints
from tests.support import play


def content(epoch: int, step: int = 0, fill: float = 0.0) -> dict[str, Any]:
    return {"epoch": epoch, "step": step, "batch": step, "model": {"weight": torch.full((1000,), float(epoch) + fill)}}


def begun(folder: Path, **settings: Any) -> Checkpoints:
    checkpoints = Checkpoints(folder, **settings)
    assert checkpoints.newest() is None
    return checkpoints


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if "epoch" in path.name and not path.is_symlink())


def test_plain_torch_load_opens_it(tmp_path: Path) -> None:
    begun(tmp_path).save(content(1), None)
    assert torch.load(tmp_path / "epoch_1.path", weights_only=True)["model"]["weight"][0] == 1


def test_any_flipped_bit_is_found(tmp_path: Path) -> None:
    begun(tmp_path).save(content(1), None)
    path = tmp_path / "epoch_1.path"
    whole = path.read_bytes()
    assert is_whole(path)
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert not is_whole(path)


def test_any_truncation_is_found(tmp_path: Path) -> None:
    begun(tmp_path).save(content(1), None)
    path = tmp_path / "epoch_1.path"
    whole = path.read_bytes()
    for size in (0, 1, 47, 48, 49, len(whole) // 2, len(whole) - 49, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert not is_whole(path)


def test_the_newest_whole_checkpoint_is_used_and_a_corrupt_one_renamed_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = begun(tmp_path)
    checkpoints.save(content(1), None)
    checkpoints.save(content(1, step=3), None)
    os.truncate(tmp_path / "epoch_1_step_3.path", 900)
    found = Checkpoints(tmp_path).newest()
    assert found is not None
    assert (found["epoch"], found["step"]) == (1, 0)
    assert names(tmp_path) == ["epoch_1.path", "epoch_1_step_3.path.corrupt"]
    assert "epoch_1_step_3.path is corrupt" in capsys.readouterr().out


def test_newest_goes_by_epoch_and_step_as_numbers(tmp_path: Path) -> None:
    checkpoints = begun(tmp_path, keep=None)
    for one in (content(9), content(9, step=95), content(9, step=100)):
        checkpoints.save(one, None)
    found = Checkpoints(tmp_path).newest()
    assert found is not None
    assert found["step"] == 100


def test_files_that_a_kill_left_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".epoch_1.path.x").write_bytes(b"half")
    (tmp_path / ".link").symlink_to("epoch_1.path")
    (tmp_path / ".ipynb_checkpoints").mkdir()  # and nothing of others
    begun(tmp_path)
    assert [path.name for path in tmp_path.glob(".*")] == [".ipynb_checkpoints"]


def test_types_that_torch_refuses_are_named_with_the_file(tmp_path: Path) -> None:
    checkpoints = begun(tmp_path)
    checkpoints.save(content(1) | {"metric": np.float64(1)}, None)
    with pytest.raises(RuntimeError, match=r"epoch_1\.path: torch.load refuses numpy.*\. Have metrics"):
        checkpoints.newest()


def test_keep_counts_epochs_and_the_best_stays(tmp_path: Path) -> None:
    checkpoints = begun(tmp_path, keep=3)
    for epoch in range(1, 7):
        checkpoints.save(content(epoch - 1, step=10 * epoch), 1)
        checkpoints.save(content(epoch), 1)
    assert names(tmp_path) == ["epoch_1.path", "epoch_4.path", "epoch_5.path", "epoch_5_step_60.path", "epoch_6.path"]


def test_keep_none_keeps_all_epochs(tmp_path: Path) -> None:
    checkpoints = begun(tmp_path, keep=None)
    for epoch in range(5):
        checkpoints.save(content(epoch), None)
    assert len(names(tmp_path)) == 5


def test_the_newest_two_that_verify_stay_whatever_keep_says(tmp_path: Path) -> None:
    checkpoints = begun(tmp_path, keep=1)
    for epoch in (1, 2, 3):
        checkpoints.save(content(epoch), None)
    with open(tmp_path / "epoch_3.path", "r+b") as file:
        file.write(b"x")
    later = Checkpoints(tmp_path, keep=1)
    assert later.newest() is not None
    later.save(content(3, fill=0.5), None)
    assert names(tmp_path) == ["epoch_2.path", "epoch_3.path", "epoch_3.path.corrupt"]


def test_links_name_the_last_and_the_best(tmp_path: Path) -> None:
    checkpoints = begun(tmp_path)
    for epoch in (1, 2, 3):
        checkpoints.save(content(epoch), 2)
    assert os.readlink(tmp_path / "epoch_last.path") == "epoch_3.path"
    assert os.readlink(tmp_path / "epoch_best.path") == "epoch_2.path"


def test_no_name_is_written_twice(tmp_path: Path) -> None:
    checkpoints = begun(tmp_path)
    checkpoints.save(content(1), None)
    inode = (tmp_path / "epoch_1.path").stat().st_ino
    checkpoints.save(content(1), None)
    later = Checkpoints(tmp_path)
    later.newest()
    later.save(content(1), None)
    assert (tmp_path / "epoch_1.path").stat().st_ino == inode


def test_the_thread_writes_the_state_as_it_was_at_the_save(tmp_path: Path) -> None:
    checkpoints = begun(tmp_path, background=True, keep=None)
    for epoch in (1, 2, 3):
        state = content(epoch)
        checkpoints.save(state, None)
        state["model"]["weight"].zero_()
    checkpoints.wait()
    loaded = [torch.load(tmp_path / f"epoch_{epoch}.path", weights_only=True) for epoch in (1, 2, 3)]
    assert [float(one["model"]["weight"].sum()) for one in loaded] == [1000, 2000, 3000]


def test_newest_waits_for_the_writing_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(path: Path, content: dict[str, Any]) -> None:
        time.sleep(0.2)
        write(path, content)

    write = checkpoints.write
    monkeypatch.setattr(checkpoints, "write", slow)
    folder = begun(tmp_path, background=True)
    folder.save(content(4), None)
    newest = folder.newest()
    assert newest is not None
    assert newest["epoch"] == 4


def test_an_error_of_the_thread_reaches_training(tmp_path: Path) -> None:
    checkpoints = begun(tmp_path / "gone", background=True)
    (tmp_path / "gone").touch()  # no folder
    checkpoints.save(content(1), None)
    with pytest.raises(FileExistsError):
        checkpoints.wait()


def test_it_is_due_by_epochs_steps_and_minutes(tmp_path: Path) -> None:
    checkpoints = begun(tmp_path, every=3, every_steps=4)
    assert [batch for batch in range(1, 9) if checkpoints.is_due(0, batch)] == [4, 8]
    assert [epoch for epoch in range(1, 7) if checkpoints.is_due(epoch, 0)] == [3, 6]
    assert begun(tmp_path, every_minutes=1e-9).is_due(0, 1)
    assert not begun(tmp_path, every_minutes=60).is_due(0, 1)


def test_minutes_are_real_time_and_count_from_the_last_save(tmp_path: Path) -> None:
    checkpoints = begun(tmp_path, every_minutes=0.3 / 60)
    saved_at = []
    for step in range(1, 101):
        time.sleep(0.01)
        if checkpoints.is_due(0, step):
            saved_at.append(time.monotonic())
            checkpoints.save(content(0, step), None)
    assert len(saved_at) >= 2
    assert all(later - earlier >= 0.3 for earlier, later in itertools.pairwise(saved_at))


TOGETHER = """
import sys, time
from pathlib import Path
import torch.distributed as dist
from exper.training.checkpoints import Checkpoints
from exper.training.distributed import rank

folder = Path(sys.argv[1])
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank.number(), world_size=2)
checkpoints = Checkpoints(folder / "checkpoint", every_minutes=0.15 / 60)
for step in range(1, 101):
    time.sleep(0.01)
    if checkpoints.is_due(0, step):
        print(step)
        checkpoints.save({"epoch": 0, "batch": step, "step": step}, None)
dist.destroy_process_group()
"""


def test_several_processes_save_at_the_same_steps_and_not_at_the_next_one_again(tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, str(tmp_path)],
            cwd=play.CODE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"EXPER_LAUNCHER": "1", "RANK": str(number), "GLOO_SOCKET_IFNAME": "lo"},
        )
        for number in range(2)
    ]  # fmt: skip
    first, second = ([int(line) for line in one.communicate(timeout=60)[0].split()] for one in started)
    assert first == second
    assert len(first) >= 2
    assert all(later - earlier > 1 for earlier, later in itertools.pairwise(first))


def test_the_best_epoch_stays_beside_checkpoints_by_time(tmp_path: Path) -> None:
    checkpoints = begun(tmp_path, keep=1, every_minutes=1e-9)
    checkpoints.save(content(1), 1)
    for step in range(1, 6):
        checkpoints.save(content(2, step), 1)
    checkpoints.save(content(3), 1)
    assert names(tmp_path) == ["epoch_1.path", "epoch_2_step_5.path", "epoch_3.path"]
    assert checkpoints.epochs() == [1, 3]
