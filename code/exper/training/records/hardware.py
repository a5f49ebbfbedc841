"""The load of the machine while it trains: CPU, memory, disk, network and GPUs, sampled by a thread.

The thread draws no random number and starts with training, so that only data workers are forked while it runs.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import psutil

from exper.core import files, paths
from exper.core.errors import Refused

Numbers = dict[str, float]
_GB = 1e9
_MB = 1e6
_LAUNCHER = "EXPER_LAUNCHER"


class Hardware:
    """Sample every few seconds, append a line to hardware.jsonl, and keep the peaks of all sessions."""

    def __init__(self, run: paths.Run, every_seconds: float, gpus: list[str], step: Callable[[], int]) -> None:
        """Read the peaks of earlier sessions.

        Args:
            run: the run whose hardware.jsonl gets the lines.
            every_seconds: between two samples.
            gpus: the UUIDs of the GPUs that train.
            step: returns the current step of training.
        """
        self._run = run
        self._every_seconds = every_seconds
        self._gpus = gpus
        self._step = step
        self.peak: Numbers = {}
        self._is_closed = threading.Event()
        self._has_sampled = False
        self._thread: threading.Thread | None = None
        try:
            for line in files.read_lines(run.hardware):
                self._count(line)
        except (Refused, OSError) as error:
            print(f"peaks are those of this session: {error}")

    def begin(self, show: Callable[[int, Numbers], None]) -> None:
        """Start the thread; `show` is also called with each step and its numbers."""
        self._thread = threading.Thread(target=self._work, args=(show,), name="hardware", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return self._is_closed.is_set()

    def close(self) -> None:
        """Take a last sample, and end the thread."""
        self._is_closed.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self, show: Callable[[int, Numbers], None]) -> None:
        try:
            meter = Meter(self._gpus)
            with files.open_to_append(self._run.hardware) as file:
                while not self._is_closed.wait(self._every_seconds):
                    self._sample(meter, file, show)
                # Soon after another sample the CPU has counted few ticks; but a short run needs one sample, too.
                if not self._has_sampled or meter.seconds() > self._every_seconds / 2:
                    self._sample(meter, file, show)
        except (OSError, psutil.Error) as error:
            print(f"no hardware.jsonl from here on: {error}")

    def _sample(self, meter: "Meter", file: IO[bytes], show: Callable[[int, Numbers], None]) -> None:
        step = self._step()
        numbers = meter.sample()
        line = {"time": round(time.time(), 3), "step": step} | numbers
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()
        self._has_sampled = True
        self._count(line)
        show(step, numbers)

    def _count(self, line: dict[str, Any]) -> None:
        values = {name: value for name, value in line.items() if "/" in name}
        # A new dict, because the other thread may be writing the old one to a file.
        self.peak = self.peak | {name: max(value, self.peak.get(name, value)) for name, value in values.items()}


class Meter:
    """Measures the machine and its training processes: this process, or with several the launcher and its children."""

    def __init__(self, gpus: list[str]) -> None:
        """Start to count; `gpus` are UUIDs."""
        self._root = psutil.Process(int(os.environ.get(_LAUNCHER, os.getpid())))
        self._gpus = _handles(gpus)
        psutil.cpu_percent()
        self._time = time.monotonic()
        self._counters = _counters(_tree(self._root))

    def seconds(self) -> float:
        """Return the time since the last sample."""
        return time.monotonic() - self._time

    def sample(self) -> Numbers:
        """Return the numbers since the last sample, rounded to three decimals."""
        processes = _tree(self._root)
        now = time.monotonic()
        counters = _counters(processes)
        seconds = max(now - self._time, 1e-3)
        rates = {name: max(0.0, value - self._counters.get(name, value)) / seconds for name, value in counters.items()}
        self._time = now
        self._counters = counters
        memory = psutil.virtual_memory()
        numbers = {
            "training/cpu_cores": rates.pop("training/cpu_cores"),
            "training/memory_gb": sum(map(_memory, processes)) / _GB,
            "machine/cpu_percent": psutil.cpu_percent(),
            "machine/memory_percent": memory.percent,
            "machine/memory_gb": (memory.total - memory.available) / _GB,
        }
        numbers |= rates
        for number, handle in enumerate(self._gpus):
            numbers |= {f"gpu{number}/{name}": value for name, value in _gpu_numbers(handle).items()}
        return {name: round(value, 3) for name, value in numbers.items()}


def _tree(root: psutil.Process) -> list[psutil.Process]:
    """Return a process and its descendants. For that psutil would read every process of the machine."""
    if not os.path.exists(f"/proc/{root.pid}/task/{root.pid}/children"):
        return [root, *root.children(recursive=True)]
    pids = [root.pid]
    for pid in pids:
        pids += _children(pid)
    descendants = []
    for pid in pids[1:]:
        with contextlib.suppress(psutil.Error):
            descendants.append(psutil.Process(pid))
    return [root, *descendants]


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):  # the process has ended
        for thread in os.listdir(f"/proc/{pid}/task"):
            children += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return children


def _counters(processes: list[psutil.Process]) -> Numbers:
    """Return the counters that only grow: CPU seconds of the processes, and megabytes in and out of the machine."""
    counters = {"training/cpu_cores": sum(map(_cpu_seconds, processes))}
    disk = psutil.disk_io_counters()  # None in some containers
    if disk is not None:
        counters["disk/read_mb_per_second"] = disk.read_bytes / _MB
        counters["disk/write_mb_per_second"] = disk.write_bytes / _MB
    cards = [card for name, card in psutil.net_io_counters(pernic=True).items() if name != "lo"]
    counters["network/received_mb_per_second"] = sum(card.bytes_recv for card in cards) / _MB
    counters["network/sent_mb_per_second"] = sum(card.bytes_sent for card in cards) / _MB
    return counters


def _cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process and of its children that have ended."""
    with contextlib.suppress(psutil.Error):
        return sum(process.cpu_times()[:4])
    return 0.0


def _memory(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _handles(gpus: list[str]) -> list[Any]:
    """Return NVML's handles of these GPUs; none, after printing the reason, if NVML can't be used."""
    if not gpus:
        return []
    try:
        import pynvml

        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByUUID(gpu) for gpu in gpus]
    except Exception as error:  # of the import, or NVML's own
        print(f"hardware.jsonl has no GPU: {error}")
        return []


def _gpu_numbers(handle: Any) -> Numbers:
    """Return NVML's numbers of a GPU; some GPUs report no power or temperature, and a MIG slice no utilization."""
    import pynvml

    def memory() -> Numbers:
        info = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return {"memory_percent": 100 * info.used / info.total, "memory_gb": info.used / _GB}

    queries: list[Callable[[], Numbers]] = [
        lambda: {"percent": pynvml.nvmlDeviceGetUtilizationRates(handle).gpu},
        memory,
        lambda: {"watts": pynvml.nvmlDeviceGetPowerUsage(handle) / 1000},
        lambda: {"celsius": pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)},
    ]
    numbers: Numbers = {}
    for query in queries:
        with contextlib.suppress(pynvml.NVMLError):
            numbers |= query()
    return numbers
