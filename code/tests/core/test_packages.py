"""Installed packages, requirement lines and extras."""

import platform
import sys
from pathlib import Path

import pytest

from exper.core import packages


@pytest.mark.parametrize(
    ("name", "line", "is_met"),
    [
        ("torch-2.14.0.dist-info", "torch>=2.11", True),
        ("torch-2.9.1.dist-info", "torch>=2.11", False),
        ("torch-2.13.0+cpu.dist-info", "torch >= 2.13", True),
        ("torch-2.14.0a0+git1234.dist-info", "torch>=2.14.0", True),
        ("scikit_learn-1.9.1.dist-info", "scikit-learn>=1.9", True),
        ("scikit_learn-1.9-py3.11.egg-info", "Scikit.Learn>=1.9.0", True),
        ("torchvision-0.29.2.dist-info", "torch>=2.11", False),
        ("tensorboard_data_server-0.7.2.dist-info", "tensorboard", False),
        ("thing-3.dist-info", "thing[extra]>=2,<4; python_version > '3'", True),
        ("git-1.dist-info", "--extra-index-url https://example.com", True),
        ("thing-1.dist-info", "other @ https://example.com/other.whl", False),
    ],
)
def test_a_requirement_is_compared_with_the_names_of_folders(
    name: str, line: str, is_met: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), "/nowhere"])
    assert packages.lacking([line]) == ([] if is_met else [line])


@pytest.mark.parametrize(
    ("marker", "is_needed"),
    [("python_version >= '3.10'", True), ('python_version<"3.10"', False), ("python_version != '3.9'", True),
     ("sys_platform == 'win32'", False), (f"sys_platform=='{sys.platform}' and python_version > '3'", True),
     ("sys_platform == 'win32' or platform_system == 'Linux'", platform.system() == "Linux"),
     ("platform_machine == 'none' and python_version > '3'", False), ("(python_version < '3.10')", False),
     ("extra == 'test'", False), ("python_full_version ~= '3.10'", False), ("nonsense", False)],
)  # fmt: skip
def test_a_requirement_under_a_condition_counts_where_that_is_met(marker: str, is_needed: bool) -> None:
    assert (packages.lacking([f"no-such-thing>=1 ; {marker}"]) != []) == is_needed


def test_the_first_package_on_the_path_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, name in (
        ("a", "my_thing-1.0.dist-info"),
        ("b", "my_thing-2.0.dist-info"),
        ("b", "old-thing-3.dist-info"),
    ):
        (tmp_path / folder / name).mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "a"), "/nowhere", str(tmp_path / "b")])
    assert packages.installed() == {"my-thing": "1.0", "old-thing": "3"}


def test_an_editable_install_is_found_by_its_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, origin in (("mine", '{"dir_info": {"editable": true}}'), ("theirs", '{"dir_info": {}}')):
        (tmp_path / f"{name}-1.dist-info").mkdir()
        (tmp_path / f"{name}-1.dist-info" / "direct_url.json").write_text(origin)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert packages.editable() == ["mine"]


def test_every_extra_has_pinned_packages() -> None:
    pins = (Path(packages.__file__).parents[2] / "constraints.txt").read_text()
    for extra in ("mlflow", "wandb", "sacred", "elasticsearch", "dev"):
        lines = packages.of_extra(extra)
        assert lines, extra
        for line in lines:
            assert f"\n{packages.name_of(line)}==" in pins, line
    assert packages.of_extra("none") == []
