"""The only file that calls Optuna, which decides what is tried, and what is not worth finishing."""

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from exper.config import config_file
from exper.config.config_file import Value
from exper.core import files, host_info, paths, slurm
from exper.core.errors import Refused
from exper.search.options import Plan
from exper.search.space import Choice, Range, Space

_PRUNERS: dict[str, Callable[[int], BasePruner]] = {  # from the number of epochs
    "none": lambda _: optuna.pruners.NopPruner(),
    "median": lambda _: optuna.pruners.MedianPruner(),
    "halving": lambda _: optuna.pruners.SuccessiveHalvingPruner(),
    "hyperband": lambda epochs: optuna.pruners.HyperbandPruner(max_resource=epochs),
}
_ASKING_SECONDS = 10  # in which a trial that has just been asked for gets its owner
_OWNER, TAG, WHY = "owner", "tag", "why"
Away = StorageInternalError  # a database that answers no more, or not soon enough


def create(tag: paths.Tag, commit: str, direction: str, storage: str | None) -> Study:
    """Open the study of a search, or begin it.

    Its storage is a journal beside the search's runs, or what an Optuna URL names. The commit is in the study's name:
    projects can share a database, and a search whose tag was made anew begins anew.

    Raises:
        Refused: the storage can't be used.
    """
    tag.folder.mkdir(parents=True, exist_ok=True)
    with _told():
        name = _name(tag, commit)
        wanted = StudyDirection.MAXIMIZE if direction == "max" else StudyDirection.MINIMIZE
        return optuna.create_study(
            study_name=name, storage=_storage(tag, storage), direction=wanted, load_if_exists=True
        )


def load(tag: paths.Tag, commit: str, storage: str | None) -> Study | None:
    """Return the study of a search, None if there is none.

    Raises:
        Refused: the storage can't be used.
    """
    if storage is None and not tag.journal.exists():
        return None
    with _told():
        if storage is not None and not _has_studies(storage):
            return None
        try:
            return optuna.load_study(study_name=_name(tag, commit), storage=_storage(tag, storage))
        except KeyError:
            return None


def _has_studies(url: str) -> bool:
    """Tell whether a database has Optuna's tables; Optuna itself would make them, and the file of SQLite."""
    from sqlalchemy import create_engine, engine, inspect, pool  # slow to import, and few searches have a database

    database = engine.make_url(url)
    is_file = database.get_backend_name() == "sqlite" and "uri" not in database.query
    if is_file and not Path(database.database or "").is_file():
        return False
    return inspect(create_engine(database, poolclass=pool.NullPool)).has_table("studies")


def _name(tag: paths.Tag, commit: str) -> str:
    return f"{tag.name} {commit[:12]}"


def _storage(tag: paths.Tag, url: str | None) -> str | JournalStorage:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=ExperimentalWarning)
    return url or JournalStorage(_Journal(tag.journal))


class _Journal(JournalFileBackend):
    """A journal without half records: what a kill has left of one is cut off, and what a full disk takes of one."""

    def __init__(self, path: Path) -> None:
        self._path, self._writers = path, JournalFileSymlinkLock(str(path))
        super().__init__(str(path), self._writers)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        self._writers.acquire()
        try:
            with files.open_to_append(self._path) as file:
                _append(file.fileno(), file.tell(), lines)
        except OSError as error:
            error.filename = str(self._path)
            raise
        finally:
            self._writers.release()


def _append(handle: int, size: int, lines: bytes) -> None:
    try:
        files.write_all(handle, lines)
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, size)
        raise


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn what a storage does not like into a refusal; each database has errors of its own."""
    try:
        yield
    except (Refused, OSError):
        raise
    except Exception as error:
        raise Refused(f"the storage of the search can't be used: {reason(error)}.") from None


def reason(error: BaseException) -> str:
    """Return in a line what a storage does not like; Optuna has words of its own around those of a database."""
    return str(error.__cause__ or error).strip().partition("\n")[0] or type(error).__name__


class _Grid(optuna.samplers.GridSampler):
    """A grid whose last trial does not end `Study.optimize`, which nobody calls here."""

    def after_trial(self, *_: object) -> None:
        """Do nothing."""


# -- what is tried -----------------------------------------------------------------------------------------------------


def sampler(kind: str, space: Space, seed: int, number: int) -> BaseSampler:
    """Return what decides on trial `number`: with one trial at a time, a search can be repeated."""
    if kind == "grid":
        grid = {name: _choices(values) for name, values in space.items() if isinstance(values, Choice)}
        return _Grid(grid, seed=seed % 2**32)  # the same for all: it shuffles the grid
    own = int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "little")
    if kind == "random":
        return optuna.samplers.RandomSampler(seed=own)
    if kind == "cmaes":
        return optuna.samplers.CmaEsSampler(seed=own, warn_independent_sampling=False)
    return optuna.samplers.TPESampler(seed=own, constant_liar=True)


def ask(study: Study, sampler_of: Callable[[int], BaseSampler], most: int) -> Trial | None:
    """Return a new trial to `take`, None if there are `most`; searchers without a lock in common may ask at once."""
    if len(begun(study)) >= most:
        return None
    study.sampler = sampler_of(0)
    trial = study.ask()
    if sum(one.number <= trial.number for one in begun(study)) <= most:
        return trial
    study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)  # for who wants one more, with its point
    return None


def begun(study: Study) -> list[FrozenTrial]:
    """Return the trials in any state but that of one put back."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]


