"""Command lines: argparse, with errors in the form of all our errors."""

import argparse
import os
import shlex
from pathlib import Path
from typing import NoReturn

from exper.core.errors import Refused


class Parser(argparse.ArgumentParser):
    """A parser whose help is the docstring of the command's file."""

    def __init__(self, name: str, doc: str | None) -> None:
        """Refuse abbreviations: an option added later must not change the meaning of a script."""
        super().__init__(
            prog=name, description=doc, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
        )

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise Refused(f"{message}. Type: {self.prog} -h")


def output_file(given: str, *endings: str) -> Path:
    """Return the file given to -o, with links resolved.

    Raises:
        Refused: no file of that name can be written.
    """
    path = Path(os.path.realpath(given))
    if path.suffix.lower() not in endings:
        wanted = " or ".join(filter(None, (", ".join(endings[:-1]), endings[-1])))
        raise Refused(f"-o {given}: the name of the file must end in {wanted}.")
    if path.exists() and not path.is_file():
        raise Refused(f"-o {given}: that is not a file. Give it another name.")
    if not path.parent.is_dir():
        folder = Path(given).parent
        raise Refused(f"-o {given}: there is no folder {folder}. Type: mkdir -p {shlex.quote(str(folder))}")
    return path
