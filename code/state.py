"""Everything that a checkpoint holds: what the next step, and all after it, depend on."""

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from tqdm import tqdm

from exper.training import stop, streams
from exper.training.checkpoint import Checkpoints
from exper.training.finite import NotFinite
from exper.training.means import Means
from exper.training.monitor import Monitor
from exper.training.nothing import NOTHING
from exper.training.see import See
from exper.training.statistic import Statistic
from metric import Totals
from optim import Average, Optimizers

_PLAIN = ("pretrained", "epoch", "batch", "step", "lr")


@dataclass
class State:
    """Where training stands between two steps, and where it writes that down."""

    model: nn.Module
    optimizers: Optimizers
    scaler: GradScaler  # of the loss, for fp16; else it does nothing
    ema: Average | None
    metric: Totals  # of the epoch under way
    monitor: Monitor
    statistic: Statistic
    checkpoints: Checkpoints
    format: int
    config: dict[str, Any]
    pretrained: dict[str, Any] | None = None  # where the first weights are from
    see: See = NOTHING  # what TensorBoard shows beside curves
    own: Means = field(default_factory=Means)  # what `log` gets in the epoch under way
    epoch: int = 0  # completed
    batch: int = 0  # done of the epoch under way
    step: int = 0  # of the optimizer, in all
    lr: float = 0.0  # of the last step
    started: float = field(default_factory=time.monotonic)  # the epoch under way

    @property
    def evaluated(self) -> nn.Module:
        """The model whose metrics count: the average of the weights if there is one."""
        return self.model if self.ema is None else self.ema.model

    def _parts(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in ("model", "scaler", "metric", "monitor", "own")}
        return found | ({} if self.ema is None else {"ema": self.ema.model})

    def state_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and tensors."""
        found = {name: getattr(self, name) for name in ("format", "config", *_PLAIN)}
        found |= {name: part.state_dict() for name, part in self._parts().items()}
        found |= self.optimizers.state_dict()
        found |= {"random": streams.state(), "statistic": self.statistic.state_dict()}
        return found | {"seconds": time.monotonic() - self.started}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        self.optimizers.load_state_dict(saved)
        for name in _PLAIN:
            setattr(self, name, saved[name])
        self.started = time.monotonic() - saved["seconds"]
        streams.restore(saved["random"])

    def log(self, **values: Tensor | float) -> None:
        """Log numbers of your own: their means over the epoch, and with `log_every_steps` their values at steps."""
        self.own.add(values, taken=("loss", "lr", *self.metric.metrics))

    def log_step(self) -> None:
        """Add a line for this step to history, and points to TensorBoard. Waits for the GPU."""
        named = {"step/loss": float(self.metric.batch_loss), "step/lr": self.lr} | self.own.last()
        self.statistic.add({"epoch": self.epoch + 1, "step": self.step} | named)

    def end_epoch(self, val: dict[str, float], metric: Totals) -> dict[str, Any]:
        """Count the epoch as completed, and return its line of history; `metric` is for the next. Waits for the GPU."""
        self.epoch += 1
        line: dict[str, Any] = {"epoch": self.epoch, "step": self.step}
        line |= self.metric.values("train") | self.own.values() | val
        line |= {"lr": self.lr, "weights": self.digest(), "seconds": time.monotonic() - self.started}
        self.monitor.see(line)
        self.optimizers.end_epoch(self.monitor.value(line))
        self.statistic.end_epoch(line, self.monitor.best)
        self.batch, self.metric, self.own, self.started = 0, metric, Means(), time.monotonic()
        return line

    def check_finite(self) -> None:
        """Stop if the loss was NaN or infinite, naming the step. Waits for the GPU."""
        finite = int(self.metric.finite)
        if finite < self.batch:
            steps = self.step - self.batch + finite
            raise NotFinite(f"the loss is NaN or infinite at step {steps + 1}, in epoch {self.epoch + 1}", steps)

    def save(self) -> None:
        """Write a checkpoint, unless the loss is NaN or infinite. Waits for the GPU."""
        self.check_finite()
        self.checkpoints.save(self.state_dict(), self.monitor.best.get("epoch"))

    def leave_if_asked(self) -> None:
        """Save and end the process if a signal has asked for it."""
        code = stop.exit_code()
        if code is not None:
            self.save()
            self.checkpoints.wait()
            tqdm.write(f"stopped and saved after epoch {self.epoch}, step {self.step}")
            raise SystemExit(code)

    def digest(self) -> str:
        """Return the sha256 of all weights. Waits for the GPU."""
        sha256 = hashlib.sha256()
        for model in [self.model] if self.ema is None else [self.model, self.ema.model]:
            for tensor in model.state_dict().values():
                sha256.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy())
        return sha256.hexdigest()
