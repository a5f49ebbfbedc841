"""A search that has ended, for the tests that read it."""

import pytest

from exper.core import paths
from tests.support import searching


@pytest.fixture
def searched(project: paths.Project, tmp_path_factory: pytest.TempPathFactory) -> paths.Project:
    """Return a project with a search that has ended."""
    return searching.copy_searched(project, tmp_path_factory)
