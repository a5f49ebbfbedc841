"""LFS pointers become their objects, or are refused before anything is tagged."""

import hashlib
from pathlib import Path

import pytest

from exper.core import paths
from tests.support.manager import exper, git, log, nothing_left, refused, write

_LARGE = b"a large file\n" * 10


def _add_pointer(project: paths.Project, *, has_object: bool, top: Path | None = None) -> None:
    """Commit a pointer, with the attributes that make it one in the project or a folder above, and maybe its object."""
    oid = hashlib.sha256(_LARGE).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(_LARGE)}\n"
    ((top or project.root) / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (project.code / "large.bin").write_text(pointer)
    write(project, main="import sys; sys.stdout.write(open('code/large.bin').read()); sys.exit(1)")
    if has_object:
        git_folder = Path(git(project.root, "rev-parse", "--absolute-git-dir").strip())
        store = git_folder / "lfs" / "objects" / oid[:2] / oid[2:4]
        store.mkdir(parents=True)
        (store / oid).write_bytes(_LARGE)


def test_an_lfs_pointer_becomes_its_object_in_the_snapshot(project: paths.Project) -> None:
    _add_pointer(project, has_object=True)
    exper(project, "run", "base", code=1)
    assert log(project, "base/0") == ["a large file"] * 10
    exper(project, "continue", "base", code=1)


@pytest.mark.parametrize("depth", [0, 1])
def test_an_lfs_pointer_is_known_by_attributes_of_any_folder_above(below: paths.Project, depth: int) -> None:
    inner = paths.Project(below.root.parent / "deep er" / "inner")
    inner.root.parent.mkdir()
    git(below.root.parent, "mv", below.root.name, "deep er/inner")
    top = inner.root.parents[depth]
    _add_pointer(inner, has_object=True, top=top)
    exper(inner, "run", "base", code=1)
    assert log(inner, "base/0") == ["a large file"] * 10
    git(top, "rm", "--quiet", ".gitattributes")
    git(top, "commit", "--quiet", "--message=without")
    exper(inner, "continue", "base", code=1)
    assert log(inner, "base/0") == ["a large file"] * 20  # the tag's own


def test_an_lfs_pointer_without_its_object_is_refused_before_tagging(project: paths.Project) -> None:
    _add_pointer(project, has_object=False)
    with nothing_left(project):
        error = refused(project, "run", "base")
    assert "code/large.bin" in error
    assert "git lfs fetch" in error
