"""Ask TensorBoards over HTTP, and make runs for them: without torch, with the event files that training writes."""

import contextlib
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil

from exper.core import files, paths
from tests.support import manager
from tests.support.browser import PROGRAM

_FLAGS = [
    *("--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
]
# The template's files, written without torch: a curve of 1, 2, 3, settings and results.
CURVES = (
    manager.READY
    + """\
import json
sys.path.append(str(pathlib.Path(__file__).parent))
from exper.training.records.event_file import Events
events = Events(run / "tensorboard", None, 0)
for step in (1, 2, 3):
    events.write(step, {"val/acc": float(step)})
events.close()
hparam = {"optimizer.lr": 0.1, "clip": None if run.name == "0" else 1.0, "name": "a", "flag": True, "sizes": [1, 2]}
metric = {kind: {"epoch": 3, "val/acc": 0.1 + 0.2} for kind in ("best", "last")}
(run / "statistic.json").write_text(json.dumps({"format": 1, "hparam": hparam, "metric": metric}))
"""
)
CONFIG = "epochs = 3\nlogger = ['tensorboard']\n"


def get(address: str, path: str) -> Any:
    """Return TensorBoard's JSON answer."""
    with _ask(address + path) as answer:
        return json.load(answer)


def post(address: str, path: str, content: dict[str, Any]) -> Any:
    """Return a plugin's answer to JSON."""
    about = {"Content-Type": "application/json"}
    request = urllib.request.Request(address + path, json.dumps(content).encode(), about)
    with _ask(request) as answer:
        return json.load(answer)


def _ask(request: Any) -> Any:
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20)


def runs(address: str) -> list[str]:
    """Return the runs that TensorBoard shows."""
    return sorted(get(address, "data/runs"))


def curve(address: str, run: str, tag: str) -> list[tuple[int, float]]:
    """Return the points of a curve; none if it does not exist."""
    with contextlib.suppress(urllib.error.HTTPError):
        found = get(address, f"data/plugin/scalars/scalars?run={run}&tag={tag}")
        return [(step, value) for _, step, value in found]
    return []


@contextlib.contextmanager
def page(address: str) -> Iterator[Any]:
    """Yield the page at an address in a real Chromium."""
    from playwright.sync_api import sync_playwright

    near: dict[str, Any] = {**os.environ, "TMPDIR": "/tmp"}  # the path of a socket must be short
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=PROGRAM, args=_FLAGS, env=near)
        try:
            shown = chromium.new_page(viewport={"width": 1800, "height": 900})
            shown.goto(address, wait_until="domcontentloaded")
            yield shown
        finally:
            chromium.close()


@contextlib.contextmanager
def opened(project: paths.Project, *words: str, **options: Any) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Type `itb` and yield the address that it prints; end it with Ctrl-C, unless it has ended."""
    itb = manager.start(project, "itb", *words, stderr=None, **options)
    assert itb.stdout is not None
    try:
        yield address_in(itb.stdout.readline()), itb
    finally:
        itb.send_signal(signal.SIGINT)
        try:
            itb.wait(20)
        finally:
            itb.kill()
            itb.stdout.close()


def address_in(text: str) -> str:
    """Return the address in a command's output."""
    found = re.search(r"http://\S+", text)
    assert found, text
    return found[0]


def of_project(project: paths.Project) -> list[psutil.Process]:
    """Return the processes of a project's background TensorBoards."""
    launch = str(project.code / "exper")
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if launch in process.cmdline() and "serve" in process.cmdline():
                found.append(process)
    return [process for process in found if not manager.is_gone(process.pid)]


def end_all(project: paths.Project) -> None:
    """End the TensorBoards that a test has left."""
    left = of_project(project)
    for process in left:
        process.terminate()
    for process in psutil.wait_procs(left, timeout=20)[1]:
        process.kill()


def history(run: paths.Run) -> list[dict[str, Any]]:
    """Return the lines of history.jsonl."""
    return files.read_lines(run.history)
