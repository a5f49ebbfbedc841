import os
import platform
from collections.abc import Iterator

import pytest
import torch

from exper.core.errors import Refused
from exper.training.distributed import device


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    if torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(False)


def rank(monkeypatch: pytest.MonkeyPatch, number: int, count: int) -> None:
    """Make this process one of several on this machine."""
    variables = {"EXPER_LAUNCHER": os.getpid(), "RANK": number, "LOCAL_RANK": number, "LOCAL_WORLD_SIZE": count}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cpu:0", ""])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="write auto, cpu, cuda or cuda:<n>"):
        device.prepare(name, 1, deterministic=False)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(Refused, match="torch sees 2 GPUs"):
        device.prepare("cuda:2", 1, deterministic=False)


@pytest.mark.parametrize(("name", "count"), [("cuda:1", 2), ("auto", 3)])
def test_several_processes_need_a_gpu_each(name: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    rank(monkeypatch, 1, count)
    with pytest.raises(Refused, match=f"processes = {count}, device = '{name}': torch sees 2 GPUs"):
        device.prepare(name, 1, deterministic=False)


def test_each_process_gets_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    rank(monkeypatch, 1, 2)
    assert device.prepare("auto", 1, deterministic=False) == torch.device("cuda:1")
    assert current == [1]


def test_threads_and_determinism_are_set_and_recorded() -> None:
    cpu = device.prepare("cpu", 1, deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    recorded = device.describe(cpu, deterministic=True)
    assert (recorded["threads"], recorded["processes"], recorded["deterministic"]) == (1, 1, True)
    assert recorded["name"]
    assert recorded["cpu_capability"] == torch.backends.cpu.get_cpu_capability()


def test_on_a_cpu_the_bits_are_promised_without_the_setting() -> None:
    cpu = device.prepare("cpu", 1, deterministic=False)
    assert device.describe(cpu, deterministic=False)["deterministic"]
    assert device.gpus(cpu) == []


@pytest.mark.skipif(platform.system() != "Linux", reason="only Linux has /proc/cpuinfo")
def test_the_cpu_has_the_name_that_linux_gives_it() -> None:
    with open("/proc/cpuinfo") as file:
        names = {line.partition(":")[2].strip() for line in file if line.startswith("model name")}
    assert not names or device.describe(torch.device("cpu"), deterministic=False)["name"] in names
