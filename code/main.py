"""Train and test what config.py describes: `run <tag>` starts this file, and `python code/main.py` works as well."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read by torch: or two runs on the same cores wait by spinning

from exper.training import stopping

if __name__ == "__main__":
    stopping.listen()  # before the slow imports: a Ctrl-C in them is an interruption, too

import argparse
import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn
from torch.autograd import set_detect_anomaly
from torch.amp import GradScaler

import data
from exper.training import debug
import epoch
import model as models
import optim
from exper.training.data.batches import Batches, Tensors
from exper.core import components
from exper.config import config_file
from exper.core.errors import Refused
from exper.training import checkpoints as checkpoint, untracked_code, pretrained, random_state
from exper.training.distributed import device, collective, rank
from exper.training.inspect import model_summary
from exper.training.records import recorder
from exper.training.checkpoints import Checkpoints
from exper.training.inspect.nonfinite import NotFinite
from exper.training.records.hardware import Hardware
from exper.training.monitor import Monitor
from exper.training.nothing import NOTHING
from exper.training.distributed.rank import say
from exper.program import this_run
from exper.training.run import Run
from exper.training.inspect.watch import See
from loss import Loss
from metric import Totals
from optim import Average, Optimizers
from setting import Settings
from exper.training.state import State
from transform import Transform

CODE = Path(__file__).resolve().parent


SEARCH = ("search", "search_trials")  # what only `exper search` reads


class Built(NamedTuple):
    """What config.py names, ready to train or to be evaluated."""

    given: Settings
    state: State
    batches: dict[str, Batches]  # of "train", "val" and "test"
    loss_of: nn.Module
    saved: dict[str, Any] | None  # the checkpoint to go on from
    about: dict[str, Any]  # what statistic.json holds beside metrics


def build(run: Run, config: dict[str, Any], load: Callable[[Checkpoints], dict[str, Any] | None]) -> Built:
    """Build what config.py names, and load a checkpoint; refuse what is wrong before data is loaded, where it can."""
    config = debug.shortened(config)
    given: Settings = components.call("", config, Settings)
    threads = collective.threads(run, config, of=collective.of_this_machine()[1])
    where = device.prepare(given.device, threads, given.deterministic)
    collective.join(where)
    random_state.start(run.seed)
    data.check(given.data)
    transform = Transform(given.transform)
    models.check(given.model)
    pretrained.check(given.pretrained, run)
    loss_of = Loss(given.loss).to(where)
    metric = Totals(given.metric)
    known = [f"{split}/{name}" for split in ("train", "val") for name in metric.names]
    monitor = components.call("early_stop", given.early_stop or {}, Monitor, given.monitor, known)
    checkpoints = components.call("checkpoint", given.checkpoint, Checkpoints, run.files.checkpoint)
    record = recorder.Statistic(run.files, given.logger)
    see = components.call("see", given.see, See, record, given.compiled)
    optim.check(given.optimizer, given.scheduler, given.monitor)

    batches, about_data = data.load(run.data, given.data, transform, where, run.seed, given.epoch_length)
    batches = debug.fewer(batches, given)
    about_data["size"] = {split: len(one.index_N) for split, one in batches.items()}
    about_device = device.describe(where, given.deterministic)
    about_outside = untracked_code.code(CODE.parent)
    run.compare(device=about_device, data=about_data, outside_code=about_outside)
    shape, classes = batches["train"].shape, batches["train"].dataset.classes
    loss_of.check(classes)
    if isinstance(dataset := batches["train"].dataset, Tensors):
        dataset.check(loss_of.ignored)
    metric.check(classes)
    model = components.build("model", given.model, models.MODEL, shape, classes).to(where)
    if given.verbose != "quiet":
        say(f"{given.model['name']}: {model_summary.parameters(model)}, on {about_device['name']}")
        say(model_summary.summary(model, shape))
    saved = collective.from_first(lambda: load(checkpoints))
    started_from = None if saved else pretrained.load(model, given.pretrained, run)
    steps = given.epochs * len(batches["train"])
    optimizers = Optimizers(model, given.optimizer, given.scheduler, steps, given.epochs)
    ema = None if given.ema is None else Average(model, given.ema)
    if given.compiled:
        model.compile(dynamic=False)  # or the kernels of a batch would depend on the sizes of those before it
    scaler = GradScaler(where.type, enabled=given.amp == "fp16")
    if not rank.is_first():  # of several processes: one writes for all, and each draws, as for dropout, its own
        record, see = NOTHING, NOTHING
        random_state.start(run.seed, rank.number())
    parallel = collective.wrapped(model, where)
    written = (record, checkpoints, run.format, config, started_from)
    state = State(model, optimizers, scaler, ema, metric, monitor, *written, parallel, see, loss_of)
    hparam = config_file.flatten({name: value for name, value in config.items() if name not in SEARCH})
    about = {"format": run.format, "hparam": hparam, "data": about_data, "device": about_device}
    about |= {"outside_code": about_outside}
    return Built(given, state, batches, loss_of, saved, about)


def main(run: Run, config: dict[str, Any]) -> None:
    """Train from the newest checkpoint, or from nothing, to the end; then test the best weights."""
    built = build(run, config, Checkpoints.newest)
    check_batch_size(built)
    state, saved = built.state, built.saved
    stopping.wait_for_step()  # before, a signal ends the process at once
    if saved is not None:
        state.load_state_dict(saved)
        say(f"continues after epoch {state.epoch}, step {state.step}")
    about = built.about | ({} if state.pretrained is None else {"pretrained": state.pretrained})
    state.statistic.start(about, saved and saved["statistic"], state.step, hardware(run, built))
    try:
        with set_detect_anomaly(built.given.anomaly):
            fit(built)
        state.statistic.end_test(test(built, *best(state)))
    except Exception as error:
        if rank.is_first():
            checkpoint.write(run.files.checkpoint / "crash.path", state.state_dict(alone=True))
        if isinstance(error, NotFinite):
            error.args = (debug.explain(error, state, lambda again: repeat(built, again)),)
        raise
    finally:
        state.checkpoints.wait()
        state.statistic.close()
    collective.leave()


def check_batch_size(built: Built) -> None:
    """Refuse one that leaves a single image over, if the model can't be trained on that."""
    given, batches = built.given, built.batches["train"]
    of = given.epochs, given.accumulate
    if batches.smallest(*of) > 1 or not model_summary.needs_two(built.state.model, batches.shape_in_training()):
        return
    size, samples, count = batches.size, len(batches.index_N), collective.count()
    near = sorted(range(1, samples + 1), key=lambda other: abs(other - size))
    better = next((one for one in near if replace(batches, size=one).smallest(*of) > 1), None)
    raise Refused(
        f"data.batch_size = {size}: of {samples} training samples, with accumulate = {given.accumulate} in {count}"
        f" process{'' if count == 1 else 'es'}, one image is left alone; this model takes two, for batch normalization."
        f" {f'Write {better}' if better else 'Take more samples, or fewer parts or processes'}."
    )


