"""python code/benchmarks/search.py [--rounds 5] [--tags 10000] [--trials 1000] [--folder /tmp]

The cost of thousands of trials: `git status`, `git fetch`, `run` of another tag, completion and `expls` in a repository
with 10,000 trials of a search, each an annotated tag of a commit of its own, and in one with none; `exper results` of
1,000 trials; and the disk space of trials of the template.
"""  # noqa: D415  the first line is to be typed

import argparse
import functools
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measure import CODE, Samples, commit, exper, git, make_project, ratio, said_by, table, take_turns, verdict
from tables import statistic

sys.path.insert(0, str(CODE))

from exper.core import paths
from exper.runs import lists, run_record

CONFIG = """\
epochs = 10
optimizer = {"name": "adam", "lr": 0.003}
model = {"name": "lenet", "dropout": 0.4}
monitor = "max val/acc"
search = {"optimizer.lr": {"low": 1e-5, "high": 0.1, "log": True}, "model.dropout": {"low": 0.0, "high": 0.9}}
"""
SEARCH = "wide"
EPOCHS = 10


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tags", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=1_000, help="whose results are shown")
    parser.add_argument("--folder", help="where projects are written for a while; else where temporary files are")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exper-benchmark-", dir=options.folder) as folder:
        tags(Path(folder), options.tags, options.rounds)
        results(Path(folder), options.trials, options.rounds)
        disk(Path(folder))


# -- thousands of tags -------------------------------------------------------------------------------------------------


def tags(folder: Path, count: int, rounds: int) -> None:
    """Print the time of commands with many trials, and without."""
    none = make_searched(folder / "none", 0)
    many = make_searched(folder / "many", count)
    cases: dict[str, Callable[[], float]] = {}
    for root, size in ((none, "0"), (many, f"{count:,}")):
        for name, words in commands(root).items():
            cases[f"{name}, {size}"] = functools.partial(seconds, root, words)
        cases[f"run of another tag, {size}"] = functools.partial(run_another, root)
    samples = take_turns(cases, rounds)
    names = [name.removesuffix(", 0") for name in cases if name.endswith(", 0")]
    rows = [row(samples, name, f"{count:,}") for name in names]
    table("trials with a tag each, whole processes", ["", "0: ms", f"{count:,}: ms", "ratio"], rows)
    print()
    for name in ("git status", "run of another tag"):
        verdict(f"{name}, ratio", ratio(samples, f"{name}, {count:,}", f"{name}, 0"), 1.1)
    verdict("git fetch, seconds", statistics.median(samples[f"git fetch, {count:,}"]), 0.5)
    verdict("expls, seconds", statistics.median(samples[f"expls, {count:,}"]), 1.0)


def commands(root: Path) -> dict[str, list[str]]:
    """Return the commands to type, by name."""
    fetch = ["git", "fetch", "--quiet"]
    return {
        "git status": ["git", "status", "--porcelain"],
        "git fetch": [*fetch, "origin"],
        "git fetch, the tags pushed": [*fetch, "pushed"],
        "expls": exper(root, "expls"),
        "completion of run": exper(root, "complete", "run", ""),
        "completion of continue": exper(root, "complete", "continue", "b"),
        "completion of a trial": exper(root, "complete", "continue", f"{SEARCH}+optimizer.lr=0.00"),
    }


def seconds(root: Path, words: list[str]) -> float:
    """Return the seconds that a command takes."""
    started = time.monotonic()
    said_by(words, root)
    return time.monotonic() - started


def run_another(root: Path) -> float:
    """Return the seconds of a run of a new tag, with all that it leaves."""
    return seconds(root, exper(root, "run", f"other{time.monotonic_ns()}"))


def row(samples: Samples, name: str, size: str) -> list[str]:
    """Return a line of the table."""
    few = f"{name}, 0"
    many = f"{name}, {size}"
    times = [f"{statistics.median(samples[case]) * 1000:.0f}" for case in (few, many)]
    return [name, *times, f"{ratio(samples, many, few):.2f}"]


# -- results -----------------------------------------------------------------------------------------------------------


def results(folder: Path, count: int, rounds: int) -> None:
    """Print the time of `exper results`."""
    root = make_searched(folder / "results", count, with_study=True)
    words = {"exper results": [SEARCH], "exper results --json": [SEARCH, "--json"]}
    cases = {name: functools.partial(seconds, root, exper(root, "results", *more)) for name, more in words.items()}
    samples = take_turns(cases, rounds)
    rows = [[name, f"{statistics.median(values):.2f}"] for name, values in samples.items()]
    table(f"{count:,} trials, whole processes", ["", "s"], rows)
    print()
    verdict("exper results, seconds", statistics.median(samples["exper results"]), 10.0)


# -- disk --------------------------------------------------------------------------------------------------------------


def disk(folder: Path, trials: int = 6) -> None:
    """Print the disk space of the template's trials, and of their checkpoints."""
    root = folder / "template"
    shutil.copytree(CODE, root / "code", ignore=shutil.ignore_patterns("__pycache__", "tests", "benchmarks"))
    config = root / "code" / "config.py"
    rates = [number / 1000 for number in range(1, trials + 1)]
    text = config.read_text().replace("epochs = 10", "epochs = 2").replace("search = None", "")
    config.write_text(f'{text}\nsearch = {{"optimizer.lr": {rates}}}\n')
    (root / ".gitignore").write_text("/__*__\n__pycache__/\n")
    git(root, "init", "--quiet")
    commit(root)
    before = kilobytes(root / ".git")
    said_by(exper(root, "search", SEARCH), root)
    runs = list(paths.Project(root).result.glob(f"{SEARCH}+*/0"))
    parts = {"a trial": [run.parent for run in runs], "of it checkpoints": [run / "checkpoint" for run in runs]}
    rows = [[name, f"{sum(map(kilobytes, found)) / trials:.0f}"] for name, found in parts.items()]
    rows.append(["its commit and tag, before git packs them", f"{(kilobytes(root / '.git') - before) / trials:.0f}"])
    rows.append(["for comparison: a copy of the code", f"{kilobytes(root / 'code'):.0f}"])
    table("disk, a trial of the template", ["", "KiB"], rows)
    assert len(runs) == trials
    assert not list(paths.Project(root).result.glob(f"{SEARCH}+*/snapshot"))


