"""Repeat the steps before a NaN or infinite loss, to name the layer where it began."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from exper.training import stopping
from exper.training.distributed import collective, rank
from exper.training.inspect.nonfinite import NotFinite, OriginFound, checking_model, checking_targets
from exper.training.nothing import NOTHING
from exper.training.state import State


class Replay(State):
    """A state that repeats the steps of another, in the same model, and writes nothing."""

    def __init__(self, original: State) -> None:
        silent = {"recorder": NOTHING, "checkpoints": NOTHING, "watch": NOTHING, "verbose": "quiet"}
        parts = {name: getattr(original, name) for name in ("model", "optimizer", "scheduler", "scaler", "ema", "loss")}
        super().__init__(
            replace(original.context, **silent),
            **parts,
            metric=original.metric.empty(),
            monitor=original.monitor,
            **original.others,
        )
        self._original = original

    def best(self) -> tuple[nn.Module, int]:
        return self._original.best()

    def stop_if_asked(self, before: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Give up if a signal asked for it; the run has failed in any case."""
        if stopping.exit_code() is not None:
            raise OriginFound("the search for the layer was stopped")


def explain(error: NotFinite, state: State, repeat: Callable[[State], None]) -> str:
    """Return the error's text with the layer whose output was the first that is not finite.

    Training is exact, so repeating it from the last checkpoint reaches the same step; `repeat` takes the steps.
    """
    saved = collective.from_first(state.context.checkpoints.newest)
    if saved is None:
        return str(error)
    rank.say(f"{error}; to find the layer, training is repeated from step {saved['step']}")
    again = Replay(state)
    again.load_state_dict(saved)

    def is_due() -> bool:
        if again.step > error.steps:  # the step in question was taken
            again.check_finite()
            raise OriginFound("training it again gave finite numbers")
        return again.step == error.steps

    try:
        with ExitStack() as stack:
            stack.enter_context(torch.compiler.set_stance("force_eager"))  # compiled code has no hooks
            for model in {again.model, again.evaluated}:
                stack.enter_context(checking_model(model, is_due))
            stack.enter_context(checking_targets(again.loss, is_due))
            repeat(again)
    except OriginFound as origin:
        return f"{error}; {origin}"
    except NotFinite:
        return f"{error}; the output of every layer is finite, so it is the loss that is not"
    return f"{error}; training it again gave finite numbers"
