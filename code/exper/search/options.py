"""The options of a search: sampler, pruner, number of trials and seeds, runs at a time."""

import argparse
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from exper.config.config_file import Value
from exper.core import host_info
from exper.core.arguments import Parser
from exper.core.errors import Refused, unknown_name
from exper.runs import run_record
from exper.search import space
from exper.search.space import Space
from exper.search.strategies import PRUNERS, SAMPLERS


@dataclass(frozen=True)
class Plan:
    """The options of a search, together with those of earlier calls."""

    sampler: str
    pruner: str
    trials: int  # in total
    seeds: int
    gpus: list[str]  # for each of the runs at a time its GPU; "": any


def add_arguments(parser: Parser) -> None:
    """Add the options of a search."""
    parser.add_argument("-j", dest="jobs", type=_count, default=1, metavar="N", help="runs at a time (1)")
    parser.add_argument("--trials", type=_count, metavar="N", help="in total; needed where a setting has a range")
    parser.add_argument("--seeds", type=_count, metavar="N", help="runs of each trial; their mean counts (1)")
    _add_choice(parser, "--sampler", SAMPLERS, "how values are chosen (grid for lists alone, else tpe)")
    _add_choice(parser, "--pruner", PRUNERS, "how hopeless trials are ended early (none)")
    parser.add_argument("--submit", type=_count, metavar="N", help="as an array of N SLURM jobs; sbatch's flags: --")
    parser.add_argument("--storage", metavar="URL", help="a database for several machines, as Optuna names it")


def _add_choice(parser: Parser, option: str, choices: Iterable[str], text: str) -> None:
    """Add an option that takes one of the choices; another word is refused with the nearest of them."""

    def chosen(word: str) -> str:
        if word not in choices:
            raise unknown_name(option, word, choices)
        return word

    parser.add_argument(option, type=chosen, metavar=f"{{{','.join(choices)}}}", help=text)


def plan(searched: Space, config: Mapping[str, Value], stored: Mapping[str, Any], options: argparse.Namespace) -> Plan:
    """Return the plan of a search; what the options leave out comes from the values `stored` by earlier calls.

    Raises:
        Refused: the options do not fit the space or the earlier calls.
    """
    is_grid = space.is_grid(searched)
    sampler = options.sampler or _stored("sampler", stored, SAMPLERS) or ("grid" if is_grid else "tpe")
    if sampler == "grid" and not is_grid:
        raise Refused("a grid needs lists of values, and config.py has ranges. Take another --sampler.")
    trials = options.trials or stored.get("trials") or _trials_in(config)
    if sampler == "grid":
        trials = min(trials or space.grid_size(searched), space.grid_size(searched))
    if trials is None:
        raise Refused("say how many trials: --trials 50, or search_trials = 50 in config.py.")
    seeds = options.seeds or stored.get("seeds") or 1
    if seeds != stored.get("seeds", seeds):
        raise Refused(f"this search has {stored['seeds']} seeds a trial, not {seeds}. Take another tag.")
    pruner = options.pruner or _stored("pruner", stored, PRUNERS) or "none"
    return Plan(sampler, pruner, trials, seeds, _gpu_of_each_job(_gpus(), options.jobs))


def _stored(kind: str, stored: Mapping[str, Any], choices: Iterable[str]) -> str | None:
    """Return the sampler or pruner of earlier calls; another version of Exper may have stored another name."""
    name = stored.get(kind)
    if name is not None and name not in choices:
        raise Refused(f"{unknown_name(f'the {kind} of this search', str(name), choices)} Choose one: --{kind}")
    return name


def threads(config: Mapping[str, Value], jobs: int) -> int:
    """Return the threads of each run: the setting, or else a share of the cores."""
    return run_record.thread_count(config, max(1, host_info.default_threads() // jobs))


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _trials_in(config: Mapping[str, Value]) -> int | None:
    wanted = config.get("search_trials")
    if wanted is not None and (type(wanted) is not int or wanted < 1):
        raise Refused(f"search_trials = {wanted!r} in config.py: must be a whole number above 0, or None.")
    return wanted


def _gpu_of_each_job(gpus: list[str], jobs: int) -> list[str]:
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