def hardware(run: Run, built: Built) -> Hardware | None:
    """Return what looks at the machine while it trains, if that is wanted."""
    every_seconds, state = built.given.hardware_every_seconds, built.state
    if every_seconds is None or not rank.is_first():
        return None
    where = next(state.model.parameters()).device
    return Hardware(run.files, every_seconds, device.gpus(where), lambda: state.step)


def fit(built: Built) -> None:
    """Take the epochs that are left."""
    given, state, batches, loss_of, *_ = built
    if state.step == 0:
        state.save()
    while state.epoch < given.epochs and not state.monitor.is_over:
        epoch.train(state, batches["train"], loss_of, given)
        state.check_finite()
        collective.align(state.model, state.evaluated)
        val = epoch.evaluate(state, state.evaluated, batches["val"], loss_of, given, "val")
        line = state.end_epoch(val, Totals(given.metric))
        if given.verbose != "quiet":
            say(recorder.text(line, given.epochs))
            if state.monitor.is_over:
                say(
                    f"stops early: no progress of {state.monitor.name} since epoch {state.epoch - state.monitor.waited}"
                )
        is_last = state.epoch == given.epochs or state.monitor.is_over
        if is_last or line is state.monitor.best or state.checkpoints.is_due(state.epoch, batch=0):
            state.save()


def repeat(built: Built, again: State) -> None:
    """Take the epochs that `again` has left, and test as `main` does."""
    quiet = built._replace(state=again, given=replace(built.given, verbose="quiet"))
    fit(quiet)
    test(quiet, *best(built.state))


def best(state: State) -> tuple[nn.Module, int]:
    """Return the model of the best epoch, and this; without a monitor, or if its checkpoint is lost, of the last."""
    if state.monitor.name and not state.monitor.best:
        say(f"{state.monitor.name} was never a finite number: no epoch is best, the last is tested")
    model = copy.deepcopy(state.evaluated)
    saved = collective.from_first(lambda: state.checkpoints.of_epoch(state.monitor.best.get("epoch", state.epoch)))
    if saved is None:
        return model, state.epoch
    model.load_state_dict(saved.get("ema", saved["model"]))
    state.loss.load_state_dict(saved.get("loss", {}), strict=False)
    return model, saved["epoch"]


def test(built: Built, model: nn.Module, tested: int) -> dict[str, Any]:
    """Return what `model`, of the epoch `tested`, achieves on the test split, as statistic.json has it."""
    given, state, batches, loss_of, *_ = built
    values = epoch.evaluate(state, model, batches["test"], loss_of, given, "test")
    say(f"test of epoch {tested}: " + "  ".join(f"{name} {value:.4g}" for name, value in values.items()))
    return {"epoch": tested, **values}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--debug", action="store_true", help="as config.py's debug = True: a short run with checks on")
    changes = {"debug": True} if parser.parse_args().debug else {}
    with this_run(CODE) as this:
        found = config_file.read((CODE / "config.py").read_bytes()) | changes
        if not collective.started(this, found):  # else torchrun starts this file once for each of several
            main(this, found)
