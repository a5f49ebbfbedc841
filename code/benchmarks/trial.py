"""python code/benchmarks/trial.py [--rounds 10] [--folder /tmp]

The time of a trial of a search beyond its training, warm and cold. A trial is a whole run of this project, of one epoch
on digits: warm, from the request to the server of warm starts to the end of the supervisor; cold, a `rerun`. Training
is the call of main() in main.py, by the clock of that process: it reads the data, builds, trains, tests and saves. The
rest is overhead: the start of processes, the copy of the code, imports, and the end.

On a slow disk the benchmark measures the disk (see launch.py); take another `--folder`.
"""  # noqa: D415  the first line is to be typed

import argparse
import functools
import itertools
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import CODE, commit, copy_template, exper, git, said_by, table, take_turns, verdict

sys.path.insert(0, str(CODE))

from exper.config import config_file
from exper.core import paths
from exper.search import server as warm

MARK = "seconds "
BUILD = "    experiment = build(session)\n"  # the first line of main.py's `main`
SETTINGS = {"epochs": 1, "logger": [], "verbose": "quiet", "threads": 1}
TAG = "trial"
Times = dict[str, float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--folder", help="where the repository is made for a while; else where temporary files are")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exper-benchmark-", dir=options.folder) as folder:
        project = make_project(Path(folder) / "project")
        with warm.Server(project, threads=1) as server:
            numbers = itertools.count(1)
            cases = {"warm": functools.partial(start_warm, project, server, numbers),
                     "cold": functools.partial(start_cold, project, numbers)}  # fmt: skip
            show(take_turns(cases, options.rounds))


def make_project(root: Path) -> paths.Project:
    """Commit this project with a main.py that prints its times, and train it once; trials are reruns."""
    project = paths.Project(root)
    copy_template(root, lambda config: config_file.edit(config, SETTINGS))
    program = project.code / "main.py"
    text = program.read_text()
    assert text.count(BUILD) == 1
    text = text.replace(BUILD, f"    global began\n    began = time.monotonic()\n{BUILD}")
    last = f"print('{MARK}' + repr([first, began, time.monotonic()]))"
    program.write_text(f"import time\nfirst = time.monotonic()\n{text}    {last}\n")
    git(root, "init", "--quiet")
    commit(root)
    said_by(exper(root, "run", TAG, "-f"), root)
    return project


def start_warm(project: paths.Project, server: warm.Server, numbers: "itertools.count[int]") -> Times:
    """Return the times of a trial that the server starts."""
    run = project.tag(TAG).run(next(numbers))
    request: dict[str, Any] = {"tag": TAG, "id": run.id, "commit": said_by(["git", "rev-parse", "HEAD"], project.root)}
    request |= {"seed": 1, "threads": 1, "command": ["search", TAG], "environment": {}}
    started = time.monotonic()
    report = warm.wait_for_report(server.start(request))
    ended = time.monotonic()
    assert report == {}, report
    return times(run, started, ended)


def start_cold(project: paths.Project, numbers: "itertools.count[int]") -> Times:
    """Return the times of a `rerun`."""
    run = project.tag(TAG).run(next(numbers))
    started = time.monotonic()
    said_by(exper(project.root, "rerun", f"{TAG}/0", "-f"), project.root)
    return times(run, started, time.monotonic())


def times(run: paths.Run, started: float, ended: float) -> Times:
    """Return the parts of a trial's time; main.py has printed its own into the log."""
    first, began, over = json.loads(run.log.read_text().partition(MARK)[2].splitlines()[0])
    parts = {"to its first line": first - started, "imports": began - first, "end": ended - over}
    return {"overhead": sum(parts.values()), **parts, "training": over - began}


# -- results ---------------------------------------------------------------------------------------------------------


def show(samples: dict[str, list[Times]]) -> None:
    """Print medians, and the target."""
    names = list(samples["warm"][0])
    rows = []
    for case, trials in samples.items():
        for kind, of in (("median", statistics.median), ("least", min)):
            rows.append([f"{case}, {kind}", *(f"{of([trial[name] for trial in trials]) * 1000:.0f}" for name in names)])
    table(f"a trial, {len(samples['warm'])} times, ms", ["start", *names], rows)
    print()
    overhead = statistics.median(trial["overhead"] for trial in samples["warm"])
    verdict("warm: seconds of a trial beyond its training", overhead, 0.2)


if __name__ == "__main__":
    main()
