"""Trials that start warm: the same numbers, surroundings and ends as cold ones; signals, kills, pruning."""

import ast
import json
import mmap
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from exper.config import config_file
from exper.core import paths
from exper.runs import run_record
from exper.search import huge_pages
from exper.search import server as warm
from tests.conftest import CODE, isolate
from tests.support import manager, play
from tests.support.manager import git, log, state

THREADS = 2
SEED = 7
_SKIPPED = shutil.ignore_patterns("__pycache__", ".*cache", "tests", "benchmarks", "docs")
_PACKAGE = "of_the_user"  # on PYTHONPATH


class Laboratory:
    """A project with the template, and one server for all that is tried in it."""

    def __init__(self, root: Path) -> None:
        """Commit the template as the tag `template`."""
        self.project, self.environment = paths.Project(root), dict(os.environ)
        shutil.copytree(CODE, root / "code", ignore=_SKIPPED)
        shutil.copy2(CODE.parent / ".gitignore", root)
        git(root, "init", "--quiet", "--initial-branch=main")
        config = root / "code" / "config.py"
        changes = {"epochs": 3, "data.batch_size": 64, "logger": ["tensorboard"]}
        config.write_bytes(config_file.edit(config.read_bytes(), changes))
        self._commit("template")

    def _commit(self, tag: str) -> None:
        manager.commit(self.project)
        git(self.project.root, "tag", "--annotate", f"--message={tag}\n\nExper-Seed: {SEED}", tag)

    def write(self, tag: str, main: str, **files: str) -> str:
        """Commit a stranger's code under a tag."""
        shutil.rmtree(self.project.code)
        shutil.copytree(CODE / "exper", self.project.code / "exper", ignore=_SKIPPED)
        (self.project.code / "requirements.txt").write_text("torch\n")
        for name, text in {"main": main, **files}.items():
            path = self.project.code / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))
        self._commit(tag)
        return tag

    def request(self, name: str, **changes: Any) -> dict[str, Any]:
        """Return what a search asks for, for the run `<tag>/<id>`."""
        tag, _, number = name.partition("/")
        commit = git(self.project.root, "rev-parse", f"{tag}^{{commit}}").strip()
        command = ["search", "s"]
        usual = {"tag": tag, "id": int(number), "commit": commit, "seed": SEED, "threads": THREADS}
        return {**usual, "command": command, "environment": {}} | changes

    def warm(self, server: warm.Server, name: str, **changes: Any) -> paths.Run:
        """Train a run warm, to its end."""
        assert warm.report(server.start(self.request(name, **changes))) == {}
        return manager.the_run(self.project, name)

    def cold(self, name: str, code: int = 0) -> paths.Run:
        """Train the code and seed of a run again, by a command, to its end."""
        tag = name.partition("/")[0]
        manager.exper(self.project, "rerun", name, "-f", code=code, env=self.environment)
        return self.project.tag(tag).runs()[-1]


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """Return a project with the template, under the environment that all tests here have."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "packages" / _PACKAGE).mkdir(parents=True)
    (folder / "packages" / _PACKAGE / "__init__.py").write_text("VALUE = 1\n")
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder / "home")
        patch.setenv("PYTHONPATH", str(folder / "packages"))
        yield Laboratory(folder / "it's a próject")


@pytest.fixture(autouse=True)
def _same_environment(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ.keys() - laboratory.environment.keys():
        monkeypatch.delenv(name)
    for name, value in laboratory.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def server(laboratory: Laboratory) -> Iterator[warm.Server]:
    """Return the one server of most tests."""
    with warm.Server(laboratory.project, THREADS) as server:
        yield server


# -- the same as cold --------------------------------------------------------------------------------------------------


def test_warm_training_has_the_bits_of_a_cold_one(laboratory: Laboratory, server: warm.Server) -> None:
    ours = laboratory.warm(server, "template/0")
    theirs = laboratory.cold("template/0")
    assert play.history(ours) == play.history(theirs)
    assert len(play.history(ours)) == 3
    names = [path.name for path in sorted(ours.checkpoint.glob("*.path"))]
    assert names == [path.name for path in sorted(theirs.checkpoint.glob("*.path"))]
    for name in names:
        one, other = (torch.load(run.checkpoint / name, weights_only=True) for run in (ours, theirs))
        for part in ("model", "optimizer", "random"):
            assert play.plain(one[part]) == play.plain(other[part]), (name, part)
    for part in ("metric", "outside_code"):
        assert play.statistic(ours)[part] == play.statistic(theirs)[part]
    assert manager.record(laboratory.project, "template/0")["command"] == ["search", "s"]


# What a stranger computes without asking for a number of threads, and what he sees of them.
COMPUTES = """\
import hashlib, json, os, sys
was_warm = "torch" in sys.modules
import numpy as np, torch, threadpoolctl, scipy.linalg
from pathlib import Path
from sklearn.datasets import load_digits
random = np.random.default_rng(0)
a = random.standard_normal((700, 700))
t = torch.from_numpy(a).float()
torch.manual_seed(1)
found = [a @ a, scipy.linalg.inv(a), (t @ t).numpy(), torch.nn.functional.dropout(t).numpy(),
         torch.sin(t).sum(0).numpy(), torch.nn.functional.conv2d(t[None, None], t[None, None, :9, :9]).numpy()]
