"""What `overfit` and `debug` make of settings and data, and how a NaN is traced to the layer that it comes from."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from exper.core.errors import Refused
from exper.training import stopping
from exper.training.data.batches import Batches
from exper.training.distributed import collective, rank
from exper.training.inspect.nonfinite import Found, NotFinite, watched, watched_targets
from exper.training.nothing import NOTHING
from exper.training.state import State
from setting import Settings

EPOCHS, BATCHES = 2, 4  # of a run with `debug`


def shortened(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that `debug` makes of `config`."""
    return config | {"epochs": EPOCHS, "epoch_length": None, "anomaly": True} if config.get("debug") else config


def fewer(batches: dict[str, Batches], given: Settings) -> dict[str, Batches]:
    """Return the batches with as many samples as `overfit` and `debug` leave, taken evenly from the split."""
    if given.overfit is not None:
        there = len(batches["train"].index_N)
        if given.overfit > there:
            raise Refused(f"overfit = {given.overfit}: the training split has {there} samples.")
        some = _evenly(batches["train"], given.overfit)
        batches = {name: replace(one, index_N=some.index_N) for name, one in batches.items()}
    if given.debug:
        batches = {name: _evenly(one, BATCHES * one.size) for name, one in batches.items()}
    return batches


def _evenly(batches: Batches, samples: int) -> Batches:
    last, count = len(batches.index_N) - 1, min(samples, len(batches.index_N))
    return replace(batches, index_N=batches.index_N[torch.linspace(0, last, count, dtype=torch.float64).long()])


class Again(State):
    """A state that takes steps which have been taken, and writes nothing."""

    def leave_if_asked(self, marked: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Give up if a signal has asked for it; the run has failed in any case."""
        if stopping.exit_code() is not None:
            raise Found("the search for the layer was stopped")


def explain(error: NotFinite, state: State, repeat: Callable[[State], None]) -> str:
    """Say of a loss that is not finite where that began: go on from the last checkpoint again, looking at each layer.

    Training is exact, so that the same step is reached; `repeat` takes the steps. Nothing is written meanwhile.
    """
    saved = collective.from_first(state.checkpoints.newest)
    if saved is None:
        return str(error)
    rank.say(f"{error}; to find the layer, it is all done again from step {saved['step']} on")
    again = Again(**vars(state) | {"statistic": NOTHING, "checkpoints": NOTHING, "see": NOTHING})
    again.load_state_dict(saved)

    def is_due() -> bool:
        if again.step > error.steps:  # the step that was looked for has been taken
            again.check_finite()
            raise Found("training it again gave finite numbers")
        return again.step == error.steps

    try:
        with ExitStack() as stack:
            stack.enter_context(torch.compiler.set_stance("force_eager"))  # compiled code has no hooks
            for model in {again.model, again.evaluated}:
                stack.enter_context(watched(model, is_due))
            stack.enter_context(watched_targets(again.loss, is_due))
            repeat(again)
    except Found as found:
        return f"{error}; {found}"
    except NotFinite:
        return f"{error}; the output of every layer is finite, so it is the loss that is not"
    return f"{error}; training it again gave finite numbers"
