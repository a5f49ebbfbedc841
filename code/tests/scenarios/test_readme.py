"""The README's commands, run one after the other as written."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from exper.config import config_file
from tests.support import manager, play

ROOT = play.CODE.parent
README = (ROOT / "README.md").read_text()
# Tested elsewhere, with an editor, a page that stays open, a server, GPUs or SLURM.
_LEFT_OUT = ("vi ", "itb ", "exper board", "CUDA_VISIBLE_DEVICES", "exper submit", "exper cancel")
_QUICK = {
    "epochs": 2,
    "data.split": {"val": 100, "test": 1500, "stratify": True, "seed": 0},
    "threads": 1,
    "verbose": "quiet",
    "search": {"optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True}, "data.batch_size": [16, 32, 64]},
}


def test_the_days_work_runs_as_written(tmp_path: Path) -> None:
    root = tmp_path / "project"
    ignored = shutil.ignore_patterns("__pycache__", ".*cache", "tests", "benchmarks", "docs")
    shutil.copytree(play.CODE, root / "code", ignore=ignored)
    shutil.copy2(ROOT / ".gitignore", root)
    config = root / "code" / "config.py"
    config.write_bytes(config_file.edit(config.read_bytes(), _QUICK))
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=first"]):
        manager.git(root, *words)
    config.write_text(f"{config.read_text()}\n# wider\n")
    section = README.partition("## The day's work")[2].partition("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if not line.startswith(_LEFT_OUT)]
    script = "".join(
        f"echo; echo '$ {line.partition('#')[0].strip()}'\n{_answered(line)} || exit 1\n" for line in lines
    )
    output = tmp_path / "output"
    with open(output, "wb") as file:
        done = subprocess.run(
            ["bash", "-c", script], cwd=root, env=os.environ, stdin=subprocess.DEVNULL,
            stdout=file, stderr=subprocess.STDOUT, timeout=900,
        )  # fmt: skip
    assert done.returncode == 0, output.read_text()
    assert len(lines) > 20
    assert "EXACT (2 epochs" in output.read_text()
    assert manager.git(root, "status", "--porcelain") == ""


def _answered(line: str) -> str:
    """Return a command that asks no question; the README's search is made shorter."""
    command = line.partition("#")[0].strip().replace("--trials 30", "--trials 3")
    return f"{command} --yes" if command.startswith(("exper rm", "exper gc")) else command
