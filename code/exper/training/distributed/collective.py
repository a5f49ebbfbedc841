"""Collective operations of the processes that train together; in one process they do nothing.

Each function that sums, gathers, broadcasts or agrees must be called by all processes, in the same order.
"""

import functools
import io
import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from exper.training.distributed import rank


def count() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def wanted(config: dict[str, Any]) -> int:
    """Return the number of processes that config.py asks for on this machine; by default, one for each GPU.

    A wrong value counts as 1: the process that trains refuses it.
    """
    processes = config.get("processes")
    if processes is None:
        return max(1, torch.cuda.device_count()) if config.get("device") in ("auto", "cuda") else 1
    return processes if type(processes) is int and processes > 0 else 1


def threads(total: int, config: dict[str, Any], processes: int) -> int:
    """Return the threads of each of `processes` on this machine: config.py's, else an equal share of `total`."""
    return total if config.get("threads") is not None else max(1, total // processes)


def local_rank_and_count() -> tuple[int, int]:
    """Return this process's number among those of this machine, and their number."""
    if "EXPER_LAUNCHER" not in os.environ:
        return 0, 1
    return int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])


def join(device: torch.device) -> None:
    """Join the process group, if torchrun started this process."""
    if "EXPER_LAUNCHER" in os.environ and not dist.is_initialized():
        dist.init_process_group("gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl")


def leave() -> None:
    """Leave the process group after a normal end."""
    if dist.is_initialized():
        dist.destroy_process_group()


# -- gradients ---------------------------------------------------------------------------------------------------------


def average_gradients(weights: list[nn.Parameter]) -> None:
    """Leave the mean of all processes' gradients in the weights; a weight that none of them used keeps None."""
    if count() == 1:
        return
    is_used = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.uint8)
    dist.all_reduce(is_used, dist.ReduceOp.MAX)
    gradients = []
    for weight, used in zip(weights, is_used.tolist(), strict=True):
        if used:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            gradients.append(weight.grad)
    for same_type in _by_type(gradients):
        flat = _flat(same_type).div_(count())
        dist.all_reduce(flat)
        _copy_back(flat, same_type)


def align(*models: nn.Module) -> None:
    """Give all processes the buffers of the first: each has running means of its own in batch normalization."""
    if count() == 1:
        return
    for same_type in _by_type([buffer for model in models for buffer in model.buffers()]):
        flat = _flat(same_type)
        dist.broadcast(flat, 0)
        _copy_back(flat, same_type)


def _by_type(tensors: list[Tensor]) -> list[list[Tensor]]:
    """Return groups of tensors that fit into one flat tensor, in the same order in all processes."""
    groups: dict[Any, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    return list(groups.values())


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _copy_back(flat: Tensor, tensors: list[Tensor]) -> None:
    for tensor, values in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(values.view_as(tensor))


# -- slices of a batch -------------------------------------------------------------------------------------------------


def own_slice(size: int) -> slice:
    """Return this process's slice of a batch of `size`; it can be empty if there are more processes than images."""
    number = rank.number()
    return slice(number * size // count(), (number + 1) * size // count())


# -- numbers -----------------------------------------------------------------------------------------------------------


def gathered(value: Any) -> list[Any]:
    """Return the `value` of each process, on the CPU; it may hold whatever a checkpoint can hold."""
    if count() == 1:
        return [value]
    own = _packed(value)
    sizes = [torch.zeros(1, dtype=torch.long) for _ in range(count())]
    dist.all_gather(sizes, torch.tensor([len(own)]))
    longest = max(map(int, sizes))
    packed = [torch.empty(longest, dtype=torch.uint8) for _ in range(count())]
    dist.all_gather(packed, torch.cat([own, own.new_zeros(longest - len(own))]))
    return [_unpacked(bytes_[: int(size)]) for bytes_, size in zip(packed, sizes, strict=True)]


def added(value: Any) -> Any:
    """Return the sum of the processes' `value`: dicts and lists of numbers and tensors."""
    return functools.reduce(plus, gathered(value))


def plus(left: Any, right: Any) -> Any:
    """Add two nests of dicts and lists, item by item; a key that only one of two dicts has stays."""
    if isinstance(left, dict):
        sums = {name: plus(left[name], right[name]) for name in left if name in right}
        return left | right | sums
    if isinstance(left, list | tuple):
        return [plus(*pair) for pair in zip(left, right, strict=True)]
    return left + right


def least(number: int) -> int:
    """Return the smallest of the processes' numbers."""
    return int(min(gathered(number)))


def from_first(make: Callable[[], Any]) -> Any:
    """Return the first process's `make()`; no other process calls it."""
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
    """The largest number of all processes, one step late: it is sent while the next step is computed."""

    def __init__(self) -> None:
        self._sent: tuple[Tensor, Any] | None = None

    def largest(self, number: int) -> int:
        if count() == 1:
            return number
        before = self._sent
        largest = torch.tensor([number])
        self._sent = (largest, dist.all_reduce(largest, dist.ReduceOp.MAX, async_op=True))
        if before is None:
            return 0
        largest, work = before
        work.wait()
        return int(largest)

    def forget(self) -> None:
        """Drop a number that was sent and not read; all processes do so after the same step."""
        if self._sent is not None:
            self._sent[1].wait()
            self._sent = None
