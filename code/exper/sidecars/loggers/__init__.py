"""Loggers that send the records of a run: one small class each, imported only where it is used.

A logger is built from what is known of the run (run_info.py) and its arguments in config.py, and has

    start(there)      find the run at its destination, or create it; return the memory that finds it again
    missing(lines)    of lines that may already have arrived, return those (or the points) that have not
    log(lines)        send lines; their numbers are the scalars
    show(item)        send a text or a picture; sending it again changes nothing
    finish(end)       report the end of the run; start may follow, when it continues

A logger may also set `sources` (the files it takes), `most` (lines at a time), `pause` (seconds between two batches),
`factor` (its CPU time relative to that of the thread that calls it) and, once it has started, `arrived` (how many lines
have arrived).

Any of these methods may fail, or hang, at any moment; sender.py asks `missing` before it sends a batch again.
"""

import importlib
from typing import Any

from exper.config.logger_registry import SENDERS
from exper.core import components
from exper.core.components import Component
from exper.sidecars.loggers.run_info import RunInfo


def check(setting: Component) -> None:
    """Refuse arguments that a logger does not take."""
    components.check_arguments(f"logger.{setting['name']}", _arguments(setting), _class(setting), leading=1)


def build(setting: Component, info: RunInfo) -> Any:
    """Return the logger that an entry of config.py's `logger` names."""
    return _class(setting)(info, **_arguments(setting))


def sources(setting: Component) -> tuple[str, ...]:
    """Return the files whose lines a logger sends."""
    return getattr(_class(setting), "sources", ("history",))


def _class(setting: Component) -> Any:
    module = importlib.import_module(f"exper.sidecars.loggers.{setting['name']}")
    return getattr(module, SENDERS[setting["name"]].class_name)


def _arguments(setting: Component) -> dict[str, Any]:
    return {name: value for name, value in setting.items() if name != "name"}
