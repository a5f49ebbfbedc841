"""The hardware that trains, and what of it the numbers depend on."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

from exper.error import Refused


def check(name: str, processes: int | None) -> None:
    """Refuse a device that is not here.

    Args:
        name: "auto" (the first GPU if there is one), "cpu", "cuda" or "cuda:<n>".
        processes: processes that train together; more than one is said to be coming.
    """
    kind, _, index = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (index and not (kind == "cuda" and index.isdecimal())):
        raise Refused(f"device = {name!r}: write auto, cpu, cuda or cuda:<n>.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise Refused(f'device = {name!r}: torch sees {torch.cuda.device_count()} GPUs. Set device = "auto" or "cpu".')
    if processes is not None and processes < 1:
        raise Refused(f"processes = {processes}: write None or a whole number above 0.")


def prepare(name: str, processes: int | None, threads: int | None, deterministic: bool) -> torch.device:
    """Set threads and determinism, and return the device to train on."""
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.use_deterministic_algorithms(deterministic)
    if threads is not None:
        torch.set_num_threads(threads)
    if (processes or 1) > 1:
        print(f"processes = {processes}: several come with torchrun; this run uses one")
    if name == "auto" and torch.cuda.device_count() > 1:
        print(f"{torch.cuda.device_count()} GPUs are visible; this run uses the first")
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    return torch.device("cuda:0" if name == "cuda" else name)


def describe(device: torch.device, deterministic: bool) -> dict[str, Any]:
    """Return the `device` section of statistic.json; False under `deterministic` says that bits are not promised."""
    is_cuda = device.type == "cuda"
    return {
        "name": torch.cuda.get_device_name(device) if is_cuda else _cpu_name(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "processes": 1,
        "deterministic": deterministic or not is_cuda,
    }


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
