"""The log: of everything printed, the lines that a terminal would still show."""

import random
import shlex
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exper.core import paths, terminal
from tests.support import manager
from tests.support.manager import exper, log, write


def _remaining(*parts: bytes) -> bytes:
    remaining = terminal.FinalLines()
    return b"".join([remaining.feed(part) for part in parts] + [remaining.close()])


def test_a_progress_bar_leaves_one_line(project: paths.Project) -> None:
    write(
        project,
        main="""
        import time, tqdm
        print("before")
        for _ in tqdm.tqdm(range(300), desc="epoch", mininterval=0): pass
        print("after")
        """,
    )
    exper(project, "run", "base")
    before, bar, after = log(project, "base/0")
    assert (before, after) == ("before", "after")
    assert bar.startswith("epoch: 100%")
    assert "300/300" in bar


def test_nested_bars_leave_the_outer_one(project: paths.Project) -> None:
    write(
        project,
        main="""
        import tqdm
        for _ in tqdm.tqdm(range(3), desc="outer", mininterval=0):
            for _ in tqdm.tqdm(range(5), desc="inner", leave=False, mininterval=0): pass
        print("after")
        """,
    )
    exper(project, "run", "base")
    lines = [line for line in log(project, "base/0") if line.strip()]
    assert len(lines) == 2
    assert lines[0].startswith("outer: 100%")
    assert lines[1] == "after"


def test_a_bar_after_a_bar_leaves_both(project: paths.Project) -> None:
    write(
        project,
        main="""
        import tqdm
        for epoch in range(3):
            for _ in tqdm.tqdm(range(50), desc=f"epoch {epoch}", mininterval=0): pass
        """,
    )
    exper(project, "run", "base")
    assert [line[:7] for line in log(project, "base/0")] == ["epoch 0", "epoch 1", "epoch 2"]


def test_tqdm_write_stays_above_the_bar(project: paths.Project) -> None:
    write(
        project,
        main="""
        import tqdm
        for number in tqdm.tqdm(range(3), mininterval=0): tqdm.tqdm.write(f"said {number}")
        """,
    )
    exper(project, "run", "base")
    assert [line for line in log(project, "base/0") if "said" in line] == ["said 0", "said 1", "said 2"]
    assert len(log(project, "base/0")) == 4


@pytest.mark.parametrize(
    ("printed", "remains"),
    [
        (b"plain\n", b"plain\n"),
        (b"no newline", b"no newline\n"),
        (b"", b""),
        (b"\n\n", b"\n\n"),
        (b"\x1b[31mred\x1b[0m\n", b"red\n"),
        (b"\x1b]0;title\x07text\n", b"text\n"),
        (b"a\rb\rc\n", b"c\n"),
        (b"1%\r2%\r", b"2%\n"),
        (b"windows\r\n", b"windows\n"),
        (b"\xff\xfe invalid \xc3\n", b"\xff\xfe invalid \xc3\n"),
        (b"50%\r\x1b[Kdone\n", b"done\n"),
        (b"bell\x07 tab\t nul\x00\n", b"bell\x07 tab\t nul\x00\n"),
    ],
)
def test_what_remains_of(printed: bytes, remains: bytes) -> None:
    assert _remaining(printed) == remains


