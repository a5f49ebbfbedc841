"""Files in LevelDB's log format, written here by its rules: blocks of 32 KiB, and no header across two of them."""

import os
import struct
import zlib
from pathlib import Path

import pytest

from exper.sidecars.loggers import wandb_file

BLOCK = 32768
HEADER = 7
FULL, FIRST, MIDDLE, LAST = range(1, 5)
RECORDS = [b"small", b"", os.urandom(3 * BLOCK), b"x" * (BLOCK // 2), b"last"]


def written(path: Path, records: list[bytes]) -> Path:
    content = b":W&B" + b"\x9d\xbe\x00"
    for record in records:
        left = record
        is_first = True
        while left or is_first:
            room = BLOCK - len(content) % BLOCK
            if room < HEADER:
                content += bytes(room)
                continue
            data = left[: room - HEADER]
            left = left[room - HEADER :]
            kind = (FULL if is_first else LAST) if not left else (FIRST if is_first else MIDDLE)
            content += struct.pack("<IHB", zlib.crc32(bytes([kind]) + data), len(data), kind) + data
            is_first = False
    path.write_bytes(content)
    return path


def test_records_of_any_size_are_read_whole(tmp_path: Path) -> None:
    assert list(wandb_file.records(written(tmp_path / "a.wandb", RECORDS))) == RECORDS


@pytest.mark.parametrize("room", range(HEADER + 2))
def test_a_block_s_end_too_small_for_a_header_is_skipped(room: int, tmp_path: Path) -> None:
    fill = b"x" * (BLOCK - HEADER - HEADER - room)  # the file's header and this record's
    assert list(wandb_file.records(written(tmp_path / "a.wandb", [fill, b"next"]))) == [fill, b"next"]


@pytest.mark.parametrize("lost", [1, 3, 8, 11])
def test_a_torn_end_is_the_end(lost: int, tmp_path: Path) -> None:
    path = written(tmp_path / "a.wandb", RECORDS)
    os.truncate(path, path.stat().st_size - lost)
    assert list(wandb_file.records(path)) == RECORDS[:-1]


def test_a_flipped_bit_is_the_end(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wandb", RECORDS)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert list(wandb_file.records(path)) == RECORDS[:-1]


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "a.wandb").touch()
    assert list(wandb_file.records(tmp_path / "a.wandb")) == []