libraries = sorted((one["internal_api"], one["num_threads"]) for one in threadpoolctl.threadpool_info())
print(json.dumps([[hashlib.sha256(one.tobytes()).hexdigest() for one in found], torch.get_num_threads(), libraries]))
print("warm" if was_warm else "cold")
"""


def test_a_stranger_computes_the_same_with_the_same_threads(laboratory: Laboratory, server: warm.Server) -> None:
    laboratory.write("computes", COMPUTES)
    laboratory.warm(server, "computes/0")
    laboratory.cold("computes/0")
    ours, how = log(laboratory.project, "computes/0")
    theirs, other_how = log(laboratory.project, "computes/1")
    assert (how, other_how) == ("warm", "cold")
    assert json.loads(ours)[1] == THREADS
    assert json.loads(ours) == json.loads(theirs)


LOOKS = """\
import os, sys
descriptors = {}
for number in map(int, os.listdir("/proc/self/fd")):
    try:
        descriptors[number] = os.path.basename(os.readlink(f"/proc/self/fd/{number}")).rstrip("0123456789:[]")
    except FileNotFoundError:  # the one that listed them
        pass
inherited = [number for number in descriptors if os.get_inheritable(number)]
before = set(sys.modules)
import io, json, resource, signal, threading, multiprocessing, time, warnings
from multiprocessing import spawn
def stream(one):
    return [one.name, one.mode, one.encoding, one.errors, one.line_buffering, one.write_through, one.newlines,
            one.isatty(), type(one.buffer).__name__, one.buffer.raw.name, one.fileno(), one.buffer.raw.closefd]
preparation = spawn.get_preparation_data("x")
handed = [int(os.environ.pop(name)) for name in ("EXPER_LOCK", "EXPER_CONTROL", "EXPER_OUTPUT")]
seen = {
    "environment": dict(os.environ),
    "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "cwd": os.getcwd(), "flags": list(sys.flags),
    "no bytecode": sys.dont_write_bytecode, "executable": sys.executable,
    "signals": {number: str(signal.getsignal(number)) for number in sorted(signal.valid_signals())},
    "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), "wakeup": signal.set_wakeup_fd(-1),
    "descriptors": sorted(descriptors.values()), "those handed": [descriptors[number] for number in handed],
    "inherited": sorted(descriptors[number] for number in inherited),
    "streams": [stream(one) for one in (sys.stdin, sys.stdout, sys.stderr)],
    "same streams": [sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__],
    "leads its group": os.getpgrp() == os.getpid(), "mask of files": os.umask(0o22), "nice": os.nice(0),
    "limits": [resource.getrlimit(one) for one in range(10)],
    "main": sorted((name, str(value)) for name, value in globals().items() if name.startswith("__")),
    "is main": sys.modules["__main__"].__dict__ is globals(),
    "spawn": {name: preparation[name] for name in ("sys_path", "sys_argv", "orig_dir", "dir", "init_main_from_path")},
    "threads": [one.name for one in threading.enumerate()], "recursion": sys.getrecursionlimit(),
    "hooks": str(sys.path_hooks), "prefix": sys.pycache_prefix,
    "exper": [name for name in before if name.startswith("exper")],
    "switch": sys.getswitchinterval(), "trace": [sys.gettrace(), sys.getprofile()],
}
with open(os.path.join(os.environ["EXPER_RUN"], "seen.json"), "w") as file:
    json.dump(seen, file, default=str)
