"""Files survive a kill: replaced whole, appended by whole lines."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exper.core import files
from exper.core.errors import Refused

CODE = Path(__file__).parents[2]


def test_a_reader_sees_the_old_or_the_new_file_whole_while_its_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    whole = {"a" * 100_000, "b" * 100_000}
    files.replace(path, "a" * 100_000)
    script = (
        "import sys; sys.path[:0] = [sys.argv[1]]\nfrom pathlib import Path\nfrom exper.core import files\n"
        "while True:\n    for letter in 'ab': files.replace(Path(sys.argv[2]), letter * 100_000)\n"
    )
    for number in range(5):
        with subprocess.Popen([sys.executable, "-c", script, str(CODE), str(path)]) as writer:
            seen = {path.read_text()}
            deadline = time.monotonic() + 20
            while len(seen) < 2 and time.monotonic() < deadline:
                seen.add(path.read_text())
            time.sleep(0.013 * number)
            writer.kill()
        assert seen == whole
        assert path.read_text() in whole


def test_a_failed_replacement_leaves_the_old_file_and_nothing_beside(tmp_path: Path) -> None:
    files.replace(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        files.replace(tmp_path / "file", "\udcff")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        files.replace(tmp_path / "folder", "new")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "home"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (b"1\n", b"1\n"),
        (b"1\n2", b"1\n"),
        (b"1", b""),
        (b"1\n" + b"x" * 200_000, b"1\n"),
        (b"\n\n", b"\n\n"),
    ],
)
def test_a_torn_last_line_is_cut_at_the_next_open(tmp_path: Path, before: bytes, after: bytes) -> None:
    (tmp_path / "file").write_bytes(before)
    with files.open_to_append(tmp_path / "file") as file:
        file.write(b"next\n")
    assert (tmp_path / "file").read_bytes() == after + b"next\n"


def test_lines_are_read_without_a_torn_last_one_and_damage_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('{"a": 1}\n{"a": NaN}\n{"a"')
    assert len(files.read_lines(tmp_path / "file")) == 2
    (tmp_path / "file").write_text('{"a": 1}\n{"a"\n{"a": 2}\n')
    with pytest.raises(Refused, match="line 2"):
        files.read_lines(tmp_path / "file")
    assert files.read_lines(tmp_path / "absent") == []


@pytest.mark.parametrize("text", ["", "{", "[]", "\udcff", '{"a": 1} x'])
def test_damaged_is_not_absent(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(Refused, match="damaged"):
        files.read_json(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        files.read_json(tmp_path / "absent")


def test_what_is_not_utf8_is_read_back(tmp_path: Path) -> None:
    files.write_json(tmp_path / "file", {"é\udcff": "\udc80ü"})
    assert files.read_json(tmp_path / "file") == {"é\udcff": "\udc80ü"}


@pytest.mark.parametrize(("mask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_a_new_file_takes_the_umask_and_a_replaced_one_keeps_its_mode(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        files.replace(tmp_path / "file", "new")
        assert (tmp_path / "file").stat().st_mode & 0o777 == mode
        (tmp_path / "file").chmod(0o640)
        files.replace(tmp_path / "file", "newer")
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)
