"""A project with the template whose runs train in several processes."""

import contextlib
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exper.core import paths
from tests.support import play
from tests.support.manager import wait_for

SECONDS = 100
LINES = 8  # of the history of a run that is held
_HOLDS = """\
while state.step == 7 and os.path.exists({path!r}) and stopping.exit_code() is None:
    time.sleep(0.01)
state.log(images=float(len(batch.input)) * bool(batch.share))
"""

# 57 images in batches of 14: the last batch has one, so that the first process has nothing of it.
ADAM = {"name": "adam", "lr": 0.01}
SGD = {"name": "sgd", "lr": 0.1, "momentum": 0.9}
SETTINGS = {
    "epochs": 4,
    "data": {
        "name": "digits",
        "batch_size": 14,
        "eval_batch_size": 64,
        "split": {"val": 101, "test": 1639, "stratify": True, "seed": 0},
        "workers": 0,
    },
    "transform": [
        {"name": "normalize", "mean": [0.3], "std": [0.4]},
        {"name": "crop", "padding": 1},
        {"name": "flip", "p": 0.5},
    ],
    "model": {"name": "lenet", "dropout": 0.0},
    "metric": [{"name": name} for name in ("acc", "f1", "confusion")],
    "optimizer": {"conv1": ADAM} | dict.fromkeys(["conv2", "linear1", "linear2"], SGD),
    "scheduler": {"name": "plateau", "patience": 1},
    "accumulate": 2,
    "clip": 1.0,
    "ema": 0.9,
    "log_every_steps": 1,
    "checkpoint": {"every": 1, "every_steps": 1, "every_minutes": 0.001, "keep": 2},
    "threads": 1,
    "processes": 2,
}


class Together:
    """A project with the template, and its runs."""

    def __init__(self, root: Path) -> None:
        self.project = paths.Project(root)
        ignored = shutil.ignore_patterns("__pycache__", "tests", "benchmarks", "docs")
        shutil.copytree(play.CODE, root / "code", ignore=ignored)
        shutil.copy2(play.CODE.parent / ".gitignore", root)
        self.set()
        self._hold = root.parent / "hold"
        self._loop = root / "code" / "epoch.py"
        imports = "import os\nimport time\n\nimport torch\nfrom exper.training import stopping\n"
        text = self._loop.read_text().replace("import torch\n", imports, 1)
        self._loop.write_text(_with(text, _HOLDS.format(path=str(self._hold))))
        for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=first"]):
            subprocess.run(["git", *words], cwd=root, check=True)

    def set(self, **changes: Any) -> None:
        config = play.config(**SETTINGS, **changes)
        (self.project.code / "config.py").write_text("".join(f"{name} = {one!r}\n" for name, one in config.items()))

    @contextlib.contextmanager
    def loop_with(self, lines: str) -> Iterator[None]:
        """Have runs that are tagged meanwhile do more at the end of a step."""
        before = self._loop.read_text()
        self._loop.write_text(_with(before, lines))
        try:
            yield
        finally:
            self._loop.write_text(before)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have what trains wait in its eighth step until a signal asks it to stop, for a test may be slow."""
        self._hold.touch()
        try:
            yield
        finally:
            self._hold.unlink()

    def start(self, *words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, str(self.project.code / "exper"), *words]
        return subprocess.Popen(
            command, cwd=self.project.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def exper(self, *words: str) -> tuple[int, str]:
        started = self.start(*words)
        output, _ = started.communicate(timeout=SECONDS)
        return started.returncode, output

    def run(self, tag: str, number: int = 0) -> paths.Run:
        return self.project.tag(tag).run(number)


def wait_until_held(run: paths.Run) -> None:
    """Wait until a run waits in its eighth step."""
    wait_for(lambda: run.history.exists() and run.history.read_bytes().count(b"\n") == LINES, SECONDS)


def _with(loop: str, lines: str) -> str:
    update = "    state.update(clip=settings.clip)\n"
    assert update in loop
    return loop.replace(update, update + textwrap.indent(textwrap.dedent(lines), "    "))
