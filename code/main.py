"""Train what config.py describes, then test the best epoch: `run <tag>`, or `python code/main.py`.

Read this file, then epoch.py: together they are the training loop. What config.py can name is in data/, model/,
loss.py, metric.py, optim.py, schedule.py and transform.py. Two objects of exper/training do the rest:

    session    the run's folder, settings, device, seed and processes; it resumes, records and keeps what a crash leaves
    state      what a checkpoint holds and how far training is; state.log(...) and state.show(...) take your own values
"""

from exper.training import startup

startup.listen(__name__)  # before the slow imports: a Ctrl-C in them is an interruption, too

from pathlib import Path
from typing import NamedTuple

from torch.amp import GradScaler

import data
import epoch
import metric as metrics
import model as models
import optim
from exper import program
from exper.training.average import Average
from exper.training.data.batches import Batches
from exper.training.records.totals import Totals
from exper.training.session import Session
from exper.training.state import State
from loss import Loss
from optim import Optimizers, Schedules
from setting import Settings
from transform import Transform

CODE = Path(__file__).resolve().parent


class Experiment(NamedTuple):
    """What config.py names, ready to train."""

    settings: Settings
    batches: dict[str, Batches]  # of "train", "val" and "test"
    state: State


def build(session: Session) -> Experiment:
    """Build what config.py names; what needs no data is refused before any are loaded."""
    settings: Settings = session.settings
    data.check(settings.data)
    models.check(settings.model)
    optim.check(settings.optimizer, settings.scheduler, settings.monitor)
    loss = Loss(settings.loss).to(session.device)
    metric = Totals(metrics.build(settings.metric))
    monitor = session.monitor(metric.names)
    batches = load(session, loss, metric)
    train = batches["train"]

    # The model, and what changes its weights.
    model = models.build(settings.model, train.shape, train.dataset.classes).to(session.device)
    session.restore(model, train)  # a checkpoint to resume from, or else the weights of `pretrained`
    optimizer = Optimizers(model, settings.optimizer)
    scheduler = Schedules(optimizer, settings.scheduler, len(train), settings.epochs)
    scaler = GradScaler(session.device.type, enabled=settings.amp == "fp16")
    ema = None if settings.ema is None else Average(model, settings.ema)
    if settings.compiled:
        model.compile(dynamic=False)  # else the kernels of a batch would depend on the sizes of those before it

    # What a checkpoint holds. If training needs something else to resume exactly, add a keyword here.
    state = session.state(
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        scaler=scaler,
        ema=ema,
        loss=loss,
        metric=metric,
        monitor=monitor,
    )
    return Experiment(settings, batches, state)


def load(session: Session, loss: Loss, metric: Totals) -> dict[str, Batches]:
    """Load the data that config.py names; refuse a loss or a metric that does not fit them."""
    settings: Settings = session.settings
    batches, about = data.load(
        session.run.data,
        settings.data,
        Transform(settings.transform),
        device=session.device,
        seed=session.run.seed,
        epoch_length=settings.epoch_length,
    )
    batches = session.subset(batches)  # `overfit` and `debug` take fewer samples
    session.compare(about, batches)
    train = batches["train"]
    train.check_targets(loss.ignored)
    loss.check(train.dataset.classes)
    metric.check(train.dataset.classes)
    return batches


def main(session: Session) -> None:
    """Train from the newest checkpoint, or from the start, to the end; then test the best weights."""
    experiment = build(session)
    with session.training(experiment.state, repeat=lambda state: train_and_test(experiment._replace(state=state))):
        train_and_test(experiment)


def train_and_test(experiment: Experiment) -> None:
    """Train the epochs that are left, then test."""
    settings, batches, state = experiment
    for _ in state.epochs():
        epoch.train(state, batches["train"], settings)
        values = epoch.evaluate(state, state.evaluated, batches["val"], "val")
        state.complete_epoch(values)  # a line of history, points in TensorBoard, a checkpoint where one is due
    model, tested_epoch = state.best()
    values = epoch.evaluate(state, model, batches["test"], "test")
    state.complete_test(values, tested_epoch)


if __name__ == "__main__":
    program.start(CODE, Settings, main, __doc__)