"""


def test_the_surroundings_are_those_of_a_cold_start(laboratory: Laboratory, server: warm.Server) -> None:
    laboratory.write("looks", LOOKS)
    runs = laboratory.warm(server, "looks/0"), laboratory.cold("looks/0")
    ours, theirs = (json.loads(_without_addresses((run.folder / "seen.json").read_text())) for run in runs)
    for seen in (ours, theirs):
        for name in ("EXPER_RUN", "PYTEST_CURRENT_TEST"):
            del seen["environment"][name]
    assert {name: (ours[name], theirs[name]) for name in theirs if ours[name] != theirs[name]} == {}
    assert ours["exper"] == []
    assert ours["environment"]["OMP_NUM_THREADS"] == str(THREADS)


def _without_addresses(text: str) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", text)


IMPORTS = """\
import sys
from pathlib import Path
import {package}, beside
from exper.core import files
from exper.training import run, stop
import exper.training.checkpoint
code = Path(__file__).resolve().parent
places = {{name: str(getattr(one, "__file__", None)) for name, one in sys.modules.items()}}
assert places["beside"] == str(code / "beside.py")
ours = [place for name, place in places.items() if name.partition(".")[0] in ("exper", "beside", "__main__")]
assert len(ours) > 5 and all(Path(place).is_relative_to(code) for place in ours), ours
assert files.write_json.__code__.co_filename == files.__file__  # in tracebacks, too
assert run.Run.compare.__code__.co_filename == run.__file__
project = code.parents[3]
strange = [place for place in places.values() if Path(place).is_relative_to(project) and place not in ours]
assert not strange, strange
print({package}.VALUE, beside.VALUE)
"""


def test_every_module_of_the_project_is_the_snapshots(laboratory: Laboratory, server: warm.Server) -> None:
    main = IMPORTS.format(package=_PACKAGE)
    package = laboratory.project.root.parent / "packages" / _PACKAGE / "__init__.py"
    for value in (1, 2):  # the server lives on
        package.write_text(f"VALUE = {value}\n")
        laboratory.write(f"imports{value}", main, beside=f"VALUE = {value}\n")
        laboratory.warm(server, f"imports{value}/0")
        assert log(laboratory.project, f"imports{value}/0") == [f"{value} {value}"]


COMPILES = """\
import os, sys
before, found = set(sys.modules), []
sys.addaudithook(lambda event, about: event == "compile" and found.append(os.path.basename(str(about[1]))))
import importlib
import one, package.inner
from package import outer
if False:
    import deep, broken
def later():
    import last
