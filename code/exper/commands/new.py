"""Make a new project in a new folder from the code that is committed here, with a first commit.

It gets the template and the manager, but not this project's results, history, tests, benchmarks and documentation.
Uncommitted changes are not copied. The folder must not exist, or be empty. It must not lie inside a git repository,
which would take it for a submodule without an address, unless that repository ignores it.

Examples:
    exper new ../faces
    exper new ../faces --example segmentation    with the config and the data of an example
"""

import contextlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from exper.core import files, paths
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import say
from exper.housekeeping import project_template
from exper.repository import client
from exper.repository.repository import Repository

_LONGEST = 200  # bytes


def new(arguments: list[str], project: paths.Project) -> int:
    """Check the folder, make the project in a temporary folder, and move it into place."""
    parser = Parser("exper new", __doc__)
    parser.add_argument("folder", help="the folder of the project, which gets its name")
    parser.add_argument("--example", choices=project_template.EXAMPLES, help="use the config of an example")
    options = parser.parse_args(arguments)
    repository = Repository(project.root)
    commit = repository.head()
    folder = _checked(options.folder, project)
    with _appearing(folder) as made:
        project_template.write(made, folder.name, repository, commit, options.example)
    changes = len(repository.changes())
    if changes:
        say(f"new: not copied, because not committed: {changes} change{'s' * (changes > 1)}")
    words = options.folder if not options.folder.startswith("-") else f"./{options.folder}"
    print(f"{folder} is a project with one commit. Type:\ncd {shlex.quote(words)} && . code/source.sh && run demo")
    return 0


def _checked(text: str, project: paths.Project) -> Path:
    """Return the folder as an absolute path.

    Raises:
        Refused: no project can be made there.
    """
    if not text or not text.isprintable():
        raise Refused(f"{text!r} can't be the name of a folder: it is empty or has invisible characters.")
    folder = Path(os.path.realpath(text))
    if len(os.fsencode(folder.name)) > _LONGEST:
        raise Refused(f"the name of a project has {_LONGEST} bytes at most: {folder.name[:40]}…")
    if os.path.lexists(folder) and not folder.is_dir():
        raise Refused(f"{text} is a file. Name a folder that does not exist yet.")
    if folder.is_dir() and any(folder.iterdir()):
        raise Refused(f"{text} is not empty. Name a folder that does not exist yet.")
    if not folder.parent.is_dir():
        raise Refused(f"there is no folder {folder.parent}. Type: mkdir -p {shlex.quote(str(folder.parent))}")
    top = project.root.resolve() if folder.is_relative_to(project.root.resolve()) else client.enclosing(folder)
    if top is not None:
        outside = shlex.quote(os.path.relpath(top.parent / folder.name))
        raise Refused(f"{text} is inside {top}, where git would take it for a submodule. Type: exper new {outside}")
    return folder


@contextlib.contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder` after the block, by one rename if there is no `folder`.

    Raises:
        Refused: it can't be written, or another program has made it meanwhile.
    """
    exists = folder.is_dir()  # and may be the working folder, or a mounted disk
    try:
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder if exists else folder.parent))
        try:
            made.chmod(0o777 & ~files.umask())
            yield made
            if exists:
                for path in made.iterdir():
                    os.rename(path, folder / path.name)
            else:
                os.rename(made, folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise Refused(f"{folder} can't be made: {error.strerror or error}.") from None
