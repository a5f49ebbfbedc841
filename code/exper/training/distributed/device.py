"""The hardware that trains, and those of its properties that the numbers depend on."""

import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

from exper.core.errors import Refused
from exper.training.distributed import collective


def prepare(name: str, threads: int, deterministic: bool) -> torch.device:
    """Set threads and determinism; return the device that "auto", "cpu", "cuda" or "cuda:<n>" stands for.

    With several processes each gets its own GPU.
    """
    gpus = torch.cuda.device_count()
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", name)
    if match is None:
        raise Refused(f"device = {name!r}: write auto, cpu, cuda or cuda:<n>.")
    if name.startswith("cuda") and int(match[1] or 0) >= gpus:
        raise Refused(f'device = {name!r}: torch sees {gpus} GPUs. Set device = "auto" or "cpu".')
    number, count = collective.local_rank_and_count()
    is_cuda = name != "cpu" and gpus > 0
    if count > 1 and is_cuda and (match[1] or count > gpus):
        raise Refused(f'processes = {count}, device = {name!r}: torch sees {gpus} GPUs. Set device = "auto", or "cpu".')
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)
    if is_cuda and count > 1:
        torch.cuda.set_device(number)  # nccl and others use the current device, which would be the first for all
    return torch.device(f"cuda:{match[1] or number}" if is_cuda else "cpu")


def gpus(device: torch.device) -> list[str]:
    """Return the UUIDs of the GPUs of all processes that train on this machine."""
    if device.type != "cuda":
        return []
    _, count = collective.local_rank_and_count()
    numbers = range(count) if count > 1 else [device.index]
    return [f"GPU-{getattr(torch.cuda.get_device_properties(number), 'uuid', '')}" for number in numbers]


def describe(device: torch.device, deterministic: bool) -> dict[str, Any]:
    """Return statistic.json's `device`; False under `deterministic` says that the same bits are not promised."""
    is_cuda = device.type == "cuda"
    return {
        "name": torch.cuda.get_device_name(device) if is_cuda else _cpu_name(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "processes": collective.count(),
        "deterministic": deterministic or not is_cuda,
    }


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    match = re.search(r"(?m)^model name\s*:\s*(.+)$", cpuinfo.read_text() if cpuinfo.exists() else "")
    return match[1] if match else platform.processor()
