"""Loggers that send what a run's files hold: one small class each, imported where it is used.

A logger begins with what there is to know of the run (about.py) and the arguments that config.py gives it, and has

    start(there)      find the run where it is sent to, or make it; return what to remember, to find it again
    missing(lines)    of lines that may have arrived already, what has not
    log(lines)        send lines of history.jsonl: their numbers are the scalars
    show(item)        send a text or a picture; a second time changes nothing
    finish(end)       tell how the run ended; start may follow, when it goes on

It may say as well which `sources` it takes, how many lines at `most` at a time, with which `pause` in seconds, by which
`factor` it takes more CPU than the thread that calls it, and, once it has started, how many lines have `arrived`.

Any of them may fail, or hang, at any moment; sender.py asks `missing` before it sends again what was under way.
"""

import importlib
from typing import Any

from exper.config.logger_registry import Part
from exper.core import components
from exper.sidecars.loggers.run_info import About

_CLASS = {"sacred": "Sacred", "mlflow": "MLflow", "wandb": "WandB", "elasticsearch": "Elasticsearch"}


def check(part: Part) -> None:
    """Refuse arguments that a logger does not take."""
    components.check_arguments(f"logger.{part['name']}", _arguments(part), _class(part), leading=1)


def build(part: Part, about: About) -> Any:
    """Return the logger that a part names."""
    return _class(part)(about, **_arguments(part))


def sources(part: Part) -> tuple[str, ...]:
    """Return the files whose lines a logger sends."""
    return getattr(_class(part), "sources", ("history",))


def _class(part: Part) -> Any:
    return getattr(importlib.import_module(f"exper.sidecars.loggers.{part['name']}"), _CLASS[part["name"]])


def _arguments(part: Part) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name != "name"}
