"""Weights & Biases: files in the run's `wandb/`, for `wandb sync` to send, or its server."""

import os
import shutil
from pathlib import Path
from typing import Any, Literal

from exper.sidecars.loggers import wandb_file
from exper.sidecars.loggers.run_info import End, Item, Line, RunInfo


class WandB:
    """A run of W&B. W&B's own process writes and sends; its files or its server tell what has arrived."""

    factor = 3.5  # with its process and its thread

    def __init__(
        self,
        info: RunInfo,
        mode: Literal["offline", "online"] = "offline",
        project: str | None = None,
        entity: str | None = None,
        base_url: str | None = None,
    ) -> None:
        self._info = info
        self._mode = mode
        self._destination: dict[str, Any] = {"project": project or info.project, "entity": entity}
        self._base_url = base_url
        self.arrived = 0

    def start(self, _there: dict[str, Any]) -> dict[str, Any]:
        if self._base_url:
            os.environ["WANDB_BASE_URL"] = self._base_url
        import wandb

        info = self._info
        last = _last_step(info.run.folder)
        quiet = wandb.Settings(
            silent=True,
            console="off",
            save_code=False,
            disable_git=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        self._run: Any = wandb.init(
            **self._destination,
            id=info.key,
            name=info.name,
            group=info.record.get("tag"),
            config=info.nested,
            dir=info.run.folder,
            mode=self._mode,
            resume="allow",
            settings=quiet,
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        self.arrived = self._run.starting_step if self._mode == "online" else last + 1
        return {"id": info.key}

    def missing(self, lines: list[Line]) -> list[Line]:
        return [line for line in lines if line.number >= self.arrived]

    def log(self, lines: list[Line]) -> None:
        for line in lines:
            place = {"step": line.step, "epoch": line.content.get("epoch")}
            self._run.log({**line.scalars, **place}, step=line.number, commit=True)

    def show(self, item: Item) -> None:
        self._run.save(str(item.path), base_path=str(item.path.parents[1]), policy="now")

    def finish(self, end: End) -> None:
        self._run.summary.update(end.test)
        for path in self._info.results():
            self._run.save(str(path), base_path=str(path.parent), policy="end")
        self._run.summary["exper.status"] = end.status
        self._run.finish(exit_code=0 if end.status in ("finished", "pruned") else 1)


def _last_step(folder: Path) -> int:
    """Return the number of the last line that reached a file of an offline run, or -1.

    A file that a kill has left without any record is removed with its folder: `wandb sync` would stop there.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    last = -1
    for path in folder.glob("wandb/offline-run-*/*.wandb"):
        records = [Record.FromString(record) for record in wandb_file.records(path)]
        steps = [record.history.step.num for record in records if record.HasField("history")]
        last = max(last, *steps, -1)
        if not records:
            shutil.rmtree(path.parent)
    return last
