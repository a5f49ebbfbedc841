"""A new project from this one: its committed code, without results, history, tests and documentation."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from exper.core import files
from exper.core.errors import Refused
from exper.core.paths import Project
from exper.repository import client
from exper.repository.objects import Entry
from exper.repository.repository import Repository
from exper.runs import snapshot

EXAMPLES = {"classification": "digits", "segmentation": "shapes"}  # folders of code/examples
_LEFT_OUT = ("code/tests/", "code/benchmarks/", "code/docs/")
_AT_ROOT = (".gitignore", ".gitattributes")
_README = """\
# {name}

A PyTorch project that remembers every experiment, made by `exper new`.

```sh
. ./code/source.sh                 # once a shell, bash or zsh: gives the commands
run demo                           # trains what code/config.py describes

vi code/config.py                  # every setting is here
git commit -am "wider model"
run wide                           # tags the commit, trains from that tag, writes __result__/wide/0/
continue wide                      # after Ctrl-C, a crash or a reboot
expls                              # all tags and their runs
exper -h                           # every command; `exper <command> -h` tells more
```

The first command makes the Python environment `.venv` (6 GB), unless the active one has `code/requirements.txt`.

`code/config.py` has the settings, `code/main.py` builds what they name: read it first. Data sets go into `__data__/`,
models into `code/model/`, each a file and a line in its `__init__.py`; `code/examples/` has configs to copy from.
`code/exper/` is Exper itself, under its own license; the `docs/` that comments name are in the project Exper.
"""


def write(folder: Path, name: str, repository: Repository, commit: str, example: str | None) -> None:
    """Write a project and its first commit into a folder; `example` replaces its config.py.

    Raises:
        Refused: the commit lacks the example, or git fails.
    """
    snapshot.write_files(folder, repository, _entries(repository, commit), partial(_mode, files.umask()))
    for ours in ("__data__", "__result__", "__statistic__"):
        readme = repository.file(commit, f"{ours}/README.md")
        if readme is not None:
            (folder / ours).mkdir()
            (folder / ours / "README.md").write_bytes(readme)
    license_text = repository.file(commit, "LICENSE")
    license_file = Project(folder).code / "exper" / "LICENSE"
    if license_text is not None and not license_file.exists():
        license_file.write_bytes(license_text)
    (folder / "README.md").write_text(_README.format(name=name))
    if example is not None:
        files.replace(Project(folder).code / "config.py", _config(repository, commit, example))
    client.create(folder, f"{name}, made by exper new")
    if example == "segmentation":
        _draw_shapes(Project(folder))


def _entries(repository: Repository, commit: str) -> list[Entry]:
    return [
        entry
        for entry in repository.files(commit)
        if entry.path in _AT_ROOT or (entry.path.startswith("code/") and not entry.path.startswith(_LEFT_OUT))
    ]


def _mode(umask: int, entry: Entry) -> int:
    return (0o777 if snapshot.is_executable(entry) else 0o666) & ~umask


def _config(repository: Repository, commit: str, example: str) -> bytes:
    path = f"code/examples/{EXAMPLES[example]}/config.py"
    config = repository.file(commit, path)
    if config is None:
        raise Refused(f"--example {example}: this project has no {path}. Leave it out, or bring that back.")
    return config


def _draw_shapes(project: Project) -> None:
    program = project.code / "examples" / EXAMPLES["segmentation"] / "make.py"
    done = subprocess.run([sys.executable, "-I", program], capture_output=True, text=True, cwd=os.sep)
    if done.returncode:
        raise Refused(f"{program.name} can't draw the images: {done.stderr.strip().splitlines()[-1]}")
