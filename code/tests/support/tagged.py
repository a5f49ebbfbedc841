"""Files of a tag, as git has them."""

import os
import subprocess

from exper.core import paths


def files_of(project: paths.Project, name: str) -> set[str]:
    """Return the project's files in a tag, without the manager's."""
    listing = subprocess.check_output(
        ["git", "ls-tree", "-r", "-z", "--name-only", "--full-tree", f"{name}:./"], cwd=project.root
    )
    return {path for path in os.fsdecode(listing).split("\0") if path and not path.startswith("code/exper/")}


def content_of(project: paths.Project, name: str, path: str) -> bytes:
    return subprocess.run(
        ["git", "cat-file", "blob", f"{name}:./{path}"], cwd=project.root, check=True, capture_output=True
    ).stdout
