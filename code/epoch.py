"""One pass over the data: the loop to edit."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from exper.training.data.batches import Batches
from exper.training.distributed import collective
from exper.training.inspect.nonfinite import NotFinite
from exper.training.records import progress_bar
from exper.training.state import State
from metric import Totals
from setting import Settings

AMP = {"bf16": torch.bfloat16, "fp16": torch.float16}  # mixed precision: what of the model is computed in


def train(state: State, batches: Batches, loss_of: nn.Module, given: Settings) -> None:
    """Take the steps that are left of the epoch under way. The CPU waits for the GPU only where it says so."""
    state.parallel.train()
    left = batches.slices(state.epoch, state.batch)  # one of several processes has its slice of each batch
    title = f"epoch {state.epoch + 1}"
    for image_BCHW, target_B, weight in progress_bar.bar(left, title, len(batches), state.batch, given.verbose):
        state.see.before_step(state.model, state.step + 1, image_BCHW)

        # the gradient of the batch, as a sum over `accumulate` parts that fit into memory
        state.optimizers.zero_grad()
        parts = [*zip(image_BCHW.chunk(given.accumulate), target_B.chunk(given.accumulate), strict=True)]
        done: list[tuple[Tensor, Any, Tensor]] = []
        for image_PCHW, target_P in parts:
            with collective.exchanging(state.parallel, is_last=len(done) == len(parts) - 1):
                # forward
                with precision(given.amp, image_PCHW.device):
                    output_PK = state.parallel(image_PCHW)
                    loss = loss_of(output_PK, target_P)

                # backward
                share = weight * len(image_PCHW) / len(image_BCHW)
                state.scaler.scale(loss if share == 1 else loss * share).backward()
            done.append((loss, output_PK, target_P))

        # step
        if given.clip is not None:
            state.optimizers.clip(given.clip, state.scaler)
        state.lr = state.optimizers.lr
        state.optimizers.step(state.scaler)  # waits, in fp16
        if state.ema is not None:
            state.ema.update()
        state.see.after_step(state.model)  # waits, where something is to be seen

        # count, log, save, stop
        for loss, output_PK, target_P in done if weight else ():
            state.metric.add(loss, output_PK, target_P)
        state.metric.end_batch()
        state.batch += 1
        state.step += 1
        if given.log_every_steps is not None and state.step % given.log_every_steps == 0:
            state.log_step()  # waits
        if state.checkpoints.is_due(state.epoch, state.batch):
            state.save()  # waits
        state.leave_if_asked()


@torch.no_grad()
def evaluate(
    state: State, model: nn.Module, batches: Batches, loss_of: nn.Module, given: Settings, split: str
) -> dict[str, float]:
    """Return loss and metrics of `model` over a split, such as {"val/loss": 0.1, "val/acc": 0.98}."""
    model.eval()
    metric, begun = Totals(given.metric), state.mark()
    for image_BCHW, target_B, weight in progress_bar.bar(batches.slices(), split, len(batches), verbose=given.verbose):
        with precision(given.amp, image_BCHW.device):
            output_BK = model(image_BCHW)
            loss = loss_of(output_BK, target_B)
        if weight:
            metric.add(loss, output_BK, target_B)
        state.leave_if_asked(begun)  # to evaluate from the first batch again
    values = metric.values(split)  # waits
    if not math.isfinite(values[f"{split}/loss"]):
        raise NotFinite(f"{split}/loss is {values[f'{split}/loss']} after step {state.step}", state.step)
    return values


def precision(amp: str | None, device: torch.device) -> AbstractContextManager[Any]:
    """Compute what allows it in "bf16" or "fp16"; None: everything in 32 bits."""
    return nullcontext() if amp is None else torch.autocast(device.type, AMP[amp])
