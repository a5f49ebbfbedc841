import json
from pathlib import Path

from exper.core.follower import Follower


def write(path: Path, numbers: range, seconds: float) -> None:
    path.write_text("".join(json.dumps({"epoch": number, "seconds": seconds}) + "\n" for number in numbers))


def epochs(follower: Follower, most: int = 100) -> list[tuple[int, int]]:
    return [(number, line["epoch"]) for number, line in follower.lines(most)]


def test_each_line_comes_once_as_the_file_grows(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "x", 0)
    assert epochs(follower) == []
    write(tmp_path / "x", range(3), 1.0)
    assert epochs(follower, 2) == [(0, 0), (1, 1)]
    assert epochs(follower, 2) == [(2, 2)]
    with open(tmp_path / "x", "a") as file:
        file.write('{"epoch": 3}\n{"epo')
    assert epochs(follower) == [(3, 3)]


def test_it_begins_where_it_is_told(tmp_path: Path) -> None:
    write(tmp_path / "x", range(5), 1.0)
    assert epochs(Follower(tmp_path / "x", 3)) == [(3, 3), (4, 4)]


def test_a_file_cut_back_and_grown_again_gives_what_is_new(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "x", 0)
    write(tmp_path / "x", range(5), 1.0)
    epochs(follower)
    write(tmp_path / "x", range(3), 1.25)
    assert epochs(follower) == []
    write(tmp_path / "x", range(7), 1.25)
    assert epochs(follower) == [(5, 5), (6, 6)]


def test_a_line_that_is_none_is_empty(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\n[1]\n{}\n")
    assert Follower(tmp_path / "x", 0).lines(9) == [(0, {}), (1, {}), (2, {})]
