"""Trials that start warm: the same numbers, surroundings and ends as cold ones."""

import json
import re

import pytest
import torch

from exper.search.server import Server
from tests.search.conftest import PACKAGE
from tests.support import manager, play
from tests.support.laboratory import THREADS, Laboratory
from tests.support.manager import log

pytestmark = pytest.mark.usefixtures("same_environment")

# -- the same as cold --------------------------------------------------------------------------------------------------


def test_warm_training_has_the_bits_of_a_cold_one(laboratory: Laboratory, server: Server) -> None:
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


# A stranger's computations without a set number of threads, and the threads of each library.
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


def test_a_stranger_computes_the_same_with_the_same_threads(laboratory: Laboratory, server: Server) -> None:
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


def test_the_surroundings_are_those_of_a_cold_start(laboratory: Laboratory, server: Server) -> None:
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
from exper.core import files, lock
from exper.repository import repository
from exper.runs import run_record, status
code = Path(__file__).resolve().parent
places = {{name: str(getattr(one, "__file__", None)) for name, one in sys.modules.items()}}
assert places["beside"] == str(code / "beside.py")
ours = [place for name, place in places.items() if name.partition(".")[0] in ("exper", "beside", "__main__")]
assert len(ours) > 5 and all(Path(place).is_relative_to(code) for place in ours), ours
assert files.write_json.__code__.co_filename == files.__file__  # in tracebacks, too
assert repository.Repository.tag.__code__.co_filename == repository.__file__
project = code.parents[3]
strange = [place for place in places.values() if Path(place).is_relative_to(project) and place not in ours]
assert not strange, strange
print({package}.VALUE, beside.VALUE)
"""


def test_every_module_of_the_project_is_the_snapshots(laboratory: Laboratory, server: Server) -> None:
    main = IMPORTS.format(package=PACKAGE)
    package = laboratory.project.root.parent / "packages" / PACKAGE / "__init__.py"
    for value in (1, 2):  # the server lives on
        package.write_text(f"VALUE = {value}\n")
        laboratory.write(f"imports{value}", main, beside=f"VALUE = {value}\n")
        laboratory.warm(server, f"imports{value}/0")
        assert log(laboratory.project, f"imports{value}/0") == [f"{value} {value}"]


def test_chance_is_drawn_anew(laboratory: Laboratory, server: Server) -> None:
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
def test_it_ends_as_a_cold_start_ends(what: str, laboratory: Laboratory, server: Server) -> None:
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
