"""Weights & Biases: files in the run's `wandb/`, to be sent by `wandb sync`, or its server."""

import os
import shutil
from pathlib import Path
from typing import Any, Literal

from exper.sidecars.loggers import wandb_file
from exper.sidecars.loggers.run_info import About, End, Item, Line


class WandB:
    """A run of W&B. Its own process writes and sends; of what has arrived, its files or its server are asked."""

    factor = 3.5  # with its process and its thread

    def __init__(
        self,
        about: About,
        mode: Literal["offline", "online"] = "offline",
        project: str | None = None,
        entity: str | None = None,
        base_url: str | None = None,
    ) -> None:
        self._about, self._mode = about, mode
        self._where: dict[str, Any] = {"project": project or about.project, "entity": entity}
        self._base_url, self.arrived = base_url, 0

    def start(self, _there: dict[str, Any]) -> dict[str, Any]:
        if self._base_url:
            os.environ["WANDB_BASE_URL"] = self._base_url
        import wandb

        about, last = self._about, _last_step(self._about.run.folder)
        quiet = wandb.Settings(
            silent=True,
            console="off",
            save_code=False,
            disable_git=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        self._run: Any = wandb.init(
            **self._where,
            id=about.key,
            name=about.name,
            group=about.record.get("tag"),
            config=about.nested,
            dir=about.run.folder,
            mode=self._mode,
            resume="allow",
            settings=quiet,
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        self.arrived = self._run.starting_step if self._mode == "online" else last + 1
        return {"id": about.key}

    def missing(self, lines: list[Line]) -> list[Line]:
        return [line for line in lines if line.number >= self.arrived]

    def log(self, lines: list[Line]) -> None:
        for line in lines:
            about = {"step": line.step, "epoch": line.content.get("epoch")}
            self._run.log({**line.scalars, **about}, step=line.number, commit=True)

    def show(self, item: Item) -> None:
        self._run.save(str(item.path), base_path=str(item.path.parents[1]), policy="now")

    def finish(self, end: End) -> None:
        self._run.summary.update(end.test)
        for path in self._about.results():
            self._run.save(str(path), base_path=str(path.parent), policy="end")
        self._run.summary["exper.status"] = end.status
        self._run.finish(exit_code=0 if end.status in ("finished", "pruned") else 1)


def _last_step(folder: Path) -> int:
    """Return the number of the last line that reached a file of an offline run; -1: none did.

    What a kill has left without any record goes: `wandb sync` would stop there.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    last = -1
    for path in folder.glob("wandb/offline-run-*/*.wandb"):
        records = [Record.FromString(one) for one in wandb_file.records(path)]
        steps = [record.history.step.num for record in records if record.HasField("history")]
        last = max(last, *steps, -1)
        if not records:
            shutil.rmtree(path.parent)
    return last
