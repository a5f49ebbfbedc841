"""Start the program that trains a run; the only module that knows both the manager and training."""

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from exper.config import config_file
from exper.core import paths, slurm
from exper.core.errors import Refused
from exper.training.distributed import collective
from exper.training.run import Run, handed_run
from exper.training.session import Session


def start(code: Path, schema: type, main: Callable[[Session], None], description: str | None) -> None:
    """Call `main` with the session of the run that the environment names, or of a new untagged one.

    Where config.py asks for several processes, the launcher starts the program once for each instead.

    Args:
        code: the folder of config.py.
        schema: the dataclass of config.py's names and their types.
        main: trains.
        description: the program's help text.
    """
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument("--debug", action="store_true", help="as config.py's debug = True: a short run with checks on")
    changes = {"debug": True} if parser.parse_args().debug else {}
    with this_run(code) as run:
        config = config_file.read((code / "config.py").read_bytes()) | changes
        _launch_processes(run, config)
        main(Session(run, config, schema, code.parent))


def _launch_processes(run: Run, config: dict[str, Any]) -> None:
    """If the run has several processes, start them, and exit with their exit code."""
    job = run.record.get("job")
    count = collective.wanted(config)
    if "EXPER_LAUNCHER" in os.environ or count * slurm.nodes(job) == 1:
        return
    from exper.training.distributed import launcher  # imports slowly, which a single process need not wait for

    threads = collective.threads(run.record["threads"], config, count)
    launcher.start(run.files.folder, count, threads, job=job, lock=run.lock, environment=run.environment())


@contextlib.contextmanager
def this_run(code: Path, given: Mapping[str, str] = os.environ) -> Iterator[Run]:
    """Yield the run that the environment names; without one (`python code/main.py`, a debugger) a new untagged run."""
    if "EXPER_RUN" in given:
        with handed_run(given) as run:
            yield run
        return
    from exper.runs.untagged import untagged_run  # imports most of the manager, which the run of a tag does not need

    command = ["python", "code/main.py", *sys.argv[1:]]
    with untagged_run(paths.Project(code.parent), command) as environment, handed_run(environment) as run:
        try:
            yield run
        except Refused as error:
            print(f"main.py: {error}", file=sys.stderr)
            raise
        except Exception:
            traceback.print_exc()  # it must be in the log before the run ends; a debugger still gets the exception
            sys.excepthook = lambda *_: None
            raise