@pytest.mark.parametrize(
    "printed", [b"a\rb\n\x1b[31mc\x1b[0m\nd", b"1%\r2%\r3%\nnext\n", b"\x1b[1mbold\x1b[0m\r\n" * 3]
)
def test_where_the_stream_is_cut_does_not_matter(printed: bytes) -> None:
    whole = _remaining(printed)
    for at in range(len(printed)):
        assert _remaining(printed[:at], printed[at:]) == whole
    assert _remaining(*(printed[at : at + 1] for at in range(len(printed)))) == whole


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=40).map(lambda part: part.replace(b"\r", b"").replace(b"\x1b", b"")), max_size=20))
def test_plain_bytes_are_kept_as_they_are(parts: list[bytes]) -> None:
    printed = b"".join(parts)
    expected = printed if not printed or printed.endswith(b"\n") else printed + b"\n"
    assert _remaining(*parts) == expected


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\x1b[A", b"\x1b[31m", b"\x1b", b"[", b"50%", b" "]), max_size=40)
)
def test_anything_printed_ends_in_whole_lines_without_carriage_returns(parts: list[bytes]) -> None:
    remains = _remaining(*parts)
    assert remains == b"" or remains.endswith(b"\n")
    assert b"\r" not in remains


@pytest.mark.parametrize(
    "line",
    [b"x" * 200_000, b"\x1b[31m" + b"x" * 200_000, b"\x1b[31m" + b"y \n" * 60_000, b"a\r" * 100_000,
     b"\n\x1b[A" * 50_000,
     b"\x1b[" * 100_000, b"\x1b]" * 50_000, (b"x" * 60_000 + b"\n") * 3 + b"\x1b[0m", b"\r\n" * 100_000],
    ids=["long", "coloured", "lines", "bar", "up", "open", "title", "wide", "windows"],
)  # fmt: skip
def test_no_output_takes_long(line: bytes) -> None:
    parts = [line[at : at + 65536] for at in range(0, len(line), 65536)]
    began = time.perf_counter()
    _remaining(*parts, b"\n")
    assert time.perf_counter() - began < 2


def test_small_pieces_of_a_long_open_line_do_not_take_long() -> None:
    remaining = terminal.FinalLines()
    began = time.perf_counter()
    remaining.feed(b"\x1b[1m")
    for _ in range(20_000):
        remaining.feed(b"word " * 10)
    assert time.perf_counter() - began < 5


def test_100_000_lines_are_all_there_in_order(project: paths.Project) -> None:
    write(project, main="for number in range(150_000): print(number)\n")
    done = exper(project, "run", "base")
    expected = [str(number) for number in range(150_000)]
    assert log(project, "base/0") == expected
    assert done.stdout.splitlines() == expected


def test_stdout_and_stderr_are_in_the_order_printed(project: paths.Project) -> None:
    both = "print('out', n, flush=True); print('err', n, file=sys.stderr, flush=True)"
    write(project, main=f"import sys\nfor n in range(100): {both}\n")
    exper(project, "run", "base")
    assert log(project, "base/0") == [f"{stream} {number}" for number in range(100) for stream in ("out", "err")]


def test_any_bytes_reach_a_pipe(project: paths.Project) -> None:
    data = bytes(random.Random(1).choices(range(128, 256), k=2000))
    write(project, main=f"import os; os.write(1, {data!r} + b'\\n')")
    done = subprocess.run(manager.command(project, "run", "base"), capture_output=True, cwd=project.root, check=True)
    assert done.stdout == data + b"\n"


def test_the_log_is_only_ever_appended_to(project: paths.Project) -> None:
    write(project, main="import sys; print('again'); sys.exit(1)")
    exper(project, "run", "base", code=1)
    path = manager.the_run(project, "base/0").log
    path.write_bytes(path.read_bytes() + b"\xff a note of mine\n" + b"." * 100_000)  # a kill has torn that line
    before = path.read_bytes()
    exper(project, "continue", "base", code=1)
    assert path.read_bytes().startswith(before + b"\n===")
    assert path.read_bytes().count(b"\nagain\n") == 2


SLOW = """
import os, time
time.sleep(1)
for _ in range(6):
    os.read(0, 4096)
    time.sleep(0.5)
while os.read(0, 65536): pass
"""


def test_a_slow_reader_costs_no_line_of_the_end(project: paths.Project) -> None:
    write(project, main="for n in range(1150): print(f'{n:<70}')\nraise RuntimeError('the reason')\n")
    line = f"{shlex.join(manager.command(project, 'run', 'base'))} | {shlex.join([sys.executable, '-c', SLOW])}"
    subprocess.run(["bash", "-c", line], cwd=project.root, capture_output=True, timeout=60, check=True)
    lines = log(project, "base/0")
    assert len(lines) > 1150
    assert lines[-1] == "RuntimeError: the reason"
