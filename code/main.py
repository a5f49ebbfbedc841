"""Train and test what config.py describes: `run <tag>` starts this file, and `python code/main.py` works as well."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read by torch: or two runs on the same cores wait by spinning

from exper.training import stop

if __name__ == "__main__":
    stop.listen()  # before the slow imports: a Ctrl-C in them is an interruption, too

import copy
from pathlib import Path
from typing import Any

from torch import nn
from torch.amp import GradScaler

import data
import epoch
import optim
from data.batches import Batches
from exper import parts, settings
from exper.training import checkpoint, device, statistic, streams
from exper.training.monitor import Monitor
from exper.training.run import Run, this_run
from loss import LOSS
from metric import Totals
from model import MODEL
from optim import Average, Optimizers
from setting import Settings
from state import State
from transform import Transform

CODE = Path(__file__).resolve().parent


def main(run: Run, config: dict[str, Any]) -> None:
    """Train from the newest checkpoint, or from nothing, to the end; then test the best weights."""
    # What is wrong in config.py is found before data is loaded, but for values of the model's arguments.
    given: Settings = parts.call("", config, Settings)
    where = device.prepare(given.device, given.processes, run.record["threads"], given.deterministic)
    data.check(given.data)
    transform = Transform(given.transform)
    parts.check("model", given.model, MODEL, ahead=2)
    loss_of = parts.build("loss", given.loss, LOSS).to(where)
    metric = Totals(given.metric)
    known = [f"{split}/{name}" for split in ("train", "val") for name in ("loss", *metric.metrics)]
    monitor = parts.call("early_stop", given.early_stop or {}, Monitor, given.monitor, known)
    checkpoints = parts.call("checkpoint", given.checkpoint, checkpoint.Checkpoints, run.files.checkpoint)
    record = statistic.Statistic(run.files, given.logger)
    optim.check(given.optimizer, given.scheduler, given.monitor)

    streams.start(run.seed)
    batches, about_data = data.load(run.data, given.data, transform, where, run.seed, given.epoch_length)
    about_device = device.describe(where, given.deterministic)
    run.compare(device=about_device, data=about_data)
    shape, classes = batches["train"].shape, batches["train"].dataset.classes
    model = parts.build("model", given.model, MODEL, shape, classes).to(where)
    weights = sum(one.numel() for one in model.parameters())
    print(f"{given.model['name']}: {weights:,} parameters, on {about_device['name']}")
    steps = given.epochs * len(batches["train"])
    optimizers = Optimizers(model, given.optimizer, given.scheduler, steps, given.epochs)
    ema = None if given.ema is None else Average(model, given.ema)
    if given.compiled:
        model.compile(dynamic=False)  # or the kernels of a batch would depend on the sizes of those before it
    scaler = GradScaler(where.type, enabled=given.amp == "fp16")
    state = State(model, optimizers, scaler, ema, metric, monitor, record, checkpoints, run.format, config)

    stop.wait_for_step()  # before, a signal ends the process at once
    saved = checkpoints.newest()
    if saved is not None:
        state.load_state_dict(saved)
        print(f"continues after epoch {state.epoch}, step {state.step}")
    hparam = settings.flatten({name: value for name, value in config.items() if name != "search"})
    about = {"format": run.format, "hparam": hparam, "data": about_data, "device": about_device}
    record.start(about, saved and saved["statistic"], state.step)
    try:
        fit(state, given, batches, loss_of)
        test(state, given, batches["test"], loss_of)
    except Exception:
        checkpoint.write(run.files.checkpoint / "crash.path", state.state_dict())
        raise
    finally:
        checkpoints.wait()
        record.close()


def fit(state: State, given: Settings, batches: dict[str, Batches], loss_of: nn.Module) -> None:
    """Take the epochs that are left."""
    if state.step == 0:
        state.save()
    while state.epoch < given.epochs and not state.monitor.is_over:
        epoch.train(state, batches["train"], loss_of, given)
        state.check_finite()
        val = epoch.evaluate(state, state.evaluated, batches["val"], loss_of, given, "val")
        line = state.end_epoch(val, Totals(given.metric))
        print(statistic.text(line, given.epochs))
        is_last = state.epoch == given.epochs or state.monitor.is_over
        if is_last or line is state.monitor.best or state.checkpoints.is_due(state.epoch, batch=0):
            state.save()


def test(state: State, given: Settings, batches: Batches, loss_of: nn.Module) -> None:
    """Test the weights of the best epoch; without a monitor, or if its checkpoint is lost, of the last."""
    model, tested = copy.deepcopy(state.evaluated), state.epoch
    best = state.checkpoints.of_epoch(state.monitor.best.get("epoch", state.epoch))
    if best is not None:
        model.load_state_dict(best.get("ema", best["model"]))
        tested = best["epoch"]
    values = epoch.evaluate(state, model, batches, loss_of, given, "test")
    state.statistic.end_test({"epoch": tested, **values})
    print(f"test of epoch {tested}: " + "  ".join(f"{name} {value:.4g}" for name, value in values.items()))


if __name__ == "__main__":
    with this_run(CODE) as this:
        main(this, settings.read((CODE / "config.py").read_bytes()))
