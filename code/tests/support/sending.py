"""Runs with loggers that send: trained without torch, through the real manager and the real Recorder."""

import json
import os
from typing import Any

import psutil

from exper.core import files, paths
from tests.support import manager
from tests.support.manager import the_run, wait_for, write

# As main.py does, without torch. It waits where a file says so, and trains again from where it was.
TRAINS = (
    manager.READY
    + """\
import json
from exper.config import config_file as settings
from exper.training.records.recorder import Recorder
from exper.core import paths
config = settings.read(pathlib.Path("code/config.py").read_bytes())
this = paths.Run(run)
record = Recorder(this, config["logger"])
saved = json.loads((run / "saved").read_text()) if (run / "saved").exists() else None
epochs = range(saved["epoch"] + 1 if saved else 1, config["epochs"] + 1)
record.start({"format": 1, "hparam": settings.flatten(config)}, saved, 0)
try:
    for number in epochs:
        if (run / "slowly").exists():
            time.sleep(0.2)
        line = {"epoch": number, "step": 10 * number, "train/loss": 1 / number, "val/loss": 2 / number, "lr": 0.1}
        line |= {"weights": "abc", "seconds": time.monotonic()}
        record.end_epoch(line, line)
        if number == 2:
            record.show(20, "note", "a text")
        if number == config.get("save"):
            (run / "saved").write_text(json.dumps(record.state_dict() | {"epoch": number}))
        if number == config.get("stop") and not saved:
            ready()
            while not (run / "go").exists():
                time.sleep(0.01)
            if not (run / "on").exists():
                raise SystemExit(1)
    record.end_test({"epoch": 1, "test/loss": 0.5})
finally:
    record.close()
"""
)


def prepare(project: paths.Project, logger: Any, epochs: int = 6, **more: Any) -> paths.Run:
    """Commit a project with these loggers, and return the run that `run base` will make."""
    config = {"epochs": epochs, "model": {"name": "lenet", "dropout": 0.4}, "logger": logger, **more}
    write(project, main=TRAINS, config="".join(f"{name} = {value!r}\n" for name, value in config.items()))
    return the_run(project, "base/0")


def senders(run: paths.Run) -> list[psutil.Process]:
    """Return the senders at work on a run."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if str(run.folder) in words and any(word.endswith("sender.py") for word in words):
            found.append(process)
    return [process for process in found if not manager.is_gone(process.pid)]


def wait_sent(run: paths.Run, seconds: float = 60) -> None:
    """Wait until the sender has ended."""
    wait_for(lambda: not senders(run), seconds)


def send_all(run: paths.Run) -> None:
    """Wait until the sender has ended, and send what it had no time for on a busy machine."""
    wait_sent(run)
    manager.exper(run.project, "send", str(run), timeout=90)


def sent(run: paths.Run, name: str) -> Any:
    """Return a logger's memory."""
    return json.loads((run.sent / f"{name}.json").read_text())


def arrived(run: paths.Run, name: str) -> int:
    """Return the number of lines of history that a logger has sent."""
    return int(sent(run, name)["lines"].get("history", 0)) if (run.sent / f"{name}.json").exists() else 0


def history(run: paths.Run) -> list[dict[str, Any]]:
    """Return history.jsonl without times."""
    return [
        {name: value for name, value in line.items() if name != "seconds"} for line in files.read_lines(run.history)
    ]


def kill(run: paths.Run, *pids: int) -> None:
    """Kill these processes and the senders of the run."""
    for pid in (*pids, *(process.pid for process in senders(run))):
        os.kill(pid, 9)
