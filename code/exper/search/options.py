"""How a search goes about it: what decides, how many trials, how many at a time, and on what."""

import argparse
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exper.config.config_file import Value
from exper.core import host_info
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.runs import run_record
from exper.search import space
from exper.search.space import Space

SAMPLERS = ("grid", "random", "tpe", "cmaes")
PRUNERS = ("none", "median", "halving", "hyperband")


@dataclass(frozen=True)
class Plan:
    """The options of a search, those of earlier calls included."""

    sampler: str
    pruner: str
    trials: int  # in all
    seeds: int
    gpus: list[str]  # for each run at a time, the one that it gets; "": what it finds


def add_arguments(parser: Parser) -> None:
    """Add the options of a search."""
    parser.add_argument("-j", dest="jobs", type=_count, default=1, metavar="N", help="runs at a time (1)")
    parser.add_argument("--trials", type=_count, metavar="N", help="in all; needed where a setting has a range")
    parser.add_argument("--seeds", type=_count, metavar="N", help="runs of each trial, whose mean counts (1)")
    parser.add_argument("--sampler", choices=SAMPLERS, help="what decides (grid for lists alone, else tpe)")
    parser.add_argument("--pruner", choices=PRUNERS, help="what ends hopeless trials early (none)")
    parser.add_argument("--submit", type=_count, metavar="N", help="as an array of N jobs of SLURM; sbatch's flags: --")
    parser.add_argument("--storage", metavar="URL", help="a database for several machines, as Optuna names it")


def of(space_: Space, config: Mapping[str, Value], known: Mapping[str, Any], options: argparse.Namespace) -> Plan:
    """Return the plan that options make, with what is `known` of earlier calls where they say nothing.

    Raises:
        Refused: they do not fit the space, or the earlier calls.
    """
    is_grid = space.is_grid(space_)
    sampler = options.sampler or known.get("sampler") or ("grid" if is_grid else "tpe")
    if sampler == "grid" and not is_grid:
        raise Refused("a grid needs lists of values, and config.py has ranges. Take another --sampler.")
    trials = options.trials or known.get("trials") or _trials_in(config)
    if sampler == "grid":
        trials = min(trials or space.size(space_), space.size(space_))
    if trials is None:
        raise Refused("say how many trials: --trials 50, or search_trials = 50 in config.py.")
    seeds = options.seeds or known.get("seeds") or 1
    if seeds != known.get("seeds", seeds):
        raise Refused(f"this search has {known['seeds']} seeds a trial, not {seeds}. Take another tag.")
    pruner = options.pruner or known.get("pruner") or "none"
    return Plan(sampler, pruner, trials, seeds, _shared(_gpus(), options.jobs))


def threads(config: Mapping[str, Value], jobs: int) -> int:
    """Return the threads of each run: the setting, else its share of the cores."""
    return run_record.thread_count(config, max(1, host_info.default_threads() // jobs))


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _trials_in(config: Mapping[str, Value]) -> int | None:
    wanted = config.get("search_trials")
    if wanted is not None and (type(wanted) is not int or wanted < 1):
        raise Refused(f"search_trials is {wanted!r} in config.py; it has to be a number from 1 on, or None.")
    return wanted


def _shared(gpus: list[str], jobs: int) -> list[str]:
    return [gpus[job % len(gpus)] if gpus else "" for job in range(jobs)]


def _gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    done = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return [str(number) for number, line in enumerate(done.stdout.splitlines()) if line.startswith("GPU")]
