"""What a commit must hold to be tagged and trained, and what it says of itself."""

import platform
from collections.abc import Mapping

from exper.config import config_file, logger_registry
from exper.core import host_info
from exper.core.errors import Refused
from exper.repository.repository import Repository, link_of
from exper.runs import run_record, tags

MAIN, CONFIG = "code/main.py", "code/config.py"
_SEED, _FORMAT, _REQUIREMENTS = "code/seed", "code/exper/FORMAT", "code/requirements.txt"


def check(repository: Repository, commit: str) -> dict[str, config_file.Value]:
    """Return the settings of a commit, after making sure that it can be copied, read and trained.

    Raises:
        Refused: it can't.
    """
    files = repository.files(commit)
    repository.check_lfs(files)
    if MAIN not in {file.path for file in files}:
        raise Refused(f"{MAIN} is not committed, so there is nothing to train.")
    for file in files:
        if file.is_link and file.path in (CONFIG, _SEED, _FORMAT, _REQUIREMENTS):
            raise link_of(file.path)
    written = _text(repository, commit, _FORMAT)
    if written.isdigit() and int(written) > run_record.FORMAT:
        raise Refused(f"the tagged code is of a newer Exper (format {written}). Update this project.")
    source = repository.file(commit, CONFIG)
    config = config_file.read(source) if source is not None else {}
    logger_registry.check(config.get("logger"))
    return config


def seed(repository: Repository, commit: str) -> int:
    """Return the seed that `-f` fixes."""
    text = _text(repository, commit, _SEED)
    number = tags.whole_number(text)
    if number is None:
        raise Refused(f"{_SEED} must be committed and hold one whole number from 0 to 2^63 - 1, not {text[:40]!r}.")
    return number


def requirements(repository: Repository, commit: str) -> set[str]:
    """Return the packages that the code asks for, in the spelling of `machine.versions`."""
    lines = [line.partition("#")[0].strip() for line in _text(repository, commit, _REQUIREMENTS).splitlines()]
    return {host_info.package_name(line) for line in lines if line and not line.startswith("-")}


def threads(config: Mapping[str, config_file.Value], default: int | None = None) -> int:
    """Return the thread count of a new run: the setting, else `default`, else this machine's."""
    wanted = config.get("threads")
    return wanted if type(wanted) is int else default or host_info.default_threads()


def trailers(seed: int, threads: int, changes: list[str]) -> list[tuple[str, object]]:
    """Return what a new tag records; with it alone, another machine can repeat run 0."""
    return [
        ("Exper-Format", run_record.FORMAT),
        ("Exper-Seed", seed),
        ("Exper-Threads", threads),
        ("Exper-Python", platform.python_version()),
        ("Exper-Torch", host_info.versions().get("torch", "none")),
        *(("Exper-Set", change) for change in changes),
    ]


def _text(repository: Repository, commit: str, path: str) -> str:
    return (repository.file(commit, path) or b"").decode(errors="replace").strip()
