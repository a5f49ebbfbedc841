import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exper.training import untracked_code

NAMES = ("edited", "edited.part", "installed", "ours")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder of a tag's copy, after imports from it and from elsewhere."""
    places = {"edited": "src", "installed": "lib/site-packages", "ours": "copy/code"}
    for name, place in places.items():
        (tmp_path / place / name).mkdir(parents=True)
        (tmp_path / place / name / "__init__.py").touch()
        monkeypatch.syspath_prepend(tmp_path / place)
    (tmp_path / "src" / "edited" / "part.py").write_text("lr = 1\n")
    (tmp_path / "src" / "edited" / "unused.py").touch()
    (tmp_path / "link").symlink_to(tmp_path / "copy")
    for name in NAMES:
        importlib.import_module(name)
    yield tmp_path / "link"
    for name in NAMES:
        del sys.modules[name]


def found(root: Path) -> dict[str, str]:
    return {name: digest for name, digest in untracked_code.digests(root).items() if name in NAMES}


def test_only_code_neither_in_the_copy_nor_installed_is_untracked(root: Path) -> None:
    assert list(found(root)) == ["edited"]
    assert not {"os", "json", "torch", "pytest"} & untracked_code.digests(root).keys()


def test_the_digest_covers_all_loaded_files(root: Path) -> None:
    before = found(root)
    package = root.parent / "src" / "edited"
    (package / "unused.py").write_text("x = 1\n")
    assert found(root) == before
    (package / "part.py").write_text("lr = 2\n")
    assert found(root) != before
    (package / "part.py").unlink()
    assert len(found(root)["edited"]) == 16
