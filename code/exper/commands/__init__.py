"""One file a command, with one public function of the command's name; a keyword's file ends in `_`."""

import ast
import importlib
from collections.abc import Callable
from pathlib import Path

from exper.core.errors import Refused, did_you_mean
from exper.core.paths import Project

Command = Callable[[list[str], Project], int]
SHORT_NAMES = {"con": "continue", "re": "rerun"}
# The commands that source.sh gives a name of their own; the others would shadow too much of the user's shell.
IN_SHELL = ("run", "continue", "rerun", "record", "title", "table", "expls", "expels", "itb", *SHORT_NAMES)
_FOLDER = Path(__file__).parent
_HIDDEN = ("complete", "help")


def names() -> list[str]:
    """Return the commands that there are."""
    return sorted(path.stem.rstrip("_") for path in _FOLDER.glob("[a-z]*.py") if path.stem not in _HIDDEN)


def find(name: str) -> Command:
    """Import the file of a command and return its function.

    Raises:
        Refused: there is no such command.
    """
    name = "help" if name in ("-h", "--help") else name
    if name not in names() and name not in _HIDDEN:
        raise Refused(f"there is no such command.{did_you_mean(name, names())} It has: {', '.join(names())}.")
    module = importlib.import_module(f"exper.commands.{_file(name).stem}")
    return getattr(module, _file(name).stem)  # type: ignore[no-any-return]


def summary(name: str) -> str:
    """Return the first line of a command's help."""
    return (ast.get_docstring(ast.parse(_file(name).read_text())) or "").partition("\n")[0]


def _file(name: str) -> Path:
    path = _FOLDER / f"{name}_.py"
    return path if path.exists() else _FOLDER / f"{name}.py"
