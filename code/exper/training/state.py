"""The state of training: what a checkpoint holds, and the steps and epochs that change it."""

import contextlib
import copy
import functools
import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from tqdm import tqdm

from exper.training import random_state, stopping
from exper.training.average import Average
from exper.training.checkpoints import Checkpoints
from exper.training.data.batches import Batch, Batches
from exper.training.distributed import collective, rank
from exper.training.distributed.collective import Agreement
from exper.training.inspect.nonfinite import NotFinite
from exper.training.inspect.watch import Watch
from exper.training.monitor import Monitor
from exper.training.records import progress_bar, recorder, totals
from exper.training.records.recorder import Recorder
from exper.training.records.totals import Means, Totals

_COUNTERS = ("epoch", "batch", "step", "lr")
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Context:
    """What the state follows and writes to: settings, files, the recorder."""

    settings: Any  # config.py's, as setting.py has them
    config: dict[str, Any]  # the same, as plain values
    format: int
    pretrained: dict[str, Any] | None  # where the first weights are from
    recorder: Recorder
    checkpoints: Checkpoints
    watch: Watch  # what TensorBoard shows beside curves
    verbose: str


class State:
    """How far training is, and all that its next step depends on.

    Everything given to it, but `context`, has `state_dict` and `load_state_dict`, and is in each checkpoint.
    """

    def __init__(
        self,
        context: Context,
        *,
        model: nn.Module,
        optimizer: Any,
        scheduler: Any,
        scaler: GradScaler,
        ema: Average | None,
        loss: nn.Module,
        metric: Totals,
        monitor: Monitor,
        **others: Any,
    ) -> None:
        self.context = context
        self.model = model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.scaler = scaler  # of the loss, for fp16; else it does nothing
        self.ema = ema
        self.loss = loss
        self.metric = metric  # of the current epoch
        self.monitor = monitor
        self.others = others
        self.logged = Means()  # the numbers of `log` in the current epoch
        self.epoch = 0  # completed
        self.batch = 0  # completed batches of the current epoch
        self.step = 0  # of the optimizer, in all
        self.lr = 0.0  # of the last step
        self._stop_code = Agreement()  # the exit code, if a signal asked one of the processes to stop
        self._epoch_started = time.monotonic()

    @property
    def evaluated(self) -> nn.Module:
        """The model whose metrics count: the average of the weights if there is one."""
        return self.model if self.ema is None else self.ema.model

    # -- epochs --------------------------------------------------------------------------------------------------------

    def epochs(self) -> Iterator[int]:
        """Yield the epochs that are left, until early stopping."""
        if self.step == 0:
            self.save()
        while self.epoch < self.context.settings.epochs and not self.monitor.is_over:
            yield self.epoch

    def training_batches(self, batches: Batches) -> Iterator[Batch]:
        """Yield the batches that are left of the current epoch; then check that the loss was finite."""
        left = batches.slices(self.epoch, self.batch)
        title = f"epoch {self.epoch + 1}"
        yield from progress_bar.bar(left, title, len(batches), self.batch, self.context.verbose)
        self.check_finite()
        collective.align(self.model, self.evaluated)

    def evaluation_batches(self, batches: Batches, split: str) -> Iterator[Batch]:
        """Yield all batches of a split. A stop in between leaves the state as it was before the first."""
        before = self._mark()
        for batch in progress_bar.bar(batches.slices(), split, len(batches), verbose=self.context.verbose):
            yield batch
            self.stop_if_asked(before)

    def complete_epoch(self, values: dict[str, float]) -> None:
        """Count the epoch, record it with `values` of the validation split, and save where due. Waits for the GPU."""
        settings = self.context.settings
        line = self._end_epoch(values)
        if self.context.verbose != "quiet":
            rank.say(recorder.text(line, settings.epochs))
            if self.monitor.is_over:
                since = self.epoch - self.monitor.waited
                rank.say(f"stops early: no progress of {self.monitor.name} since epoch {since}")
        is_last = self.epoch == settings.epochs or self.monitor.is_over
        if is_last or line is self.monitor.best or self.context.checkpoints.is_due(self.epoch, batch=0):
            self.save()

    def _end_epoch(self, values: dict[str, float]) -> dict[str, Any]:
        """Return the epoch's line of history."""
        self.epoch += 1
        line: dict[str, Any] = {"epoch": self.epoch, "step": self.step}
        line |= self.metric.values("train") | self.logged.values() | values
        seconds = time.monotonic() - self._epoch_started
        line |= {"lr": self.lr, "weights": self.digest(), "seconds": seconds}
        self.monitor.see(line)
        self.scheduler.end_epoch(self.monitor.value(line))
        self.context.recorder.end_epoch(line, self.monitor.best)
        self.batch = 0
        self.metric = self.metric.empty()
        self.logged = Means()
        self._epoch_started = time.monotonic()
        return line

    def best(self) -> tuple[nn.Module, int]:
        """Return the model of the best epoch, and that epoch; the last without a monitor or if its file is lost."""
        if self.monitor.name and not self.monitor.best:
            rank.say(f"{self.monitor.name} was never a finite number: no epoch is best, the last is tested")
        model = copy.deepcopy(self.evaluated)
        best_epoch = self.monitor.best.get("epoch", self.epoch)
        saved = collective.from_first(lambda: self.context.checkpoints.of_epoch(best_epoch))
        if saved is None:
            return model, self.epoch
        model.load_state_dict(saved.get("ema", saved["model"]))
        self.loss.load_state_dict(saved.get("loss", {}), strict=False)
        return model, saved["epoch"]

    def complete_test(self, values: dict[str, float], epoch: int) -> None:
        """Record `values` of the test split, with which training ends, and the epoch whose weights were tested."""
        rank.say(recorder.test_text(values, epoch))
        self.context.recorder.end_test({"epoch": epoch, **values})

    # -- steps ---------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def taking_step(self, batch: Batch) -> Iterator[None]:
        """Count the step that the block takes; then look, log, save and stop, where due."""
        context = self.context
        context.watch.before_step(self.model, self.step + 1, batch.input)
        collective.align(self.model)
        self.lr = self.optimizer.lr
        yield
        self.scheduler.step()
        if self.ema is not None:
            self.ema.update()
        context.watch.after_step(self.model)  # waits where something is due
        self.metric.end_batch()
        self.batch += 1
        self.step += 1
        every = context.settings.log_every_steps
        if every is not None and self.step % every == 0:
            self._log_step()  # waits
        if context.checkpoints.is_due(self.epoch, self.batch):
            self.save()  # waits
        self.stop_if_asked()

    def parts(self, batch: Batch) -> Iterator[Batch]:
        """Yield the `accumulate` parts that a batch is computed in, each with its share of the batch's mean."""
        chunks = self.context.settings.accumulate
        for images, targets in zip(batch.input.chunk(chunks), batch.target.chunk(chunks), strict=True):
            yield Batch(images, targets, batch.share * len(images) / len(batch.input))

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """Compute the block in the precision that `amp` sets; None: everything in 32 bits."""
        amp = self.context.settings.amp
        if amp is None:
            return contextlib.nullcontext()
        return torch.autocast(next(self.model.parameters()).device.type, _AUTOCAST[amp])

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss` to that of the weights; in fp16, of the scaled loss."""
        self.scaler.scale(loss).backward()

    def update(self, *, clip: float | None = None) -> None:
        """Average the gradients over all processes, clip their norm, and take the optimizers' step."""
        collective.average_gradients(self.optimizer.weights)
        if clip is not None:
            self.optimizer.clip(clip, self.scaler)
        self.optimizer.step(self.scaler)

    # -- numbers -------------------------------------------------------------------------------------------------------

    def log(self, **values: Tensor | float) -> None:
        """Log your own numbers: their means over the epoch and, with `log_every_steps`, their values at steps."""
        self.logged.add(values, taken=("loss", "lr", *self.metric.metrics))

    def show(self, **values: Any) -> None:
        """Keep texts, images (C, H, W) or figures of this step, in the run's `shown/` and in the loggers."""
        for name, value in values.items():
            self.context.recorder.show(self.step, name, value)

    def _log_step(self) -> None:
        """Add a line for this step to history, and points to TensorBoard. Waits for the GPU."""
        values = {"step/loss": float(self.metric.batch_loss), "step/lr": self.lr} | self.logged.last()
        self.context.recorder.add({"epoch": self.epoch + 1, "step": self.step} | values)

    def finite(self, values: dict[str, float], split: str) -> dict[str, float]:
        """Return `values`.

        Raises:
            NotFinite: their loss is NaN or infinite.
        """
        loss = values[f"{split}/loss"]
        if not math.isfinite(loss):
            raise NotFinite(f"{split}/loss is {loss} after step {self.step}", self.step)
        return values

    def check_finite(self) -> None:
        """Raise NotFinite, with the step, if the loss was NaN or infinite in this epoch. Waits for the GPU."""
        finite = collective.least(int(self.metric.finite))
        if finite < self.batch:
            steps = self.step - self.batch + finite
            raise NotFinite(f"the loss is NaN or infinite at step {steps + 1}, in epoch {self.epoch + 1}", steps)

    def digest(self) -> str:
        """Return the sha256 of all weights. Waits for the GPU."""
        sha256 = hashlib.sha256()
        for model in [self.model] if self.ema is None else [self.model, self.ema.model]:
            for value in model.state_dict().values():
                sha256.update(_bytes(value))
        return sha256.hexdigest()

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint of all processes, unless the loss is NaN or infinite. Waits for the GPU."""
        self.check_finite()
        self.context.checkpoints.save(self.state_dict(), self.monitor.best.get("epoch"))

    def state_dict(self, *, alone: bool = False) -> dict[str, Any]:
        """Return plain dicts, lists and tensors; `alone`: without the other processes, which may be gone."""
        context = self.context
        state = {"format": context.format, "config": context.config, "pretrained": context.pretrained}
        state |= {name: getattr(self, name) for name in _COUNTERS}
        state |= {name: value.state_dict() for name, value in self._shared().items()}
        own = self._own_state()
        state |= _merged([own] if alone else collective.gathered(own))
        state |= {"statistic": context.recorder.state_dict()}
        return state | {"seconds": time.monotonic() - self._epoch_started}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Resume from a checkpoint's content."""
        for name, value in self._shared().items():
            value.load_state_dict(saved[name])
        for name in _COUNTERS:
            setattr(self, name, saved[name])
        self._epoch_started = time.monotonic() - saved["seconds"]
        self._load_own_state(self._own_part(saved))

    def _shared(self) -> dict[str, Any]:
        """Return the parts that are equal in all processes, by their keys in a checkpoint."""
        names = ("model", "optimizer", "scheduler", "scaler", "monitor")
        shared = {name: getattr(self, name) for name in names}
        return shared if self.ema is None else shared | {"ema": self.ema}

    def _own_state(self) -> dict[str, Any]:
        """Return the state that each process has for itself."""
        weights = dict(self.loss.named_parameters(remove_duplicate=False))  # frozen: as they were built
        loss = {name: value for name, value in self.loss.state_dict().items() if name not in weights}
        own = {"metric": self.metric.state_dict(), "own": self.logged.state_dict(), "random": random_state.state()}
        return own | {"loss": loss} | {name: value.state_dict() for name, value in self.others.items()}

    def _load_own_state(self, own: dict[str, Any]) -> None:
        device = next(self.model.parameters()).device  # a checkpoint is read to the CPU, where generators stay
        self.metric.load_state_dict(_moved(own["metric"], device))
        self.logged.load_state_dict(_moved(own["own"], device))
        self.loss.load_state_dict(own.get("loss", {}), strict=False)  # older checkpoints lack it
        for name, value in self.others.items():
            value.load_state_dict(own[name])
        random_state.restore(own["random"])

    def _own_part(self, saved: dict[str, Any]) -> dict[str, Any]:
        """Return this process's part of a checkpoint; if the number of processes changed, the first gets the sums."""
        each = saved.get("each", [saved])
        if len(each) == collective.count():
            return each[rank.number()]  # type: ignore[no-any-return]
        if rank.is_first():
            return saved
        metric = self.metric.state_dict() | {"finite": saved["batch"]}
        others = {name: saved[name] for name in self.others}
        return self._own_state() | {"metric": metric, "loss": saved.get("loss", {})} | others

    def _mark(self) -> dict[str, Any]:
        """Return the random numbers, the logged numbers and the loss's buffers, for `stop_if_asked` to restore."""
        own = self._own_state()
        return own | {"loss": copy.deepcopy(own["loss"])}  # it may change in place

    def stop_if_asked(self, before: dict[str, Any] | None = None) -> None:
        """Save and end the process if a signal asked one of the processes for it: all at the same step.

        `before`, of `_mark`: what to restore first, because it will be done again.
        """
        code = self._stop_code.largest(stopping.exit_code() or 0)
        if not code:
            return
        if before is not None:
            self._load_own_state(before)
        self.save()
        self.context.checkpoints.wait()
        if rank.is_first():
            tqdm.write(f"stopped and saved after epoch {self.epoch}, step {self.step}")
        collective.wait_for_all()
        collective.leave()  # else a thread of gloo that still runs at the end of Python may abort it
        raise SystemExit(code)


def _merged(each: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge the per-process states into the one that a single process would have, and keep each."""
    if len(each) == 1:
        return each[0]
    logged = functools.reduce(collective.plus, [state["own"] for state in each])
    metric = totals.merged([state["metric"] for state in each])
    return each[0] | {"metric": metric, "own": logged, "each": each}


def _bytes(value: Any) -> Any:
    """Return the bytes of a tensor, or of another value that a module's `get_extra_state` gives."""
    if isinstance(value, Tensor):
        return value.cpu().reshape(-1).contiguous().view(torch.uint8).numpy()
    return repr(value).encode()


def _moved(value: Any, device: torch.device) -> Any:
    """Return `value` with the tensors in its dicts and lists on `device`."""
    if isinstance(value, dict):
        return {name: _moved(item, device) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_moved(item, device) for item in value)
    return value.to(device) if isinstance(value, Tensor) else value
