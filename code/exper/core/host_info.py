"""The machine and the process, as a run records them; of the environment only the variables listed here."""

import os
import platform
import socket
from pathlib import Path

import psutil

from exper.core import packages

MAX_THREADS = 8
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Variables that explain a result and hold no secret.
_ENVIRONMENT = (
    *("CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "PYTORCH_CUDA_ALLOC_CONF"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_AFFINITY"),
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_CBWR", "OPENBLAS_CORETYPE"),
    *("PYTHONHASHSEED", "SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT"),
)


def host() -> str:
    """Return the host's name."""
    return socket.gethostname()


def boot_id() -> str:
    """Return the id of this boot of this kernel; containers on one kernel share it."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return f"{host()} {psutil.boot_time():.0f}"


def this_process() -> dict[str, object]:
    """Return the host, boot, pid and start time of this process, for `is_here` and `is_alive`."""
    pid = os.getpid()
    return {"host": host(), "boot_id": boot_id(), "pid": pid, "pid_started": started(pid)}


def is_here(record: dict[str, object]) -> bool:
    """Tell whether a recorded process was started on this kernel or, before a reboot, on this host."""
    return record.get("boot_id") == boot_id() or record.get("host") == host()


def started(pid: int) -> float | None:
    """Return the start time of a process in seconds since the epoch, None if there is none; it tells a reused pid."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def is_alive(pid: object, pid_started: object) -> bool:
    """Tell whether a recorded process of this boot still runs."""
    if not isinstance(pid, int) or not isinstance(pid_started, (int, float)):
        return False
    now = started(pid)
    return now is not None and abs(now - pid_started) < 2  # psutil adds a boot time, which may drift with the clock


def default_threads() -> int:
    """Return the number of physical cores that this process may use, at most 8; it does not depend on load."""
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    return max(1, min(cores, allowed, MAX_THREADS))


def versions() -> dict[str, str]:
    """Return the version of Python and of every installed package."""
    return {"python": platform.python_version()} | dict(sorted(packages.installed().items()))


def environment() -> dict[str, str]:
    """Return the environment variables that explain a result."""
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
