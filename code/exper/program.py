"""The run that a program of the project trains; the only module that knows both the manager and training."""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

from exper.core import paths
from exper.core.errors import Refused
from exper.training.run import Run, handed_run


@contextlib.contextmanager
def this_run(code: Path, given: Mapping[str, str] = os.environ) -> Iterator[Run]:
    """Yield the run that the environment names; without one (`python code/main.py`, a debugger) a new untagged run."""
    if "EXPER_RUN" in given:
        with handed_run(given) as run:
            yield run
        return
    from exper.runs.untagged import Untagged  # imports most of the manager, which the run of a tag does not need

    command = ["python", "code/main.py", *sys.argv[1:]]
    with Untagged(paths.Project(code.parent), command) as environment, handed_run(environment) as run:
        try:
            yield run
        except Refused as error:
            print(f"main.py: {error}", file=sys.stderr)
            raise
        except Exception:
            traceback.print_exc()  # it must be in the log before the run ends; a debugger still gets the exception
            sys.excepthook = lambda *_: None
            raise
