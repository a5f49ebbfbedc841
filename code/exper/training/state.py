"""Everything that a checkpoint holds: what the next step, and all after it, depend on."""

import copy
import functools
import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from tqdm import tqdm

from exper.training import random_state, stopping
from exper.training.checkpoints import Checkpoints
from exper.training.distributed import collective, rank
from exper.training.distributed.collective import Agreement
from exper.training.inspect.nonfinite import NotFinite
from exper.training.inspect.watch import See
from exper.training.monitor import Monitor
from exper.training.nothing import NOTHING
from exper.training.records.means import Means
from exper.training.records.recorder import Statistic
from metric import Totals, added
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
    parallel: nn.Module = NOTHING  # the model, with gradients that are the mean over all processes
    see: See = NOTHING  # what TensorBoard shows beside curves
    loss: nn.Module = field(default_factory=nn.Module)  # whose buffers are saved, too
    own: Means = field(default_factory=Means)  # what `log` gets in the epoch under way
    epoch: int = 0  # completed
    batch: int = 0  # done of the epoch under way
    step: int = 0  # of the optimizer, in all
    lr: float = 0.0  # of the last step
    asked: Agreement = field(default_factory=Agreement)  # to stop, with which exit code
    started: float = field(default_factory=time.monotonic)  # the epoch under way

    def __post_init__(self) -> None:
        if self.parallel is NOTHING:
            self.parallel = self.model

    @property
    def evaluated(self) -> nn.Module:
        """The model whose metrics count: the average of the weights if there is one."""
        return self.model if self.ema is None else self.ema.model

    def _parts(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in ("model", "scaler", "monitor")}
        return found | ({} if self.ema is None else {"ema": self.ema.model})

    def state_dict(self, *, alone: bool = False) -> dict[str, Any]:
        """Return plain dicts, lists and tensors; `alone`: without the other processes, which may be gone."""
        found = {name: getattr(self, name) for name in ("format", "config", *_PLAIN)}
        found |= {name: part.state_dict() for name, part in self._parts().items()}
        found |= self.optimizers.state_dict()
        found |= self._of_processes([self._own()] if alone else collective.gathered(self._own()))
        found |= {"statistic": self.statistic.state_dict()}
        return found | {"seconds": time.monotonic() - self.started}

    def _own(self) -> dict[str, Any]:
        """Return what differs between processes."""
        found = {"metric": self.metric.state_dict(), "own": self.own.state_dict(), "random": random_state.state()}
        weights = dict(self.loss.named_parameters(remove_duplicate=False))  # frozen: as they were built
        return found | {"loss": {name: one for name, one in self.loss.state_dict().items() if name not in weights}}

    def _of_processes(self, each: list[dict[str, Any]]) -> dict[str, Any]:
        """Return what one process would have in their place, and what they have."""
        if len(each) == 1:
            return each[0]
        own = functools.reduce(collective.plus, [one["own"] for one in each])
        return each[0] | {"metric": added([one["metric"] for one in each]), "own": own, "each": each}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        self.optimizers.load_state_dict(saved)
        for name in _PLAIN:
            setattr(self, name, saved[name])
        self.started = time.monotonic() - saved["seconds"]
        self._load_own(self._own_of(saved))

    def _own_of(self, saved: dict[str, Any]) -> dict[str, Any]:
        """Return this process's part; of as many processes as there were, what it had, else the first has it all."""
        each = saved.get("each", [saved])
        if len(each) == collective.count():
            return each[rank.number()]  # type: ignore[no-any-return]
        if rank.is_first():
            return saved
        metric = self.metric.state_dict() | {"finite": saved["batch"]}
        return self._own() | {"metric": metric, "loss": saved.get("loss", {})}

    def _load_own(self, own: dict[str, Any]) -> None:
        where = next(self.model.parameters()).device  # a checkpoint is read to the CPU, where generators stay
        self.metric.load_state_dict(_moved(own["metric"], where))
        self.own.load_state_dict(_moved(own["own"], where))
        self.loss.load_state_dict(own.get("loss", {}), strict=False)  # older checkpoints lack it
        random_state.restore(own["random"])

    def log(self, **values: Tensor | float) -> None:
        """Log numbers of your own: their means over the epoch, and with `log_every_steps` their values at steps."""
        self.own.add(values, taken=("loss", "lr", *self.metric.metrics))

    def show(self, **values: Any) -> None:
        """Keep texts, images (C, H, W) or figures of this step, in the run's `shown/` and wherever `logger` sends."""
        for name, value in values.items():
            self.statistic.show(self.step, name, value)

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
        finite = collective.least(int(self.metric.finite))
        if finite < self.batch:
            steps = self.step - self.batch + finite
            raise NotFinite(f"the loss is NaN or infinite at step {steps + 1}, in epoch {self.epoch + 1}", steps)

    def save(self) -> None:
        """Write a checkpoint of all processes, unless the loss is NaN or infinite. Waits for the GPU."""
        self.check_finite()
        self.checkpoints.save(self.state_dict(), self.monitor.best.get("epoch"))

    def mark(self) -> dict[str, Any]:
        """Return where random numbers, `log` and the loss stand, for `leave_if_asked` to go back to."""
        own = self._own()
        return own | {"loss": copy.deepcopy(own["loss"])}  # it may change in place

    def leave_if_asked(self, marked: dict[str, Any] | None = None) -> None:
        """Save and end the process if a signal has asked one of the processes for it: all at the same step.

        What has come since `mark` returned `marked` is not saved: it comes again.
        """
        code = self.asked.largest(stopping.exit_code() or 0)
        if code:
            if marked is not None:
                self._load_own(marked)
            self.save()
            self.checkpoints.wait()
            if rank.is_first():
                tqdm.write(f"stopped and saved after epoch {self.epoch}, step {self.step}")
            collective.wait_for_all()
            collective.leave()  # else a thread of gloo that still runs at the end of Python may abort it
            raise SystemExit(code)

    def digest(self) -> str:
        """Return the sha256 of all weights. Waits for the GPU."""
        sha256 = hashlib.sha256()
        for model in [self.model] if self.ema is None else [self.model, self.ema.model]:
            for value in model.state_dict().values():
                sha256.update(_bytes(value))
        return sha256.hexdigest()


def _bytes(value: Any) -> Any:
    """Return the bytes of a tensor, or of what else a module's `get_extra_state` gives."""
    if isinstance(value, Tensor):
        return value.cpu().reshape(-1).contiguous().view(torch.uint8).numpy()
    return repr(value).encode()


def _moved(value: Any, device: torch.device) -> Any:
    """Return `value`, the tensors in its dicts and lists on `device`."""
    if isinstance(value, dict):
        return {name: _moved(one, device) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_moved(one, device) for one in value)
    return value.to(device) if isinstance(value, Tensor) else value