def kilobytes(path: Path) -> float:
    """Return the disk space of a folder."""
    return float(said_by(["du", "--summarize", "--block-size=1K", str(path)]).split()[0])


# -- a project that has searched ---------------------------------------------------------------------------------------


def make_searched(root: Path, count: int, *, with_study: bool = False) -> Path:
    """Write a project with a search of `count` trials, all finished; return its root."""
    make_project(root, "print('hello')\n")
    (root / "code" / "config.py").write_text(CONFIG)
    commit(root)
    git(root, "tag", "--annotate", "--message=exper", SEARCH)
    values = list(suggested(count))
    import_tags(root, values)
    git(root, "pack-refs")
    project = paths.Project(root)
    write_runs(project, values)
    if with_study:
        write_study(project, values)
    for remote in ("origin", "pushed"):
        git(root.parent, "init", "--quiet", "--bare", f"{root.name}-{remote}.git")
        git(root, "remote", "add", remote, f"../{root.name}-{remote}.git")
        git(root, "push", "--quiet", remote, "HEAD")
    git(root, "push", "--quiet", "--tags", "pushed")
    git(root, "fetch", "--quiet", "--all")
    return root


def suggested(count: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the tag and the values of trials."""
    draw = random.Random(0)  # noqa: S311  no secret
    for _ in range(count):
        lr = 10 ** draw.uniform(-5, -1)
        dropout = draw.uniform(0, 0.9)
        yield f"{SEARCH}+lr={lr}+dropout={dropout}", {"optimizer.lr": lr, "model.dropout": dropout}


def import_tags(root: Path, values: list[tuple[str, dict[str, float]]]) -> None:
    """Make an annotated tag of a commit of its own for each trial, as a search would, but all at once."""
    parent = said_by(["git", "rev-parse", "HEAD"], root)
    who = "b <b@b> 1700000000 +0000"
    lines = []
    for number, (tag, changed) in enumerate(values, 1):
        config = f"{CONFIG}# {changed}\n"
        lines += [f"commit refs/trial\nmark :{number}\ncommitter {who}\ndata {len(tag)}\n{tag}", f"from {parent}"]
        lines += [f"M 644 inline code/config.py\ndata {len(config)}\n{config}"]
        lines += [f"tag {tag}\nfrom :{number}\ntagger {who}\ndata {len(tag)}\n{tag}", "reset refs/trial\n"]
    subprocess.run(["git", "fast-import", "--quiet"], cwd=root, input="\n".join(lines), text=True, check=True)
    if values:
        git(root, "update-ref", "-d", "refs/trial")


def write_runs(project: paths.Project, values: list[tuple[str, dict[str, float]]]) -> None:
    """Write a finished run for each trial, as training leaves it."""
    record = run_record.new("", "0" * 40, 0, 2)
    record = run_record.end(run_record.begin(record, ["search", SEARCH]), "finished", 0)
    draw = random.Random(0)  # noqa: S311  no secret
    project.lists.mkdir(parents=True)
    project.list_file(SEARCH).write_text(f"{lists.search_entry(SEARCH)}\n")
    for tag, changed in values:
        run = project.tag(tag).run(0)
        run.folder.mkdir(parents=True)
        run.record.write_text(json.dumps(record | {"tag": tag, "id": 0, "seed": 0}, indent=2))
        found = statistic(draw)
        found["hparam"] |= {"monitor": "max val/acc"} | changed
        best = found["metric"]["best"]
        found["metric"]["best"] = best | {"val/acc": 1 - abs(changed["model.dropout"] - 0.4) * best["val/acc"]}
        run.statistic.write_text(json.dumps(found, indent=2))
        run.history.write_text("".join(history(found["metric"]["best"]["val/acc"])))
        run.lock.touch()


def history(best: float) -> Iterator[str]:
    """Yield the lines of a history."""
    for epoch in range(1, EPOCHS + 1):
        value = best * (1 - 0.6**epoch)
        more = {"weights": "0" * 64, "seconds": 0.2, "lr": 0.001, "val/loss": 1 - value, "train/loss": 1 - value}
        yield json.dumps({"epoch": epoch, "step": 63 * epoch, "val/acc": value, **more}) + "\n"


def write_study(project: paths.Project, trials: list[tuple[str, dict[str, float]]]) -> None:
    """Write the study that a search of these trials would leave."""
    from optuna.trial import create_trial

    from exper.search import space, suggestions
    from exper.search import study as studies

    searched = space.read(CONFIG.encode())
    distributions = {name: suggestions.distribution(values) for name, values in searched.items()}
    commit = said_by(["git", "rev-parse", f"{SEARCH}^{{commit}}"], project.root)
    study = studies.create(project.tag(SEARCH), commit, "max", None)
    for tag, changed in trials:
        run = project.tag(tag).run(0)
        value = json.loads(run.statistic.read_text())["metric"]["best"]["val/acc"]
        study.add_trial(
            create_trial(params=changed, distributions=distributions, value=value, user_attrs={studies.TAG: tag})
        )


if __name__ == "__main__":
    main()
