"""The only module that knows the names under __data__, __result__ and __statistic__."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

_OF_THE_DISK = "lost+found"  # if __result__ is a file system of its own


def from_here(path: Path) -> str:
    """Return a path relative to the working folder."""
    try:
        return os.path.relpath(path)
    except FileNotFoundError:  # the working folder is deleted
        return str(path)


def search_of(tag: str) -> str:
    """Return the search that the tag `<search>+<values>` is a trial of; empty for other tags."""
    search, plus, _ = tag.partition("+")
    return search if plus else ""


@dataclass(frozen=True)
class Run:
    """The files of one run, `__result__/<tag>/<id>/`."""

    folder: Path

    @property
    def tag(self) -> str:
        return self.folder.parent.name

    @property
    def id(self) -> int:
        return int(self.folder.name)

    @property
    def is_numbered(self) -> bool:
        """Tell whether it is a lasting run; a verification has no number."""
        return self.folder.name.isdigit()

    def __str__(self) -> str:
        return "/".join(self.folder.parts[-2:])

    @property
    def record(self) -> Path:
        return self.folder / "run.json"

    @property
    def statistic(self) -> Path:
        return self.folder / "statistic.json"

    @property
    def history(self) -> Path:
        return self.folder / "history.jsonl"

    @property
    def hardware(self) -> Path:
        return self.folder / "hardware.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def seed(self) -> Path:
        return self.folder / "seed"

    @property
    def heartbeat(self) -> Path:
        return self.folder / "heartbeat"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def refused(self) -> Path:
        return self.folder / "refused"

    @property
    def prune(self) -> Path:
        """Exists if a search has asked the run to end early."""
        return self.folder / "prune"

    @property
    def job_script(self) -> Path:
        """The script that SLURM runs."""
        return self.folder / "job"

    @property
    def job_log(self) -> Path:
        """The output of SLURM and the manager in a job."""
        return self.folder / "job.log"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def tensorboard(self) -> Path:
        return self.folder / "tensorboard"

    def evaluated(self, epoch: int) -> Path:
        """Return the folder with the results of `exper evaluate` for an epoch's weights."""
        return self.folder / "evaluate" / f"epoch_{epoch}"

    @property
    def picture(self) -> Path:
        return self.folder / "history.png"

    @property
    def shown(self) -> Path:
        """Text and pictures of `state.show`."""
        return self.folder / "shown"

    @property
    def sent(self) -> Path:
        """The progress of each logger that sends."""
        return self.folder / "sent"

    @property
    def project(self) -> "Project":
        return Project(self.folder.parents[2])


@dataclass(frozen=True)
class Verification(Run):
    """The files of a repetition that `verify` compares with its run, `__result__/.verify/<tag>-<id>-<random>/`."""

    @property
    def snapshot(self) -> Path:
        return self.folder / "snapshot"


