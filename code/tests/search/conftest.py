"""One project and one server of warm starts for all tests of the folder."""

import os
from collections.abc import Iterator

import pytest

from exper.search.server import Server
from tests.conftest import isolate
from tests.support.laboratory import THREADS, Laboratory

PACKAGE = "of_the_user"  # on PYTHONPATH


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    """Return a project with the template; `environment` has the variables that all tests of warm starts use."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "packages" / PACKAGE).mkdir(parents=True)
    (folder / "packages" / PACKAGE / "__init__.py").write_text("VALUE = 1\n")
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder / "home")
        patch.setenv("PYTHONPATH", str(folder / "packages"))
        return Laboratory(folder / "it's a próject")


@pytest.fixture
def same_environment(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a test the environment in which the server was started."""
    _set_environment(laboratory, monkeypatch)


@pytest.fixture(scope="session")
def server(laboratory: Laboratory) -> Iterator[Server]:
    """Yield the one server of most tests."""
    server = Server(laboratory.project, THREADS)
    with pytest.MonkeyPatch.context() as patch:
        _set_environment(laboratory, patch)
        server.__enter__()
    try:
        yield server
    finally:
        server.__exit__(None, None, None)


def _set_environment(laboratory: Laboratory, patch: pytest.MonkeyPatch) -> None:
    for name in os.environ.keys() - laboratory.environment.keys():
        patch.delenv(name)
    for name, value in laboratory.environment.items():
        patch.setenv(name, value)