def take(trial: Trial, space: Space, sampler_of: Callable[[int], BaseSampler]) -> dict[str, Value]:
    """Make a trial ours, and return its values; those that it has already stay."""
    trial.set_user_attr(_OWNER, host_info.this_process() | {"job": slurm.this_life()})
    trial.study.sampler = sampler_of(trial.number)
    return {name: _suggest(trial, name, values) for name, values in space.items()}


def left_alone(study: Study) -> Iterator[Trial]:
    """Yield the trials under way whose searcher, on this machine, is gone; each comes as a trial to `take`."""
    for known in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        owner = known.user_attrs.get(_OWNER)
        if owner is None:
            started = known.datetime_start or datetime.min
            is_left = (datetime.now() - started).total_seconds() > _ASKING_SECONDS
        else:
            is_left = _is_gone(owner)
        if is_left:
            yield Trial(study, known._trial_id)


def is_under_way(study: Study | None) -> bool:
    """Tell whether somebody searches now, as far as can be known."""
    if study is None:
        return False
    open_ = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    owners = [trial.user_attrs.get(_OWNER) for trial in open_]
    return any(owner is None or not _is_gone(owner) for owner in owners)


def _is_gone(owner: dict[str, Any]) -> bool:
    """Tell whether a searcher is gone for sure: a process of this machine, or of a job of SLURM."""
    if host_info.is_here(owner):
        return not host_info.is_alive(owner.get("pid"), owner.get("pid_started"))
    return owner.get("job") is not None and slurm.is_over(owner["job"])


def _suggest(trial: Trial, name: str, values: Choice | Range) -> Value:
    found = distribution(values)
    if isinstance(found, CategoricalDistribution):
        assert isinstance(values, Choice)
        return _of_ours(values, trial.suggest_categorical(name, found.choices))
    if isinstance(found, IntDistribution):
        return trial.suggest_int(name, found.low, found.high, step=found.step, log=found.log)
    assert isinstance(found, FloatDistribution)
    suggested = trial.suggest_float(name, found.low, found.high, step=found.step, log=found.log)
    return _of_ours(values, suggested)


def values(trial: FrozenTrial, space: Space) -> dict[str, Value]:
    """Return the values of a trial, as far as they have been suggested."""
    return {name: _of_ours(space[name], value) for name, value in trial.params.items() if name in space}


def _of_ours(values: Choice | Range, suggested: Value) -> Value:
    """Return what Optuna suggests as config.py would have it: one of its values, and 0.3 for 0.30000000000000004."""
    if isinstance(values, Choice):
        return values.values[list(map(repr, _choices(values))).index(repr(suggested))]
    if values.step is None or isinstance(suggested, int):
        return suggested
    steps = round((suggested - values.low) / values.step)
    return float(Decimal(str(values.low)) + steps * Decimal(str(values.step)))


def distribution(values: Choice | Range) -> BaseDistribution:
    """Return what Optuna samples from."""
    if isinstance(values, Choice):
        return CategoricalDistribution(_choices(values))
    if isinstance(values.low, int):
        assert isinstance(values.high, int)
        return IntDistribution(values.low, values.high, log=values.log, step=int(values.step or 1))
    return FloatDistribution(values.low, values.high, log=values.log, step=values.step)


def _choices(values: Choice) -> list[bool | int | float | str | None]:
    """Return the values; those that Optuna has no type for as they are written in config.py."""
    is_plain = all(isinstance(value, (type(None), bool, int, float, str)) for value in values.values)
    return [value if is_plain else config_file.write(value) for value in values.values]


# -- what came of it ---------------------------------------------------------------------------------------------------


def known_value(study: Study, trial: Trial) -> float | None:
    """Return what another trial with the same values has found, maybe on another machine."""
    for known in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if known.params == trial.params and known.value is not None:
            return known.value
    return None


def pruner(kind: str, epochs: int) -> BasePruner:
    """Return what decides on the rest of a trial, by name."""
    return _PRUNERS[kind](epochs)


def is_hopeless(trial: Trial, epoch: int, value: float) -> bool:
    """Report what a trial has reached, and tell whether it should be ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an epoch is reported again when a run goes on
        trial.report(value, epoch)
    return trial.should_prune()


def tell(trial: Trial, value: float | None = None, *, failed: str | None = None) -> None:
    """Record how a trial ended: with a value, pruned, or failed and why."""
    if failed is not None:
        trial.set_user_attr(WHY, failed)
    state = TrialState.FAIL if failed is not None else TrialState.PRUNED if value is None else None
    trial.study.tell(trial.number, value, state, skip_if_finished=True)


def ended(study: Study) -> list[FrozenTrial]:
    """Return the trials that have ended, in the order in which they were asked for."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def best(study: Study) -> tuple[str, float] | None:
    """Return the tag and the value of the best trial, None if there is none yet."""
    try:
        found = study.best_trial
    except ValueError:  # none has a value
        return None
    return str(found.user_attrs.get(TAG)), float(found.values[0])


def remember(study: Study, plan: Plan) -> None:
    """Keep the options of a search for later calls."""
    for name in ("sampler", "pruner", "trials", "seeds"):
        if study.user_attrs.get(name) != getattr(plan, name):
            study.set_user_attr(name, getattr(plan, name))
