"""Train and test what config.py describes: `run <tag>` starts this file, and `python code/main.py` works as well."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read by torch: or two runs on the same cores wait by spinning

from exper.training import stop

if __name__ == "__main__":
    stop.listen()  # before the slow imports: a Ctrl-C in them is an interruption, too

import contextlib
import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

import data
import epoch
from exper import settings as reading
from exper.error import Refused
from exper.training import device, parts, progress, statistic, streams
from exper.training.checkpoint import Checkpoints
from exper.training.monitor import Monitor
from exper.training.run import Run
from exper.training.statistic import Statistic
from loss import LOSS
from metric import Totals
from model import MODEL
from optim import OPTIMIZER, SCHEDULER, Average
from state import State
from transform import Transform

CODE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Settings:
    """The names that config.py binds; a setting of your own is one line there and one here."""

    epochs: int
    data: dict[str, Any]
    transform: list[dict[str, Any]]
    model: dict[str, Any]
    loss: dict[str, Any]
    metric: list[dict[str, Any]]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any] | None
    clip: float | None
    ema: float | None
    monitor: str | None
    early_stop: dict[str, Any] | None
    checkpoint: dict[str, Any]
    device: str
    processes: int | None
    threads: int | None
    deterministic: bool
    logger: list[str]
    log_every_steps: int | None
    search: dict[str, Any] | None = None  # read by `exper search` only

    def check(self) -> None:
        """Refuse what is wrong before anything is loaded; values of the model's arguments wait for the data's shape."""
        data.check(self.data)
        Transform(self.transform)
        parts.check("model", self.model, MODEL, ahead=2)
        parts.build("loss", self.loss, LOSS)
        build_monitor(self)
        build_optimizer(self, [nn.Parameter(torch.zeros(1))], steps=100)
        build_checkpoints(self, Path()).close()
        statistic.check(self.logger)
        device.check(self.device, self.processes)
        at_least_one = {"epochs": self.epochs, "threads": self.threads, "log_every_steps": self.log_every_steps}
        for name, value in at_least_one.items():
            if value is not None and value < 1:
                raise Refused(f"{name} = {value}: must be at least 1.")
        if self.clip is not None and self.clip <= 0:
            raise Refused(f"clip = {self.clip}: must be above 0.")
        if self.ema is not None and not 0 < self.ema < 1:
            raise Refused(f"ema = {self.ema}: must be between 0 and 1.")


def build_monitor(settings: Settings) -> Monitor:
    metrics = ["loss", *Totals(settings.metric).metrics]
    known = [f"{split}/{name}" for split in ("train", "val") for name in metrics]
    early_stop = settings.early_stop or {}
    parts.check_arguments("early_stop", early_stop, Monitor, ahead=2)
    return Monitor(settings.monitor, known, **early_stop)


def build_optimizer(settings: Settings, weights: Any, steps: int) -> tuple[Optimizer, LRScheduler | None]:
    """Build the optimizer and its scheduler; `steps` is of an epoch."""
    optimizer = parts.build("optimizer", settings.optimizer, OPTIMIZER, weights)
    if settings.scheduler is None:
        return optimizer, None
    return optimizer, parts.build("scheduler", settings.scheduler, SCHEDULER, optimizer, settings.epochs, steps)


def build_checkpoints(settings: Settings, folder: Path) -> Checkpoints:
    parts.check_arguments("checkpoint", settings.checkpoint, Checkpoints, ahead=1)
    return Checkpoints(folder, **settings.checkpoint)


def main(run: Run, config: dict[str, Any]) -> None:
    """Train from the newest checkpoint, or from nothing, to the end; then test the best weights."""
    parts.check_arguments("", config, Settings)
    settings = Settings(**config)
    settings.check()
    where = device.prepare(settings.device, settings.processes, run.threads, settings.deterministic)
    streams.start(run.seed)
    transform = Transform(settings.transform)
    loaded = data.load(run.data, settings.data, transform, where, run.seed)
    loss_of = parts.build("loss", settings.loss, LOSS).to(where)
    state = build_state(run, settings, loaded, where)

    stop.wait_for_steps()
    saved = state.checkpoints.newest()
    if saved is not None:
        state.load_state_dict(saved)
        print(f"continues after epoch {state.epoch}, step {state.step}")
    state.statistic.start(saved and saved["statistic"], state.step)
    try:
        fit(state, settings, loaded, loss_of)
        test(state, settings, loaded, loss_of)
    except Exception:
        with contextlib.suppress(Exception):  # the exception that counts is the first
            state.checkpoints.save_crash(state.state_dict())
        raise
    state.checkpoints.close()
    state.statistic.close()


def build_state(run: Run, settings: Settings, loaded: data.Data, where: torch.device) -> State:
    """Build all that training changes, as it is before the first step."""
    hardware = device.describe(where, settings.deterministic)
    run.compare(device=hardware, data=loaded.about)
    model = parts.build("model", settings.model, MODEL, loaded.shape, loaded.classes).to(where)
    print(f"{settings.model['name']}: {sum(p.numel() for p in model.parameters()):,} parameters, on {hardware['name']}")
    optimizer, scheduler = build_optimizer(settings, model.parameters(), len(loaded.train))
    config = {name: value for name, value in vars(settings).items() if name != "search"}
    about = {"format": run.format, "hparam": reading.flatten(config), "data": loaded.about, "device": hardware}
    return State(
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        ema=None if settings.ema is None else Average(model, settings.ema),
        monitor=build_monitor(settings),
        totals=Totals(settings.metric),
        statistic=Statistic(run.files, about, settings.logger),
        checkpoints=build_checkpoints(settings, run.files.checkpoint),
        device=where,
        about={"format": run.format, "config": config},
    )


def fit(state: State, settings: Settings, loaded: data.Data, loss_of: nn.Module) -> None:
    """Take the epochs that are left."""
    if state.step == 0:
        state.save()
    while state.epoch < settings.epochs and not state.monitor.is_over:
        epoch.train(state, loaded.train, loss_of, settings.clip, settings.log_every_steps)
        state.check_finite()
        val = epoch.evaluate(state, state.evaluated, loaded.val, loss_of, Totals(settings.metric), "val")
        line = state.end_epoch(val, Totals(settings.metric))
        print(progress.line(line, settings.epochs))
        is_last = state.epoch == settings.epochs or state.monitor.is_over
        is_best = state.epoch == state.monitor.best_epoch
        if is_last or is_best or state.checkpoints.is_due_after(state.epoch):
            state.save()


def test(state: State, settings: Settings, loaded: data.Data, loss_of: nn.Module) -> None:
    """Test the weights of the best epoch; without a monitor, of the last."""
    model, tested = state.evaluated, state.epoch
    best = state.monitor.best_epoch
    if best is not None and best != state.epoch:
        saved = state.checkpoints.of_epoch(best)
        if saved is None:
            print(f"the checkpoint of the best epoch, {best}, is lost: testing the last one")
        else:
            model, tested = copy.deepcopy(model), best
            model.load_state_dict(saved["ema"] or saved["model"])
    values = epoch.evaluate(state, model, loaded.test, loss_of, Totals(settings.metric), "test")
    state.statistic.end_test({"epoch": tested, **values})
    print(f"test, weights of epoch {tested}: " + "  ".join(f"{name} {value:.4g}" for name, value in values.items()))


if __name__ == "__main__":
    with Run(CODE) as this:
        main(this, reading.read((CODE / "config.py").read_bytes(), "code/config.py"))