later()
importlib.import_module("named")
import warns
print(sorted(set(sys.modules) - before))
print([name for name in found if not name.startswith("<")])
"""


def test_what_trials_have_in_common_is_compiled_once(laboratory: Laboratory) -> None:
    imported = {
        "one": "import two",
        "two": "import one",  # in a circle
        "package/__init__": "from . import same",
        "package/same": "from .inner import VALUE",
        "package/inner": "VALUE = 1",
        "package/outer": "try: import missing.part\nexcept ImportError: pass",
        "last": "",
        "named": "NAME = 'named'",
        "warns": "assert (1, 'always')",
        "broken": "import (",
        "deep": "def f(x):\n    if x: pass\n" + "".join(f"    elif x == {number}: pass\n" for number in range(1200)),
    }
    laboratory.write("compiles", COMPILES, **{name: f"{text}\nHERE = {name!r}\n" for name, text in imported.items()})
    with warm.Server(laboratory.project, THREADS) as fresh:
        laboratory.warm(fresh, "compiles/0")
    warning, *_, modules, compiled = log(laboratory.project, "compiles/0")
    assert "SyntaxWarning" in warning
    assert {"one", "two", "package.same", "package.outer", "last", "named", "warns"} <= set(ast.literal_eval(modules))
    assert compiled == "['named.py', 'warns.py']"


def test_what_forks_share_is_in_huge_pages(laboratory: Laboratory, server: warm.Server) -> None:
    laboratory.write("ends", "print('done')\n")
    laboratory.warm(server, "ends/0")
    lines = Path(f"/proc/{server.pid}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
    if kilobytes["AnonHugePages"] == 0 and not _has_huge_pages():
        pytest.skip("THIS KERNEL GIVES NO HUGE PAGES: forks of a search cost more, which is not tested")
    assert kilobytes["AnonHugePages"] > kilobytes["Anonymous"] / 2


def test_a_file_of_any_name_may_be_in_memory(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"odd \xfc")
    path.write_bytes(b"x" * 5000)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        huge_pages.take()


def _has_huge_pages() -> bool:
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    is_new = tuple(map(int, re.findall(r"\d+", platform.release())[:2])) >= (6, 1)
    return is_new and setting.exists() and "[never]" not in setting.read_text()


SHOWS = "import sys\nprint('warm' if 'torch' in sys.modules else 'cold')\n"


def test_it_starts_cold_where_warm_would_not_be_the_same(laboratory: Laboratory, server: warm.Server) -> None:
    laboratory.write("shows", SHOWS)
    laboratory.warm(server, "shows/0")
    laboratory.warm(server, "shows/1", threads=1)
    laboratory.warm(server, "shows/2", environment={"PYTHONPATH": "relative"})
    laboratory.write("shadows", SHOWS, queue="from _queue import *\nclass Queue: pass\nclass LifoQueue: pass\n")
    laboratory.warm(server, "shadows/0")
    names = ["shows/0", "shows/1", "shows/2", "shadows/0"]
    assert [log(laboratory.project, name)[0] for name in names] == ["warm", "cold", "cold", "cold"]


def test_chance_is_drawn_anew(laboratory: Laboratory, server: warm.Server) -> None:
    main = "import random, os, uuid, tempfile\nimport numpy, torch\nfrom multiprocessing import process\n"
    main += "print(random.random(), numpy.random.rand(), process.current_process().authkey.hex(), tempfile.mktemp())\n"
    main += "print(torch.rand(()))\n"
    laboratory.write("chance", main)
    for number in range(2):
        laboratory.warm(server, f"chance/{number}")
    one, other = (log(laboratory.project, f"chance/{number}") for number in range(2))
    assert all(first != second for first, second in zip(one[0].split(), other[0].split(), strict=True))
    assert one[1] == other[1]  # torch begins with a fixed seed


# -- the same end ------------------------------------------------------------------------------------------------------

LAST_WORDS = "import atexit, os, sys, threading, time\natexit.register(lambda: print('at exit'))\n"
ENDS = {
    "returns": "print('done', end='')",
    "exits": "sys.exit(3)",
    "exits with a large code": "sys.exit(259)",
    "exits with none": "sys.exit()",
    "exits with a text": "sys.exit('so it ends')",
    "fails": "def inner():\n    raise ValueError('deep')\ninner()",
    "fails in a chain": "try:\n    {}['x']\nexcept KeyError as error:\n    raise ValueError('top') from error",
    "is no Python": "print(1\n",
    "imports what is not there": "import nothing_of_this_name",
    "has a thread": "threading.Thread(target=lambda: (time.sleep(0.3), print('thread'))).start()",
    "has a daemon": "threading.Thread(target=time.sleep, args=[60], daemon=True).start()",
    "fails in a thread": "threading.Thread(target=lambda: 1 / 0).start()",
    "leaves a file open": "file = open(os.path.join(os.environ['EXPER_RUN'], 'open'), 'w'); file.write('x' * 9)",
    "is interrupted": "raise KeyboardInterrupt",
    "is killed": "os.kill(os.getpid(), 9)",
    "ends at once": "print('lost', end=''); os._exit(4)",
    "has a hook": "sys.excepthook = lambda *what: print('hook', what[0], what[2] is None)\n1 / 0",
    "closes its output": "sys.stdout.close()",
    "starts workers": "import multiprocessing\ndef work(x): return x + 1\nif __name__ == '__main__':\n"
    "    for kind in ('spawn', 'fork', 'forkserver'):\n"
    "        pool = multiprocessing.get_context(kind).Pool(1)\n"
    "        print(kind, pool.map(work, [1]), flush=True)\n"
    "        pool.close(); pool.join()",
    "pickles": "import pickle\nclass Mine: pass\nprint(pickle.dumps(Mine()), type(pickle.loads(pickle.dumps(Mine()))))",
}


@pytest.mark.parametrize("what", ENDS)
def test_it_ends_as_a_cold_start_ends(what: str, laboratory: Laboratory, server: warm.Server) -> None:
    tag = laboratory.write(what.replace(" ", "-"), f"{LAST_WORDS}{ENDS[what]}\n")
    ours = laboratory.warm(server, f"{tag}/0")
    record = manager.record(laboratory.project, f"{tag}/0")
    expected = {"finished": 0, "failed": 1, "interrupted": 130}[record["status"]]
    theirs = laboratory.cold(f"{tag}/0", code=expected)
    other = manager.record(laboratory.project, f"{tag}/1")
    assert [record[name] for name in ("status", "exit_code", "signal")] == [
        other[name] for name in ("status", "exit_code", "signal")
    ]
    said = (_without_addresses("\n".join(log(laboratory.project, f"{tag}/{number}"))) for number in (0, 1))
    assert next(said) == next(said)
    assert [(run.folder / "open").exists() and (run.folder / "open").read_text() for run in (ours, theirs)] in (
        [False, False],
        ["x" * 9, "x" * 9],
    )


# -- birth, refusal, taking up -----------------------------------------------------------------------------------------


def test_ids_after_the_first_are_begun_at_once_in_any_order(laboratory: Laboratory, server: warm.Server) -> None:
    laboratory.write("ids", "import os\nprint(os.environ['EXPER_SEED'], os.environ['CUDA_VISIBLE_DEVICES'])\n")
    gpu = {"CUDA_VISIBLE_DEVICES": "1"}
    assert warm.report(server.start(laboratory.request("ids/0", seed=10, environment=gpu))) == {}
    pipes = [server.start(laboratory.request(f"ids/{n}", seed=n + 10, environment=gpu)) for n in (3, 1, 2)]
    assert [warm.report(pipe) for pipe in pipes] == [{}] * 3
    assert [log(laboratory.project, f"ids/{n}") for n in range(4)] == [[f"{n + 10} 1"] for n in range(4)]
    assert manager.record(laboratory.project, "ids/2")["environment"]["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert not laboratory.project.tag("ids").snapshot.exists()
    assert laboratory.project.tag("ids").last_id.read_text() == "3\n"


def test_a_refusal_is_reported_and_nothing_is_left(laboratory: Laboratory, server: warm.Server) -> None:
    laboratory.write("refuses", manager.REFUSES)
    assert warm.report(server.start(laboratory.request("refuses/0"))) == {"refused": "lr must be above 0."}
    assert laboratory.project.tag("refuses").runs() == []
    answer = warm.report(server.start(laboratory.request("refuses/0", commit="0" * 40)))
    assert "moved" in answer["refused"]


def test_what_is_wrong_with_us_is_reported_with_its_traceback(laboratory: Laboratory, server: warm.Server) -> None:
    answer = warm.report(server.start({"tag": "nothing"}))
    assert "KeyError" in answer["bug"]


def test_a_finished_run_is_not_repeated(laboratory: Laboratory, server: warm.Server) -> None:
    laboratory.write("once", SHOWS)
    for _ in range(2):
        laboratory.warm(server, "once/0")
    assert len(manager.record(laboratory.project, "once/0")["sessions"]) == 1


# -- signals and kills -------------------------------------------------------------------------------------------------

# Saves when it is asked to stop, as exper/training does; with `is_deaf` only the second time.
LISTENS = (
    manager.READY
    + """\
