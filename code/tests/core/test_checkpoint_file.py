"""The names of checkpoints and the footer that proves one complete."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from exper.core import checkpoint_file


def test_names_are_sorted_by_epoch_and_step_the_newest_first(tmp_path: Path) -> None:
    for name in (
        "epoch_2.path",
        "epoch_10.path",
        "epoch_2_step_30.path",
        "epoch_2_step_4.path",
        "epoch_last.path",
        "x",
    ):
        (tmp_path / name).touch()
    names = ["epoch_10.path", "epoch_2_step_30.path", "epoch_2_step_4.path", "epoch_2.path"]
    assert checkpoint_file.names(tmp_path) == names
    assert checkpoint_file.names(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("damage", "is_whole"),
    [
        (lambda data: data, True),
        (lambda data: data[:-1], False),
        (lambda data: data + b"x", False),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], False),
        (lambda _: b"", False),
    ],
)
def test_a_cut_or_flipped_file_is_not_whole(damage: Callable[[bytes], bytes], is_whole: bool, tmp_path: Path) -> None:
    content = b"weights" * 300_000
    data = content + checkpoint_file.footer(hashlib.sha256(content).digest(), len(content))
    (tmp_path / "epoch_1.path").write_bytes(damage(data))
    assert checkpoint_file.is_whole(tmp_path / "epoch_1.path") == is_whole
