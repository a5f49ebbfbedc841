"""What several processes that train together do in step: add up, agree, and hand on. For one process it is nothing.

Each function that adds up, agrees or hands on has to be called by all of them, in the same order.
"""

import functools
import io
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from exper.core import slurm
from exper.training.distributed import rank
from exper.training.run import Run


def count() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def wanted(config: dict[str, Any]) -> int:
    """Return how many config.py asks for: where it leaves that open, one for each GPU that is not named by its number.

    What is wrong in it counts as one, which will refuse it.
    """
    asked, device = config.get("processes"), config.get("device")
    if asked is None:
        return max(1, torch.cuda.device_count()) if device in ("auto", "cuda") else 1
    return asked if type(asked) is int and asked > 0 else 1


def started(run: Run, config: dict[str, Any]) -> bool:
    """Have torchrun start as many processes as config.py asks for, and end with them; False: this one is to train."""
    number = wanted(config)
    if number * slurm.nodes(run.record.get("job")) > 1 and "EXPER_LAUNCHER" not in os.environ:
        from exper.training.distributed import launcher  # takes a moment, which one process need not wait for

        job = run.record.get("job")
        each = threads(run, config, number)
        launcher.start(run.files.folder, number, each, job=job, lock=run.lock, environment=run.environment())
    return False


def threads(run: Run, config: dict[str, Any], of: int) -> int:
    """Return the threads of each of `of` processes on this machine: the setting, else a share of the run's."""
    total: int = run.record["threads"]
    return total if config.get("threads") is not None else max(1, total // of)


def of_this_machine() -> tuple[int, int]:
    """Return this process's number among those of this machine, and how many these are."""
    if "EXPER_LAUNCHER" not in os.environ:
        return 0, 1
    return int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])


def join(device: torch.device) -> None:
    """Meet the others, if torchrun has started them."""
    if "EXPER_LAUNCHER" in os.environ and not dist.is_initialized():
        dist.init_process_group("gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl")


def leave() -> None:
    """Part from the others at a good end."""
    if dist.is_initialized():
        dist.destroy_process_group()


# -- gradients ---------------------------------------------------------------------------------------------------------


def wrapped(model: nn.Module, device: torch.device) -> nn.Module:
    """Return `model` such that backward leaves the mean of all processes' gradients in its weights."""
    if count() == 1:
        return model
    # Else torch arranges the gradients anew after the first step, and from three processes on the order of additions
    # with them: a run that is continued would have other bits. It also allows for weights that a step leaves out.
    only = None if device.type == "cpu" else [device]
    return DistributedDataParallel(model, device_ids=only, find_unused_parameters=True)


def exchanging(model: nn.Module, is_last: bool) -> AbstractContextManager[Any]:
    """Exchange gradients in the backward pass of the last part of a batch alone; earlier parts add theirs up."""
    return nullcontext() if is_last or not isinstance(model, DistributedDataParallel) else model.no_sync()


def align(*models: nn.Module) -> None:
    """Give all processes the buffers of the first: the running means of batch normalization are each one's own."""
    if count() > 1:
        for buffer in [buffer for model in models for buffer in model.buffers()]:
            dist.broadcast(buffer, 0)


# -- slices of a batch -------------------------------------------------------------------------------------------------


def own_slice(size: int) -> slice:
    """Return this process's part of a batch of `size`: empty, if there are more processes than images."""
    number, of = rank.number(), count()
    return slice(number * size // of, (number + 1) * size // of)


# -- numbers -----------------------------------------------------------------------------------------------------------


def gathered(value: Any) -> list[Any]:
    """Return the `value` of each process: what a checkpoint can hold, on the CPU."""
    if count() == 1:
        return [value]
    own = _packed(value)
    sizes = [torch.zeros(1, dtype=torch.long) for _ in range(count())]
    dist.all_gather(sizes, torch.tensor([len(own)]))
    longest = max(map(int, sizes))
    packed = [torch.empty(longest, dtype=torch.uint8) for _ in range(count())]
    dist.all_gather(packed, torch.cat([own, own.new_zeros(longest - len(own))]))
    return [_unpacked(one[: int(size)]) for one, size in zip(packed, sizes, strict=True)]


def added(value: Any) -> Any:
    """Return `value`, in whose dicts and lists all numbers and tensors are sums, added up over the processes."""
    return functools.reduce(plus, gathered(value))


def plus(one: Any, other: Any) -> Any:
    """Add what is in the same places; what only one of two dicts has, stays."""
    if isinstance(one, dict):
        both = {name: plus(one[name], other[name]) for name in one if name in other}
        return one | other | both
    if isinstance(one, list | tuple):
        return [plus(mine, theirs) for mine, theirs in zip(one, other, strict=True)]
    return one + other


def least(number: int) -> int:
    """Return the smallest of the processes' numbers."""
    return int(min(gathered(number)))


def from_first(make: Callable[[], Any]) -> Any:
    """Return what `make` returns in the first process, which alone calls it."""
    if count() == 1:
        return make()
    own = _packed(make()) if rank.is_first() else torch.empty(0, dtype=torch.uint8)
    size = torch.tensor([len(own)])
    dist.broadcast(size, 0)
    own = own if rank.is_first() else torch.empty(int(size), dtype=torch.uint8)
    dist.broadcast(own, 0)
    return _unpacked(own)


def wait_for_all() -> None:
    """Wait until all processes are here."""
    gathered(None)


def _packed(value: Any) -> Tensor:
    file = io.BytesIO()
    torch.save(value, file)
    return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)


def _unpacked(packed: Tensor) -> Any:
    return torch.load(io.BytesIO(packed.numpy().tobytes()), map_location="cpu", weights_only=True)


class Agreement:
    """A number on which the processes agree at every step: the largest that one of them had at the step before.

    What is found out at this step is sent while the next one is computed, so that nobody waits for it.
    """

    def __init__(self) -> None:
        self._sent: tuple[Tensor, Any] | None = None

    def largest(self, number: int) -> int:
        if count() == 1:
            return number
        before, tensor = self._sent, torch.tensor([number])
        self._sent = tensor, dist.all_reduce(tensor, dist.ReduceOp.MAX, async_op=True)
        if before is None:
            return 0
        before[1].wait()
        return int(before[0])

    def forget(self) -> None:
        """Drop what has been sent and not been read; all processes do so after the same step."""
        if self._sent is not None:
            self._sent[1].wait()
            self._sent = None