import threading
times = 0
def stop(number, frame):
    global times
    times += 1
    print("asked", signal.Signals(number).name, flush=True)
    if times > {deaf}:
        (run / "saved").touch()
        sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, stop)
def watch():
    os.read(int(os.environ["EXPER_CONTROL"]), 1)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=watch, daemon=True).start()
ready()
while not (run / "go").exists():
    time.sleep(0.01)
"""
)


@pytest.fixture
def begun(
    laboratory: Laboratory, server: warm.Server, request: pytest.FixtureRequest
) -> Iterator[tuple[str, int, int]]:
    """Begin a run that waits for a signal; return its name, its pipe, and training's pid."""
    tag = laboratory.write(request.node.name.replace("[", "-").strip("]"), LISTENS.format(deaf=0))
    pipe = server.start(laboratory.request(f"{tag}/0"))
    run = manager.the_run(laboratory.project, f"{tag}/0")
    manager.wait_for((run.folder / "ready").exists)
    pid = int((run.folder / "ready").read_text())
    yield f"{tag}/0", pipe, pid
    manager.wait_for(lambda: manager.is_gone(pid))


def test_a_killed_supervisor_ends_its_training(
    begun: tuple[str, int, int], laboratory: Laboratory, server: warm.Server
) -> None:
    name, pipe, training = begun
    os.kill(manager.record(laboratory.project, name)["pid"], signal.SIGKILL)
    assert warm.report(pipe) == {}
    manager.wait_for(lambda: manager.is_gone(training))
    manager.wait_for(lambda: state(laboratory.project, name) == "died")
    (manager.the_run(laboratory.project, name).folder / "go").touch()
    laboratory.warm(server, name)  # taken up
    assert [one["status"] for one in manager.record(laboratory.project, name)["sessions"]] == ["died", "finished"]


