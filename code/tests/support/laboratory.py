"""A project whose runs are trained warm, by a server, and cold, by a command."""

import os
import shutil
import textwrap
from pathlib import Path
from typing import Any

from exper.config import config_file
from exper.core import paths
from exper.search.server import Server, wait_for_report
from tests.conftest import CODE
from tests.support import manager
from tests.support.manager import git

THREADS = 2
SEED = 7
SHOWS = "import sys\nprint('warm' if 'torch' in sys.modules else 'cold')\n"
_SKIPPED = shutil.ignore_patterns("__pycache__", ".*cache", "tests", "benchmarks", "docs")


class Laboratory:
    """A project with the template, and one server for all that is tried in it."""

    def __init__(self, root: Path) -> None:
        """Commit the template as the tag `template`."""
        self.project = paths.Project(root)
        self.environment = dict(os.environ)
        shutil.copytree(CODE, root / "code", ignore=_SKIPPED)
        shutil.copy2(CODE.parent / ".gitignore", root)
        git(root, "init", "--quiet", "--initial-branch=main")
        config = root / "code" / "config.py"
        changes = {"epochs": 3, "data.batch_size": 64, "logger": ["tensorboard"]}
        config.write_bytes(config_file.edit(config.read_bytes(), changes))
        self._commit("template")

    def _commit(self, tag: str) -> None:
        manager.commit(self.project)
        git(self.project.root, "tag", "--annotate", f"--message={tag}\n\nExper-Seed: {SEED}", tag)

    def write(self, tag: str, main: str, **files: str) -> str:
        """Commit a stranger's code under a tag."""
        shutil.rmtree(self.project.code)
        shutil.copytree(CODE / "exper", self.project.code / "exper", ignore=_SKIPPED)
        (self.project.code / "requirements.txt").write_text("torch\n")
        for name, text in {"main": main, **files}.items():
            path = self.project.code / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))
        self._commit(tag)
        return tag

    def request(self, name: str, **changes: Any) -> dict[str, Any]:
        """Return the request of a search for the run `<tag>/<id>`."""
        tag, _, number = name.partition("/")
        commit = git(self.project.root, "rev-parse", f"{tag}^{{commit}}").strip()
        command = ["search", "s"]
        usual = {"tag": tag, "id": int(number), "commit": commit, "seed": SEED, "threads": THREADS}
        return {**usual, "command": command, "environment": {}} | changes

    def warm(self, server: Server, name: str, **changes: Any) -> paths.Run:
        """Train a run warm, to its end."""
        assert wait_for_report(server.start(self.request(name, **changes))) == {}
        return manager.the_run(self.project, name)

    def cold(self, name: str, code: int = 0) -> paths.Run:
        """Train the code and seed of a run again, by a command, to its end."""
        tag = name.partition("/")[0]
        manager.exper(self.project, "rerun", name, "-f", code=code, env=self.environment)
        return self.project.tag(tag).runs()[-1]
