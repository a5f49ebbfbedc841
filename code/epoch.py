"""One pass over the data: the loop to edit."""

import math

import torch
from torch import nn

from data.batches import Batches
from exper.training import progress
from metric import Totals
from state import State


def train(state: State, batches: Batches, loss_of: nn.Module, clip: float | None, log_every_steps: int | None) -> None:
    """Take the steps that are left of the epoch under way. The CPU waits for the GPU only where it says so."""
    state.model.train()
    left = batches.of_epoch(state.epoch, state.batch)
    for image_BCHW, label_B in progress.bar(left, f"epoch {state.epoch + 1}", len(batches), state.batch):
        # forward
        output_BK = state.model(image_BCHW)
        loss = loss_of(output_BK, label_B)

        # backward
        state.optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(state.model.parameters(), clip)

        # step
        state.lr = state.optimizer.param_groups[0]["lr"]
        state.optimizer.step()
        if state.scheduler is not None:
            state.scheduler.step()
        if state.ema is not None:
            state.ema.update(state.model)

        # count, log, save, stop
        state.metric.add(loss.detach(), output_BK.detach(), label_B)
        state.batch += 1
        state.step += 1
        if log_every_steps is not None and state.step % log_every_steps == 0:
            values = {"step/loss": loss.item(), "step/lr": state.lr}  # waits
            state.statistic.add({"epoch": state.epoch + 1, "step": state.step} | values)
        if state.checkpoints.is_due(state.epoch, state.batch):
            state.save()  # waits
        state.leave_if_asked()


@torch.no_grad()
def evaluate(
    state: State, model: nn.Module, batches: Batches, loss_of: nn.Module, metric: Totals, split: str
) -> dict[str, float]:
    """Return loss and metrics of `model` over a split, such as {"val/loss": 0.1, "val/acc": 0.98}."""
    model.eval()
    for image_BCHW, label_B in progress.bar(batches.of_epoch(), split, len(batches)):
        output_BK = model(image_BCHW)
        metric.add(loss_of(output_BK, label_B), output_BK, label_B)
        state.leave_if_asked()
    values = metric.values(split)  # waits
    if not math.isfinite(values[f"{split}/loss"]):
        raise FloatingPointError(f"{split}/loss is {values[f'{split}/loss']} after epoch {state.epoch}")
    return values
