"""The study of a search: the trials as Optuna stores them, in a journal beside the runs or in a database."""

import contextlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from exper.config.config_file import Value
from exper.core import files, host_info, paths, slurm
from exper.core.errors import Refused
from exper.search import suggestions
from exper.search.options import Plan
from exper.search.space import Space

_ASKING_SECONDS = 10  # in which a new trial gets its owner
_OWNER = "owner"  # attributes of a trial
TAG = "tag"
WHY = "why"
StorageLost = StorageInternalError  # a database that no longer answers, or too late


def create(tag: paths.Tag, commit: str, direction: str, storage: str | None) -> Study:
    """Open the study of a search, or begin it.

    Its storage is a journal beside the search's runs, or the database of an Optuna URL. The study's name holds the
    commit: projects can share a database, and a search whose tag has been replaced starts again.

    Raises:
        Refused: the storage can't be used.
    """
    tag.folder.mkdir(parents=True, exist_ok=True)
    with _refused():
        return optuna.create_study(
            study_name=_name(tag, commit),
            storage=_storage(tag, storage),
            direction=StudyDirection.MAXIMIZE if direction == "max" else StudyDirection.MINIMIZE,
            load_if_exists=True,
        )


def load(tag: paths.Tag, commit: str, storage: str | None) -> Study | None:
    """Return the study of a search if there is one.

    Raises:
        Refused: the storage can't be used.
    """
    if storage is None and not tag.journal.exists():
        return None
    with _refused():
        if storage is not None and not _has_studies(storage):
            return None
        try:
            return optuna.load_study(study_name=_name(tag, commit), storage=_storage(tag, storage))
        except KeyError:
            return None


def _has_studies(url: str) -> bool:
    """Tell whether a database has Optuna's tables; Optuna would create them, and SQLite's file."""
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
    """A journal without half records: what a kill or a full disk has left of a record is cut off."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writers = JournalFileSymlinkLock(str(path))
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
def _refused() -> Iterator[None]:
    """Turn the errors of a storage into a refusal; each database has errors of its own."""
    try:
        yield
    except (Refused, OSError):
        raise
    except Exception as error:
        raise Refused(f"the storage of the search can't be used: {reason(error)}.") from None


def reason(error: BaseException) -> str:
    """Return a storage's error in a line, without Optuna's words around those of the database."""
    return str(error.__cause__ or error).strip().partition("\n")[0] or type(error).__name__


# -- trials to train ---------------------------------------------------------------------------------------------------


def ask(study: Study, sampler_of: Callable[[int], BaseSampler], most: int) -> Trial | None:
    """Return a new trial to `take`, or None if there are `most`; searchers that share no lock may ask at once."""
    if len(begun(study)) >= most:
        return None
    study.sampler = sampler_of(0)
    trial = study.ask()
    if sum(other.number <= trial.number for other in begun(study)) <= most:
        return trial
    study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)  # the next `ask` gets it, with its point
    return None


def begun(study: Study) -> list[FrozenTrial]:
    """Return all trials but those that `ask` has put back."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]


def take(trial: Trial, space: Space, sampler_of: Callable[[int], BaseSampler]) -> dict[str, Value]:
    """Make this process the owner of a trial, and return the trial's values."""
    trial.set_user_attr(_OWNER, host_info.this_process() | {"job": slurm.this_life()})
    trial.study.sampler = sampler_of(trial.number)
    return suggestions.suggest(trial, space)


def abandoned(study: Study) -> Iterator[Trial]:
    """Yield the running trials whose searcher is gone, each as a trial to `take`."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        owner = trial.user_attrs.get(_OWNER)
        if owner is None:
            started = trial.datetime_start or datetime.min
            is_abandoned = (datetime.now() - started).total_seconds() > _ASKING_SECONDS
        else:
            is_abandoned = _is_gone(owner)
        if is_abandoned:
            yield Trial(study, trial._trial_id)


def is_under_way(study: Study | None) -> bool:
    """Tell whether a searcher is at work, as far as this machine can know."""
    if study is None:
        return False
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    owners = [trial.user_attrs.get(_OWNER) for trial in running]
    return any(owner is None or not _is_gone(owner) for owner in owners)


def _is_gone(owner: dict[str, Any]) -> bool:
    """Tell whether a searcher has ended for certain: a process of this machine, or of a SLURM job."""
    if host_info.is_here(owner):
        return not host_info.is_alive(owner.get("pid"), owner.get("pid_started"))
    return owner.get("job") is not None and slurm.is_over(owner["job"])


# -- results of trials -------------------------------------------------------------------------------------------------


def known_value(study: Study, trial: Trial) -> float | None:
    """Return the result of another trial with the same values, perhaps on another machine."""
    for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if other.params == trial.params and other.value is not None:
            return other.value
    return None


def is_hopeless(trial: Trial, epoch: int, value: float) -> bool:
    """Report a trial's value at an epoch, and tell whether the pruner would end the trial."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an epoch is reported again when a run goes on
        trial.report(value, epoch)
    return trial.should_prune()


def tell(trial: Trial, value: float | None = None, *, failed: str | None = None) -> None:
    """Record the end of a trial: with a value, pruned (no value), or failed, with the reason."""
    if failed is not None:
        trial.set_user_attr(WHY, failed)
    state = TrialState.FAIL if failed is not None else TrialState.PRUNED if value is None else None
    trial.study.tell(trial.number, value, state, skip_if_finished=True)


def ended(study: Study) -> list[FrozenTrial]:
    """Return the trials that have ended, in the order of their numbers."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


class Best(NamedTuple):
    """The best trial so far."""

    tag: str
    value: float


def best(study: Study) -> Best | None:
    """Return the best trial if one has a value."""
    try:
        trial = study.best_trial
    except ValueError:
        return None
    return Best(str(trial.user_attrs.get(TAG)), float(trial.values[0]))


def remember(study: Study, plan: Plan) -> None:
    """Store the options of a search for later calls."""
    for name in ("sampler", "pruner", "trials", "seeds"):
        if study.user_attrs.get(name) != getattr(plan, name):
            study.set_user_attr(name, getattr(plan, name))
