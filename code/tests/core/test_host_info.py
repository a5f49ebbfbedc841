"""Processes are found again, and told from others that got their pid."""

import os
import subprocess
import sys

import pytest

from exper.core import host_info


def test_a_process_is_alive_until_it_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        began = host_info.started(process.pid)
        assert began is not None
        assert host_info.is_alive(process.pid, began)
        assert not host_info.is_alive(process.pid, began - 60)  # another process had that pid
        process.communicate()
    assert not host_info.is_alive(process.pid, began)
    assert not host_info.is_alive("1", None)


def test_a_record_is_of_this_kernel_or_host() -> None:
    here = host_info.this_process()
    assert host_info.is_here(here)
    assert host_info.is_here(here | {"host": "a container"})
    assert host_info.is_here(here | {"boot_id": "before the reboot"})
    assert not host_info.is_here({"host": "elsewhere", "boot_id": "another"})


def test_threads_follow_the_cores_that_are_allowed_not_the_load() -> None:
    script = "from exper.core import host_info; print(host_info.default_threads())"
    allowed = {min(os.sched_getaffinity(0))}
    words = ["taskset", "--cpu-list", str(*allowed), sys.executable, "-c", script]
    done = subprocess.run(words, cwd=os.path.dirname(host_info.__file__) + "/../..", capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr


def test_only_listed_variables_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert host_info.environment()["OMP_NUM_THREADS"] == "3"
    assert "secret" not in host_info.environment().values()
