"""One pass over the data. Edit `step` and `evaluate_step`; the code around them seldom needs a change.

Shape suffixes: B images of a batch, K outputs of the model.
"""

import torch
from torch import nn

from exper.training.data.batches import Batch, Batches
from exper.training.records.totals import Totals
from exper.training.state import State
from setting import Settings


def train(state: State, batches: Batches, settings: Settings) -> None:
    """Take the steps that are left of the current epoch."""
    state.model.train()
    for batch in state.training_batches(batches):
        with state.taking_step(batch):  # counts the step; then looks, logs, saves and stops where due: that waits
            step(state, batch, settings)


def step(state: State, batch: Batch, settings: Settings) -> None:
    """Change the weights once. The CPU does not wait for the GPU here, except in fp16."""
    state.optimizer.zero_grad()
    for micro_batch in state.parts(batch):  # `accumulate` parts that fit into memory, one after the other
        # Forward, in the precision that `amp` sets.
        with state.precision():
            output_BK = state.model(micro_batch.input)
            loss = state.loss(output_BK, micro_batch.target)

        # Backward. `share` weighs this part's mean in the mean over the batch of all processes.
        state.backward(loss * micro_batch.share)
        state.metric.add(loss, output_BK, micro_batch)

    # Average the gradients over the processes, clip them, and change the weights.
    state.update(clip=settings.clip)


@torch.no_grad()
def evaluate(state: State, model: nn.Module, batches: Batches, split: str) -> dict[str, float]:
    """Return the loss and metrics of `model` over a split, such as {"val/loss": 0.1, "val/acc": 0.98}."""
    model.eval()
    metric = state.metric.empty()
    for batch in state.evaluation_batches(batches, split):
        evaluate_step(state, model, batch, metric)
    return state.finite(metric.values(split), split)  # waits


def evaluate_step(state: State, model: nn.Module, batch: Batch, metric: Totals) -> None:
    """Add the loss and metrics of a batch."""
    with state.precision():
        output_BK = model(batch.input)
        loss = state.loss(output_BK, batch.target)
    metric.add(loss, output_BK, batch)