def test_a_pruned_run_has_its_status_and_reason(
    begun: tuple[str, int, int], laboratory: Laboratory, server: warm.Server
) -> None:
    name, pipe, _ = begun
    run = manager.the_run(laboratory.project, name)
    warm.prune(run, 3, "worse than the median")
    assert warm.report(pipe) == {}
    record = manager.record(laboratory.project, name)
    assert (record["status"], record["exit_code"]) == ("pruned", 143)
    assert record["pruned"] == {"epoch": 3, "why": "worse than the median"}
    assert not laboratory.project.tag(run.tag).snapshot.exists()
    laboratory.warm(server, name)  # not taken up by a search
    assert len(manager.record(laboratory.project, name)["sessions"]) == 1
    assert "pruned" in manager.exper(laboratory.project, "expls").stdout
    (run.folder / "go").touch()
    assert f"continue {name}" in manager.refused(laboratory.project, "continue", run.tag)
    manager.exper(laboratory.project, "continue", name)
    record = manager.record(laboratory.project, name)
    assert record["status"] == "finished"
    assert record["pruned"] is None
    assert not run.prune.exists()


def test_a_killed_server_harms_no_trial_and_another_takes_its_place(
    begun: tuple[str, int, int], laboratory: Laboratory, server: warm.Server
) -> None:
    name, pipe, _ = begun
    laboratory.write("after", SHOWS)
    before = server.pid
    os.kill(before, signal.SIGSTOP)
    lost = server.start(laboratory.request("after/0"))
    os.kill(before, signal.SIGKILL)
    assert list(warm.report(lost)) == ["lost"]
    manager.wait_for(lambda: manager.is_gone(before))
    laboratory.warm(server, "after/0")
    assert server.pid != before
    assert log(laboratory.project, "after/0") == ["warm"]
    assert state(laboratory.project, name) == "running"
    (manager.the_run(laboratory.project, name).folder / "go").touch()
    assert warm.report(pipe) == {}
    assert state(laboratory.project, name) == "finished"


