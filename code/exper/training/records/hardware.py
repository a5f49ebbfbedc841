"""What training does with the machine: CPU, memory, disk, network and GPUs, looked at every few seconds by a thread.

It draws nothing, and the thread begins with training: nothing is forked with it but workers that read data.
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
_GB, _MB = 1e9, 1e6
_LAUNCHER = "EXPER_LAUNCHER"


class Hardware:
    """Look every few seconds, append a line to hardware.jsonl, and remember the largest values of all sessions."""

    def __init__(self, run: paths.Run, every_seconds: float, gpus: list[str], step: Callable[[], int]) -> None:
        """Read what earlier sessions have seen.

        Args:
            run: where the lines go.
            every_seconds: between two looks.
            gpus: those that train, by UUID.
            step: returns the step that training is at.
        """
        self._run, self._every_seconds, self._gpus, self._step = run, every_seconds, gpus, step
        self.peak: Numbers = {}
        self._is_closed, self._has_looked = threading.Event(), False
        self._thread: threading.Thread | None = None
        try:
            for line in files.read_lines(run.hardware):
                self._count(line)
        except (Refused, OSError) as error:
            print(f"peaks are those of this session: {error}")

    def begin(self, show: Callable[[int, Numbers], None]) -> None:
        """Start the thread; `show` gets each step and its numbers as well."""
        self._thread = threading.Thread(target=self._work, args=(show,), name="hardware", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return self._is_closed.is_set()

    def close(self) -> None:
        """Look a last time, and end."""
        self._is_closed.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self, show: Callable[[int, Numbers], None]) -> None:
        try:
            meter = Meter(self._gpus)
            with files.open_to_append(self._run.hardware) as file:
                while not self._is_closed.wait(self._every_seconds):
                    self._look(meter, file, show)
                # A look soon after another would count few ticks of the CPU; but a short run is to have one, too.
                if not self._has_looked or meter.seconds() > self._every_seconds / 2:
                    self._look(meter, file, show)
        except (OSError, psutil.Error) as error:
            print(f"no hardware.jsonl from here on: {error}")

    def _look(self, meter: "Meter", file: IO[bytes], show: Callable[[int, Numbers], None]) -> None:
        step, numbers = self._step(), meter.look()
        line = {"time": round(time.time(), 3), "step": step} | numbers
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()
        self._has_looked = True
        self._count(line)
        show(step, numbers)

    def _count(self, line: dict[str, Any]) -> None:
        values = {name: value for name, value in line.items() if "/" in name}
        # A new dict: the other thread may be writing the old one.
        self.peak = self.peak | {name: max(value, self.peak.get(name, value)) for name, value in values.items()}


class Meter:
    """Numbers of the processes that train (this one, or with several the one that started them) and of the machine."""

    def __init__(self, gpus: list[str]) -> None:
        """Begin to count; `gpus` are UUIDs."""
        self._root = psutil.Process(int(os.environ.get(_LAUNCHER, os.getpid())))
        self._gpus = _handles(gpus)
        psutil.cpu_percent()
        self._time, self._counted = time.monotonic(), _counted(_tree(self._root))

    def seconds(self) -> float:
        """Return how long ago the last look was."""
        return time.monotonic() - self._time

    def look(self) -> Numbers:
        """Return the numbers since the last look, to three digits behind the point."""
        processes = _tree(self._root)
        now, counted = time.monotonic(), _counted(processes)
        seconds = max(now - self._time, 1e-3)
        rates = {name: max(0.0, value - self._counted.get(name, value)) / seconds for name, value in counted.items()}
        self._time, self._counted = now, counted
        memory = psutil.virtual_memory()
        found = {
            "training/cpu_cores": rates.pop("training/cpu_cores"),
            "training/memory_gb": sum(map(_memory, processes)) / _GB,
            "machine/cpu_percent": psutil.cpu_percent(),
            "machine/memory_percent": memory.percent,
            "machine/memory_gb": (memory.total - memory.available) / _GB,
        }
        found |= rates
        for number, handle in enumerate(self._gpus):
            found |= {f"gpu{number}/{name}": value for name, value in _of_gpu(handle).items()}
        return {name: round(value, 3) for name, value in found.items()}


def _tree(root: psutil.Process) -> list[psutil.Process]:
    """Return a process and all that come from it. psutil would read about every process of the machine for that."""
    if not os.path.exists(f"/proc/{root.pid}/task/{root.pid}/children"):
        return [root, *root.children(recursive=True)]
    pids = [root.pid]
    for pid in pids:
        pids += _children(pid)
    found = []
    for pid in pids[1:]:
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(pid))
    return [root, *found]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):  # it has ended
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found


def _counted(processes: list[psutil.Process]) -> Numbers:
    """Return what only grows: seconds of the CPU that processes had, and megabytes in and out of the machine."""
    found = {"training/cpu_cores": sum(map(_seconds, processes))}
    disk = psutil.disk_io_counters()  # none in some containers
    if disk is not None:
        found |= {"disk/read_mb_per_second": disk.read_bytes / _MB, "disk/write_mb_per_second": disk.write_bytes / _MB}
    cards = [card for name, card in psutil.net_io_counters(pernic=True).items() if name != "lo"]
    found["network/received_mb_per_second"] = sum(card.bytes_recv for card in cards) / _MB
    found["network/sent_mb_per_second"] = sum(card.bytes_sent for card in cards) / _MB
    return found


def _seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process and of its children that have ended."""
    with contextlib.suppress(psutil.Error):
        return sum(process.cpu_times()[:4])
    return 0.0


def _memory(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _handles(gpus: list[str]) -> list[Any]:
    """Return what NVML calls these GPUs; none, and a line that says why, where it can't be asked."""
    if not gpus:
        return []
    try:
        import pynvml

        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByUUID(gpu) for gpu in gpus]
    except Exception as error:  # of the import, or NVML's own
        print(f"hardware.jsonl has no GPU: {error}")
        return []


def _of_gpu(handle: Any) -> Numbers:
    """Return what NVML tells of a GPU; some know no power or temperature, and a part of one no use."""
    import pynvml

    def memory() -> Numbers:
        about = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return {"memory_percent": 100 * about.used / about.total, "memory_gb": about.used / _GB}

    asked: list[Callable[[], Numbers]] = [
        lambda: {"percent": pynvml.nvmlDeviceGetUtilizationRates(handle).gpu},
        memory,
        lambda: {"watts": pynvml.nvmlDeviceGetPowerUsage(handle) / 1000},
        lambda: {"celsius": pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)},
    ]
    found: Numbers = {}
    for ask in asked:
        with contextlib.suppress(pynvml.NVMLError):
            found |= ask()
    return found
