"""Everything that a checkpoint holds: what the next step, and all after it, depend on."""

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from exper.training import stop, streams
from exper.training.checkpoint import Checkpoints
from exper.training.monitor import Monitor
from exper.training.statistic import Statistic
from metric import Totals
from optim import Average


@dataclass
class State:
    """Where training stands, between two steps."""

    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler | None
    ema: Average | None
    monitor: Monitor
    totals: Totals  # of the epoch under way
    statistic: Statistic
    checkpoints: Checkpoints
    device: torch.device
    about: dict[str, Any]  # format and config, for who opens a checkpoint
    epoch: int = 0  # completed
    batch: int = 0  # done of the epoch under way
    step: int = 0  # of the optimizer, in all
    lr: float = 0.0  # of the last step
    seconds: float = 0.0  # of the epoch under way, up to `since`
    since: float = field(default_factory=time.monotonic)

    @property
    def evaluated(self) -> nn.Module:
        """The model whose metrics count: the average of the weights if there is one."""
        return self.model if self.ema is None else self.ema.model

    def end_epoch(self, val: dict[str, float], fresh: Totals) -> dict[str, Any]:
        """Count the epoch as completed, and return its line of history. Waits for the GPU."""
        self.epoch += 1
        line: dict[str, Any] = {"epoch": self.epoch, "step": self.step, **self.totals.values("train"), **val}
        line |= {"lr": self.lr, "weights": self.digest(), "seconds": self.elapsed()}
        self.monitor.see(line)
        self.statistic.end_epoch(line, self.monitor.best)
        self.batch, self.totals, self.seconds = 0, fresh, 0.0
        return line

    def elapsed(self) -> float:
        """Return the seconds that the epoch under way took so far, in all sessions."""
        now = time.monotonic()
        self.seconds, self.since = self.seconds + now - self.since, now
        return self.seconds

    def state_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and tensors. Waits for the GPU."""
        return {
            **self.about,
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.step,
            "lr": self.lr,
            "seconds": self.elapsed(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler and self.scheduler.state_dict(),
            "ema": self.ema and self.ema.state_dict(),
            "random": streams.state(self.device),
            "metric": {"totals": self.totals.state_dict(), "monitor": self.monitor.state_dict()},
            "statistic": self.statistic.state_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        for name in ("epoch", "batch", "step", "lr", "seconds"):
            setattr(self, name, saved[name])
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(saved["scheduler"])
        if self.ema is not None:
            self.ema.load_state_dict(saved["ema"])
        self.totals.load_state_dict(saved["metric"]["totals"], self.device)
        self.monitor.load_state_dict(saved["metric"]["monitor"])
        streams.restore(saved["random"], self.device)

    def check_finite(self) -> None:
        """Stop if the loss was NaN or infinite, naming the step. Waits for the GPU."""
        finite = int(self.totals.finite)
        if finite < self.batch:
            step = self.step - self.batch + finite + 1
            raise FloatingPointError(f"the loss is NaN or infinite at step {step}, in epoch {self.epoch + 1}")

    def save(self) -> None:
        """Write a checkpoint, unless the loss is NaN or infinite. Waits for the GPU."""
        self.check_finite()
        self.checkpoints.save(self.state_dict(), self.monitor.best_epoch)

    def leave_if_asked(self) -> None:
        """Save and end the process if a signal has asked for it."""
        code = stop.exit_code()
        if code is not None:
            self.save()
            self.checkpoints.close()
            print(f"stopped and saved at epoch {self.epoch}, step {self.step}")
            raise SystemExit(code)

    def digest(self) -> str:
        """Return the sha256 of all weights. Waits for the GPU."""
        sha256 = hashlib.sha256()
        for model in (self.model, self.evaluated):
            for name, tensor in model.state_dict().items():
                sha256.update(name.encode() + tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return sha256.hexdigest()
