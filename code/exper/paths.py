"""The names under __data__, __result__ and __statistic__; nobody else joins them."""

from dataclasses import dataclass
from pathlib import Path


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

    def __str__(self) -> str:
        return f"{self.tag}/{self.folder.name}"

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
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def tensorboard(self) -> Path:
        return self.folder / "tensorboard"

    def evaluated(self, epoch: int) -> Path:
        """Return the folder of what `exper evaluate` has found out about an epoch's weights."""
        return self.folder / "evaluate" / f"epoch_{epoch}"

    @property
    def picture(self) -> Path:
        return self.folder / "history.png"


@dataclass(frozen=True)
class Tag:
    """What belongs to one tag, `__result__/<tag>/`."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def snapshot(self) -> Path:
        return self.folder / "snapshot"

    @property
    def last_id(self) -> Path:
        return self.folder / "last_id"

    def run(self, number: int) -> Run:
        return Run(self.folder / str(number))

    def runs(self) -> list[Run]:
        """Return the tag's runs by id."""
        try:
            names = [path.name for path in self.folder.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        numbers = sorted(int(name) for name in names if name.isascii() and name.isdigit())
        return [self.run(number) for number in numbers]


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

    @property
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
    def lock(self) -> Path:
        """Held for the moment in which a run is born, removed, or a snapshot put in its place."""
        return self.result / ".lock"

    def list_file(self, name: str) -> Path:
        return self.lists / f"{name}.txt"

    def tag(self, name: str) -> Tag:
        return Tag(self.result / name)

    def tags(self) -> list[Tag]:
        """Return the tags that have a folder, by name."""
        try:
            folders = [path for path in self.result.iterdir() if path.is_dir() and not path.name.startswith(".")]
        except FileNotFoundError:
            return []
        return [Tag(folder) for folder in sorted(folders)]
