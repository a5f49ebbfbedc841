"""The content of a report, read from files of any state."""

from pathlib import Path

from exper.core import paths
from exper.views.report import content


def test_the_tail_of_a_log_is_its_last_lines_without_colours(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(
        b"\x1b[1mfirst\x1b[0m\r\n" + b"".join(b"line %d\n" % number for number in range(content.TAIL_LINES))
    )
    tail = content.tail(log)
    assert tail is not None
    assert (tail.lines[0], tail.lines[-1], len(tail.lines)) == ("line 0", "line 49", content.TAIL_LINES)
    assert not tail.is_whole


def test_a_short_log_is_whole_and_its_long_lines_are_cut(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\x1b[31m\xff red\x1b[0m\n" + b"x" * 1500)
    assert content.tail(log) == (["\\xff red", "x" * 1000 + " … and 500 more characters"], True)
    assert content.tail(tmp_path / "none") is None


def test_a_run_without_files_is_damaged_and_says_why(tmp_path: Path) -> None:
    run = paths.Run(tmp_path / "base" / "0")
    run.folder.mkdir(parents=True)
    run.log.write_text("the last words\n")
    read = content.of(run)
    assert (read.status, read.seconds, read.curves) == ("damaged", None, {})
    assert read.damage == ["base/0 has no run.json, so nothing is known of it."]
    assert read.log is not None
    assert read.log.lines == ["the last words"]