@dataclass(frozen=True)
class Tag:
    """The files of a tag, `__result__/<tag>/`."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def search(self) -> str:
        """Return the search that this tag is a trial of; empty for other tags."""
        return search_of(self.name)

    @property
    def snapshot(self) -> Path:
        return self.folder / "snapshot"

    @property
    def last_id(self) -> Path:
        return self.folder / "last_id"

    @property
    def removed_ids(self) -> Path:
        """The ids of removed runs, one a line."""
        return self.folder / "removed_ids"

    @property
    def journal(self) -> Path:
        """Optuna's journal of a search."""
        return self.folder / "search.journal"

    @property
    def jobs(self) -> Path:
        """The jobs of a search, one a line."""
        return self.folder / "search.jobs"

    @property
    def job_script(self) -> Path:
        return self.folder / "search.job"

    @property
    def job_log(self) -> Path:
        """The output of a search's tasks; sbatch replaces %a by their number."""
        return self.folder / "search.%a.log"

    def run(self, number: int) -> Run:
        return Run(self.folder / str(number))

    def runs(self) -> list[Run]:
        """Return the tag's runs by id."""
        try:
            names = os.listdir(self.folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        numbers = sorted(int(name) for name in names if name.isascii() and name.isdigit())
        return [self.run(number) for number in numbers]


@dataclass(frozen=True)
class Board:
    """The files of the project's background TensorBoard, `__result__/.board/`."""

    folder: Path

    @property
    def lock(self) -> Path:
        """Held while TensorBoard runs."""
        return self.folder / "lock"

    @property
    def record(self) -> Path:
        return self.folder / "board.json"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def stopped(self) -> Path:
        """Exists if the user has stopped it, so that `run` starts none."""
        return self.folder / "stopped"


@dataclass(frozen=True)
class Project:
    """The folders of a project; `root` is the parent of the `code/` that holds source.sh."""

    root: Path

    @property
    def code(self) -> Path:
        return self.root / "code"

    @property
    def data(self) -> Path:
        return self.root / "__data__"

    @functools.cached_property
    def result(self) -> Path:
        return self.root / "__result__"

    @property
    def statistic(self) -> Path:
        return self.root / "__statistic__"

    @property
    def lists(self) -> Path:
        return self.statistic / "exper-list"

    @property
    def titles(self) -> Path:
        return self.statistic / "title"

    @property
    def tables(self) -> Path:
        return self.statistic / "table"

    @property
    def reports(self) -> Path:
        return self.statistic / "report"

    @property
    def plots(self) -> Path:
        return self.statistic / "plot"

    @property
    def lock(self) -> Path:
        """Held while a run is created or removed, or a snapshot is put into place."""
        return self.result / ".lock"

    @property
    def board(self) -> Board:
        return Board(self.result / ".board")

    @property
    def sacred(self) -> Path:
        """The folder in the format of Sacred's FileStorageObserver."""
        return self.result / ".sacred"

    @property
    def mlflow(self) -> Path:
        """MLflow's runs, if there is no server."""
        return self.result / ".mlflow"

    @property
    def verifications(self) -> Path:
        return self.result / ".verify"

    def list_file(self, name: str) -> Path:
        return self.lists / f"{name}.txt"

    def title_file(self, name: str) -> Path:
        return self.titles / f"{name}.json"

    def table_file(self, name: str, ending: str) -> Path:
        return self.tables / f"{name}.{ending}"

    def report_file(self, name: str) -> Path:
        return self.reports / f"{name}.html"

    def plot_file(self, name: str, kind: str) -> Path:
        return self.plots / f"{name}.{kind}"

    def search_plot_file(self, search: str, name: str) -> Path:
        return self.plots / search / f"{name}.png"

    def tag(self, name: str) -> Tag:
        return Tag(self.result / name)

    def _folders(self, *, are_readable: bool) -> list[str]:
        try:
            with os.scandir(self.result) as entries:
                folders = [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
        except FileNotFoundError:
            return []
        names = [entry.name for entry in folders if os.access(entry.path, os.R_OK | os.X_OK) == are_readable]
        return sorted(name for name in names if name != _OF_THE_DISK)

    def tag_names(self) -> list[str]:
        """Return the names of the tags that have a readable folder; fast for thousands of them."""
        return self._folders(are_readable=True)

    def locked_names(self) -> list[str]:
        """Return the names of the tags whose folders can't be read, such as another user's."""
        return self._folders(are_readable=False)

    def tags(self) -> list[Tag]:
        """Return the tags that have a folder, by name."""
        return list(map(self.tag, self.tag_names()))

    def trials(self, search: str) -> list[Tag]:
        """Return the tags of a search's trials that have a folder, by name."""
        return [self.tag(name) for name in self.tag_names() if search_of(name) == search]

    def searches(self) -> list[str]:
        """Return the tags of the searches that have trials, by name."""
        return sorted({*map(search_of, self.tag_names())} - {""})

    def runs(self) -> list[Run]:
        """Return all runs, by tag and id."""
        return [run for tag in self.tags() for run in tag.runs()]