# A process that searches: it asks for runs, then waits for their ends.
SEARCHES = """\
import json, sys
sys.path.insert(0, {code!r})
from pathlib import Path
from exper.core import signals as interrupt, paths
from exper.search import warm
with interrupt.Signals() as signals, warm.Server(paths.Project(Path({root!r})), {threads}) as server:
    signals.receiver = server.pid
    pipes = [server.start(request) for request in json.loads(sys.argv[1])]
    print(server.pid, flush=True)
    print([warm.report(pipe) for pipe in pipes], flush=True)
"""


@pytest.fixture
def searching(laboratory: Laboratory) -> Iterator["subprocess.Popen[str]"]:
    """Start a process that searches; two runs wait for a signal, the second is deaf to the first."""
    for deaf in (0, 1):
        if f"deaf{deaf}" not in manager.tags(laboratory.project):
            laboratory.write(f"deaf{deaf}", LISTENS.format(deaf=deaf))
    number = len(laboratory.project.tag("deaf0").runs())
    requests = [laboratory.request(f"deaf{deaf}/{number}") for deaf in (0, 1)]
    script = SEARCHES.format(code=str(CODE), root=str(laboratory.project.root), threads=THREADS)
    words = [sys.executable, "-c", script, json.dumps(requests)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        for deaf in (0, 1):
            run = manager.the_run(laboratory.project, f"deaf{deaf}/{number}")
            manager.wait_for((run.folder / "ready").exists)
        yield process
        process.kill()


def test_ctrl_c_once_saves_and_twice_stops(laboratory: Laboratory, searching: "subprocess.Popen[str]") -> None:
    assert searching.stdout is not None
    server = int(searching.stdout.readline())
    os.kill(searching.pid, signal.SIGINT)
    manager.wait_for(lambda: state(laboratory.project, "deaf0/0") == "interrupted")
    manager.wait_for(lambda: log(laboratory.project, "deaf1/0") == ["asked SIGINT"])
    assert state(laboratory.project, "deaf1/0") == "running"
    os.kill(searching.pid, signal.SIGINT)
    assert searching.stdout.readline() == "[{}, {}]\n"
    assert searching.wait(20) == 0
    assert state(laboratory.project, "deaf1/0") == "interrupted"
    assert log(laboratory.project, "deaf1/0") == ["asked SIGINT"] * 2
    assert manager.is_gone(server)


def test_a_killed_search_interrupts_its_trials(laboratory: Laboratory, searching: "subprocess.Popen[str]") -> None:
    assert searching.stdout is not None
    server = int(searching.stdout.readline())
    number = len(laboratory.project.tag("deaf0").runs()) - 1
    run = manager.the_run(laboratory.project, f"deaf0/{number}")
    deaf = manager.the_run(laboratory.project, f"deaf1/{number}")
    os.kill(searching.pid, signal.SIGKILL)
    manager.wait_for(lambda: manager.is_gone(server))
    manager.wait_for(lambda: run_record.read(run)["status"] == "interrupted")
    assert run_record.read(run)["exit_code"] == 143
    assert (run.folder / "saved").exists()
    supervisor = run_record.read(deaf)["pid"]
    assert psutil.pid_exists(supervisor)  # it waits for its training as long as that needs
    os.kill(supervisor, signal.SIGTERM)
    manager.wait_for(lambda: run_record.read(deaf)["status"] == "interrupted")
