"""The session of a run: where training reads and writes, on which device, and from which checkpoint it resumes."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn
from torch.autograd import set_detect_anomaly

from exper.config import config_file
from exper.core import components
from exper.core.errors import Refused
from exper.training import checkpoints, pretrained, random_state, replay, stopping, untracked_code
from exper.training.checkpoints import Checkpoints
from exper.training.data.batches import Batches
from exper.training.data.subset import subset
from exper.training.distributed import collective, device, rank
from exper.training.inspect import model_summary
from exper.training.inspect.nonfinite import NotFinite
from exper.training.inspect.watch import Watch
from exper.training.monitor import Monitor
from exper.training.nothing import NOTHING
from exper.training.records.hardware import Hardware
from exper.training.records.recorder import Recorder
from exper.training.run import Run
from exper.training.state import Context, State

_DEBUG = {"epochs": 2, "epoch_length": None, "anomaly": True}  # what `debug` sets
Load = Callable[[Checkpoints], dict[str, Any] | None]


class Session:
    """A process that trains, or evaluates, a run.

    Attributes:
        run: the run's folder, seed and record.
        settings: config.py's, as an instance of `schema`.
        device: the CPU, or the GPU of this process.
        checkpoint: the content that training resumes from; None: it starts from the beginning.
    """

    def __init__(
        self, run: Run, config: dict[str, Any], schema: type, root: Path, load: Load = Checkpoints.newest
    ) -> None:
        """Check the settings, prepare the device, and seed the generators.

        Args:
            run: what the manager hands over.
            config: config.py's settings.
            schema: the dataclass of their names and types.
            root: the project's folder; code from elsewhere is recorded.
            load: returns the checkpoint to resume from.
        """
        self.run = run
        self._config = config | _DEBUG if config.get("debug") else config
        self.settings: Any = components.call("", self._config, schema)
        self._root = root
        self._load = load
        settings = self.settings
        _, processes = collective.local_rank_and_count()
        threads = collective.threads(run.record["threads"], self._config, processes)
        self.device = device.prepare(settings.device, threads, settings.deterministic)
        collective.join(self.device)
        random_state.start(run.seed)
        pretrained.check(settings.pretrained, run)
        self._checkpoints = components.call("checkpoint", settings.checkpoint, Checkpoints, run.files.checkpoint)
        self._recorder = Recorder(run.files, settings.logger)
        self._watch = components.call("see", settings.see, Watch, self._recorder, settings.compiled)
        self._about: dict[str, Any] = {}  # what statistic.json holds beside metrics
        self._pretrained: dict[str, Any] | None = None
        self.checkpoint: dict[str, Any] | None = None

    def monitor(self, metrics: list[str]) -> Monitor:
        """Return the monitor that config.py's `monitor` and `early_stop` describe, for these metrics."""
        choices = [f"{split}/{name}" for split in ("train", "val") for name in metrics]
        early_stop = self.settings.early_stop or {}
        return components.call("early_stop", early_stop, Monitor, self.settings.monitor, choices)  # type: ignore[no-any-return]

    def subset(self, batches: dict[str, Batches]) -> dict[str, Batches]:
        """Return the batches, with fewer samples if config.py sets `overfit` or `debug`."""
        return subset(batches, self.settings.overfit, debug=self.settings.debug)

    def compare(self, data: dict[str, Any], batches: dict[str, Batches]) -> None:
        """Record device, data and untracked code; warn when one differs from the run that is resumed or repeated.

        Raises:
            Refused: one differs, and --exact was given.
        """
        about = {
            "data": data | {"size": {split: len(own.index_N) for split, own in batches.items()}},
            "device": device.describe(self.device, self.settings.deterministic),
            "outside_code": untracked_code.digests(self._root),
        }
        self.run.compare(**about)
        config = {name: value for name, value in self._config.items() if name not in config_file.SEARCH_SETTINGS}
        self._about = {"format": self.run.format, "hparam": config_file.flatten(config)} | about

    def restore(self, model: nn.Module, batches: Batches) -> None:
        """Print a summary of the model; load the checkpoint to resume from, or else config.py's `pretrained` weights.

        The checkpoint is applied once training begins.

        Raises:
            Refused: the weights don't fit, or batch normalization would get a batch of one image.
        """
        settings = self.settings
        if settings.verbose != "quiet":
            parameters = model_summary.parameters(model)
            rank.say(f"{settings.model['name']}: {parameters}, on {self._about['device']['name']}")
            rank.say(model_summary.summary(model, batches.shape))
        self.checkpoint = collective.from_first(lambda: self._load(self._checkpoints))
        if self.checkpoint is None:
            self._pretrained = pretrained.load(model, settings.pretrained, self.run)
        check_batch_size(model, batches, settings.epochs, settings.accumulate)

    def state(self, **parts: Any) -> State:
        """Return the state of training: each keyword is a part of every checkpoint."""
        recorder = self._recorder
        watch = self._watch
        if not rank.is_first():  # the first process writes for all; each draws its own numbers, as for dropout
            recorder = NOTHING
            watch = NOTHING
            random_state.start(self.run.seed, rank.number())
        context = Context(
            settings=self.settings,
            config=self._config,
            format=self.run.format,
            pretrained=self._pretrained if self.checkpoint is None else self.checkpoint["pretrained"],
            recorder=recorder,
            checkpoints=self._checkpoints,
            watch=watch,
            verbose=self.settings.verbose,
        )
        return State(context, **parts)

    @contextlib.contextmanager
    def training(self, state: State, repeat: Callable[[State], None]) -> Iterator[None]:
        """Resume from the checkpoint, and record the training in the block; after an error keep the broken state.

        To trace a NaN to its layer, `repeat` takes the same steps once more.
        """
        self._start(state)
        try:
            with set_detect_anomaly(self.settings.anomaly):
                yield
        except Exception as error:
            if rank.is_first():
                checkpoints.write(self.run.files.checkpoint / "crash.path", state.state_dict(alone=True))
            if isinstance(error, NotFinite):
                error.args = (replay.explain(error, state, repeat),)
            raise
        finally:
            self._checkpoints.wait()
            state.context.recorder.close()
        collective.leave()

    def _start(self, state: State) -> None:
        stopping.wait_for_step()  # until now a signal ends the process at once
        recorded = None
        if self.checkpoint is not None:
            state.load_state_dict(self.checkpoint)
            recorded = self.checkpoint["statistic"]
            rank.say(f"continues after epoch {state.epoch}, step {state.step}")
        about = self._about
        if state.context.pretrained is not None:
            about = about | {"pretrained": state.context.pretrained}
        state.context.recorder.start(about, recorded, state.step, self._hardware(state))

    def _hardware(self, state: State) -> Hardware | None:
        every_seconds = self.settings.hardware_every_seconds
        if every_seconds is None or not rank.is_first():
            return None
        return Hardware(self.run.files, every_seconds, device.gpus(self.device), lambda: state.step)


def check_batch_size(model: nn.Module, batches: Batches, epochs: int, accumulate: int) -> None:
    """Refuse a batch size that leaves a batch of one image, if batch normalization in the model needs two."""
    if batches.smallest(epochs, accumulate) > 1:
        return
    if not model_summary.needs_two(model, batches.shape_in_training()):
        return
    samples = len(batches.index_N)
    processes = collective.count()
    sizes = sorted(range(1, samples + 1), key=lambda size: abs(size - batches.size))
    better = next((size for size in sizes if replace(batches, size=size).smallest(epochs, accumulate) > 1), None)
    advice = f"Write {better}" if better else "Take more samples, or fewer parts or processes"
    raise Refused(
        f"data.batch_size = {batches.size}: with {samples} training samples, accumulate = {accumulate} and {processes}"
        f" process{'' if processes == 1 else 'es'}, a batch has 1 image; batch normalization needs 2. {advice}."
    )
