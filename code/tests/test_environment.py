"""The environment that a first command makes, from one tiny wheel; no network."""

import ast
import http.server
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exper import environment
from exper.core import paths

BASE_PYTHON = Path(getattr(sys, "_base_executable", sys.executable))
USERS_PATH = os.environ["PATH"]
PROBE = """\
import importlib.metadata, sys
def probe(arguments, project):
    print(sys.prefix, importlib.metadata.version("tiny-thing"), *arguments)
    return 7
"""


def make_wheel(folder: Path, version: str) -> None:
    folder.mkdir(exist_ok=True)
    about = f"tiny_thing-{version}.dist-info"
    with zipfile.ZipFile(folder / f"tiny_thing-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_thing.py", "")
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: tiny-thing\nVersion: {version}\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", f"tiny_thing.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that is pip's and uv's only source of packages."""
    folder = tmp_path / "wheels"
    make_wheel(folder, "1.2")
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    variables = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_RETRIES": "0",
        "UV_NO_CONFIG": "1",
        "UV_OFFLINE": "1",
        "UV_FIND_LINKS": str(folder),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def fresh(project: paths.Project, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> paths.Project:
    """Return a project that nobody has used, with no environment active and no uv."""
    (project.code / "requirements.txt").write_text("# floors\ntiny-thing>=1.2  # the smallest\n")
    (project.code / "exper" / "commands" / "probe.py").write_text(PROBE)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "python3").symlink_to(BASE_PYTHON)
    monkeypatch.delenv("VIRTUAL_ENV")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    if shutil.which("uv"):
        pytest.skip("uv is in a folder of the system: pip can't be tested")
    return project


def command(project: paths.Project, *words: str) -> list[str]:
    return ["bash", "--norc", "-c", '. "$0"; "$@"', f"{project.code}/source.sh", "exper", "probe", *words]


def type_command(project: paths.Project, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(project, *words), capture_output=True, text=True, stdin=subprocess.DEVNULL)


def leftovers(project: paths.Project) -> list[str]:
    return sorted(path.name for path in project.root.glob(".venv*") if path.name != ".venv.lock")


# -- making it ---------------------------------------------------------------------------------------------------------


def test_the_first_command_makes_it_and_the_second_is_silent(fresh: paths.Project) -> None:
    first = type_command(fresh, "a  b")
    assert (first.stdout, first.returncode) == (f"{fresh.root}/.venv 1.2 a  b\n", 7), first.stderr
    assert (
        f"making the Python environment {fresh.root}/.venv, once: 6 GB of disk, 9 GB until it is ready;" in first.stderr
    )
    assert "pip installs requirements.txt:" in first.stderr
    assert f"{fresh.root}/.venv is ready after" in first.stderr
    second = type_command(fresh, "c")
    assert (second.stdout, second.stderr) == (f"{fresh.root}/.venv 1.2 c\n", "")
    assert leftovers(fresh) == [".venv"]
    assert not (fresh.root / ".venv" / "exper-scratch").exists()


def test_uv_makes_it_and_is_not_needed_later(fresh: paths.Project, wheels: Path) -> None:
    uv = Path(sys.executable).parent / "uv"
    if not uv.exists():
        pytest.skip("uv IS NOT INSTALLED beside the tests' Python")
    Path(os.environ["PATH"].partition(":")[0], "uv").symlink_to(uv)
    result = type_command(fresh)
    assert (result.stdout, result.returncode) == (f"{fresh.root}/.venv 1.2\n", 7), result.stderr
    assert "uv installs requirements.txt:" in result.stderr
    assert type_command(fresh).stderr == ""
    (fresh.root / ".venv" / "kept").touch()
    make_wheel(wheels, "1.3")
    (fresh.code / "requirements.txt").write_text("tiny-thing>=1.3\n")
    assert type_command(fresh).stdout == f"{fresh.root}/.venv 1.3\n"
    Path(os.environ["PATH"].partition(":")[0], "uv").unlink()
    make_wheel(wheels, "1.4")
    (fresh.code / "requirements.txt").write_text("tiny-thing>=1.4\n")
    result = type_command(fresh)
    assert result.stdout == f"{fresh.root}/.venv 1.4\n"
    assert "pip installs requirements.txt:" in result.stderr
    assert (fresh.root / ".venv" / "kept").exists()


def test_a_constraint_decides_the_version(fresh: paths.Project, wheels: Path) -> None:
    make_wheel(wheels, "1.3")
    (fresh.code / "constraints.txt").write_text("tiny-thing==1.2\n")
    assert " 1.2" in type_command(fresh).stdout


def test_settings_of_pip_and_python_do_not_get_in_the_way(
    fresh: paths.Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fresh.root / "pip.py").write_text("raise SystemExit('shadowed')")
    for name, value in {"PIP_USER": "1", "PYTHONPATH": str(fresh.root), "PYTHONHOME": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(fresh.root)
    assert type_command(fresh).returncode == 7


def test_two_shells_make_it_once_and_both_work(fresh: paths.Project) -> None:
    both = [
        subprocess.Popen(command(fresh, str(i)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for i in range(2)
    ]
    answers = [process.communicate(timeout=240) for process in both]
    assert sorted(out for out, _ in answers) == [f"{fresh.root}/.venv 1.2 {i}\n" for i in range(2)], answers
    errors = "".join(err for _, err in answers)
    assert errors.count("making the Python environment") == 1
    assert errors.count(f"another process is making {fresh.root}/.venv; waiting for it") == 1


def test_no_passwd_entry_no_user_no_home(fresh: paths.Project, wheels: Path) -> None:
    nobody = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "--"]
    if os.geteuid() != 0 or subprocess.run([*nobody, "true"], check=False).returncode != 0:
        pytest.skip("only root can become a user that does not exist")
    pythons = [str(BASE_PYTHON), "/usr/bin/python3"]
    usable = [p for p in pythons if subprocess.run([*nobody, p, "-c", "import ensurepip"], check=False).returncode == 0]
    if not usable:
        pytest.skip("that user can't start any Python here")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(fresh.root, folder / "project")
        shutil.copytree(wheels, folder / "wheels")
        (folder / "programs").mkdir()
        (folder / "programs" / "python3").symlink_to(usable[0])
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, 12345, 12345, follow_symlinks=False)
        variables = {
            "PATH": f"{folder}/programs:/usr/bin:/bin",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": f"{folder}/wheels",
        }
        copy = paths.Project(folder / "project")
        result = subprocess.run(
            [*nobody, *command(copy)], cwd=copy.code, env=variables, capture_output=True, text=True, check=False
        )
        assert (result.stdout, result.returncode) == (f"{copy.root}/.venv 1.2\n", 7), result.stderr
        assert sorted(os.listdir(copy.code)) == sorted(os.listdir(fresh.code))  # no folder called ~


# -- the active environment --------------------------------------------------------------------------------------------


def test_the_active_environment_is_used_if_it_will_do(
    fresh: paths.Project, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = tmp_path / "active"
    subprocess.run([BASE_PYTHON, "-m", "venv", "--without-pip", active], check=True)
    packages = next((active / "lib").glob("python3*/site-packages"))
    zipfile.ZipFile(wheels / "tiny_thing-1.2-py3-none-any.whl").extractall(packages)
    monkeypatch.setenv("VIRTUAL_ENV", str(active))
    result = type_command(fresh)
    assert (result.stdout, result.stderr) == (f"{active} 1.2\n", "")
    assert leftovers(fresh) == []
    (fresh.code / "requirements.txt").write_text("tiny-thing>=1.10\n")
    make_wheel(wheels, "1.10")
    result = type_command(fresh)
    assert result.stdout == f"{fresh.root}/.venv 1.10\n"
    assert f"{active} lacks tiny-thing>=1.10\n" in result.stderr


# -- requirements that change ------------------------------------------------------------------------------------------


def test_changed_requirements_bring_it_up_to_date_in_place(fresh: paths.Project, wheels: Path) -> None:
    type_command(fresh)
    (fresh.root / ".venv" / "kept").touch()
    make_wheel(wheels, "1.3")
    (fresh.code / "requirements.txt").write_text("tiny-thing>=1.3\n")
    result = type_command(fresh)
    assert result.stdout == f"{fresh.root}/.venv 1.3\n", result.stderr
    assert "code/requirements.txt has changed" in result.stderr
    assert (fresh.root / ".venv" / "kept").exists()
    assert type_command(fresh).stderr == ""


def test_an_update_that_fails_keeps_what_was_there(fresh: paths.Project) -> None:
    type_command(fresh)
    before = (fresh.code / "requirements.txt").read_text()
    (fresh.code / "requirements.txt").write_text("tiny-thing>=9\n")
    result = type_command(fresh)
    assert result.returncode == 2
    assert result.stderr.endswith("it says why above. Mend that and type the command again.\n")
    (fresh.code / "requirements.txt").write_text(before)
    result = type_command(fresh)
    assert (result.stdout, result.stderr) == (f"{fresh.root}/.venv 1.2\n", "")


def test_a_requirement_only_the_tests_have_is_not_asked_of_users(fresh: paths.Project) -> None:
    (fresh.code / "exper" / "extras.txt").write_text("[dev]\nno-such-thing\n")
    assert type_command(fresh).returncode == 7


def test_a_python_that_is_gone_is_replaced(fresh: paths.Project) -> None:
    type_command(fresh)
    for name in ("python", "python3"):
        path = fresh.root / ".venv" / "bin" / name
        path.unlink()
        path.symlink_to("/nowhere/python3")
    assert type_command(fresh).stdout == f"{fresh.root}/.venv 1.2\n"


def test_a_python_of_another_version_is_noticed(fresh: paths.Project) -> None:
    type_command(fresh)
    library = next((fresh.root / ".venv" / "lib").glob("python3*"))
    library.rename(library.parent / "python3.7")
    result = type_command(fresh)
    assert result.stdout == f"{fresh.root}/.venv 1.2\n", result.stderr


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.fixture
def hanging_index() -> Iterator[str]:
    """Yield the address of a package index that never answers; pip is in the middle of its work then."""
    asked = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            time.sleep(60)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/simple"
    server.shutdown()
    server.server_close()


def start_and_wait_for_pip(project: paths.Project, index: str) -> "subprocess.Popen[str]":
    """Start a first command in its own process group; return while pip waits for the index."""
    variables = {**os.environ, "PIP_NO_INDEX": "0", "PIP_INDEX_URL": index}
    process = subprocess.Popen(
        command(project),
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr
    for line in process.stderr:
        if "pip installs" in line:
            break
    wait_until(lambda: bool(pids_of(f"{project.root}/.venv/bin/python")))
    return process


def pids_of(program: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == os.fsencode(program):
            found.append(int(path.parent.name))
    return found


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_no_network_is_said_and_the_next_try_starts_clean(
    fresh: paths.Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_RETRIES", "1")
    result = type_command(fresh)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1] == (
        "probe: pip can't reach its package index, see above. Mend the network or pip's settings"
        " and type the command again."
    )
    assert leftovers(fresh) == []


def test_killed_in_the_middle_the_next_try_starts_clean(fresh: paths.Project, hanging_index: str) -> None:
    process = start_and_wait_for_pip(fresh, hanging_index)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert (fresh.root / ".venv" / "exper-unfinished").exists()
    result = type_command(fresh)
    assert (result.stdout, result.returncode) == (f"{fresh.root}/.venv 1.2\n", 7), result.stderr
    assert leftovers(fresh) == [".venv"]


def test_pip_that_outlives_its_command_is_waited_for(fresh: paths.Project, hanging_index: str) -> None:
    process = start_and_wait_for_pip(fresh, hanging_index)
    pip = pids_of(f"{fresh.root}/.venv/bin/python")
    others = [int(pid) for pid in subprocess.getoutput(f"pgrep -g {process.pid}").split() if int(pid) not in pip]
    for pid in others:
        os.kill(pid, signal.SIGKILL)
    second = subprocess.Popen(command(fresh), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert second.stderr
    assert second.stdout
    assert "waiting for it" in second.stderr.readline()
    for pid in pip:
        os.kill(pid, signal.SIGKILL)
    out, err = second.communicate(timeout=240)
    process.communicate()
    assert out == f"{fresh.root}/.venv 1.2\n", err


def test_ctrl_c_leaves_nothing(fresh: paths.Project, hanging_index: str) -> None:
    process = start_and_wait_for_pip(fresh, hanging_index)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert "exper: stopped; what was made of it is removed\n" in err
    assert "Traceback" not in err.rpartition("exper:")[2]
    assert process.returncode in (130, -signal.SIGINT)
    assert leftovers(fresh) == []


def test_no_ensurepip_says_what_to_install(fresh: paths.Project, tmp_path: Path) -> None:
    """A copy of this Python without that module, as Debian's is without python3-venv."""
    minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = tmp_path / "bare" / "lib" / minor
    library.mkdir(parents=True)
    (tmp_path / "bare" / "bin").mkdir()
    for path in Path(sysconfig.get_path("stdlib")).iterdir():
        if path.name not in ("ensurepip", "site-packages", "dist-packages"):
            (library / path.name).symlink_to(path)
    bare = tmp_path / "bare" / "bin" / "python3"
    shutil.copy2(BASE_PYTHON.resolve(), bare)
    assert subprocess.run([bare, "-I", "-c", "import ensurepip"], capture_output=True, check=False).returncode == 1
    program = Path(os.environ["PATH"].partition(":")[0], "python3")
    program.unlink()
    program.symlink_to(bare)
    result = type_command(fresh)
    assert result.returncode == 2
    assert (
        f"can't make environments: it has no module ensurepip.\nOn Debian or Ubuntu type: apt install {minor}-venv"
        in (result.stderr)
    )
    assert leftovers(fresh) == []


def test_too_little_disk_is_said_before_anything_is_made(fresh: paths.Project, tmp_path: Path) -> None:
    inside = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c"]
    small = tmp_path / "small"
    small.mkdir()
    mount = 'mount -t tmpfs -o size=64m tmpfs "$0" && '
    if subprocess.run([*inside, f"{mount} true", small], capture_output=True, check=False).returncode != 0:
        pytest.skip("no right to mount a small disk here")
    text = mount + 'cp -a "$1/." "$0" && . "$0/code/source.sh" && { exper probe; echo "code $?"; ls -A "$0"; }'
    result = subprocess.run([*inside, text, small, fresh.root], capture_output=True, text=True, check=False)
    assert "code 2" in result.stdout
    assert ".venv\n" not in result.stdout
    assert f"the disk of {small}/.venv has 0.1 GB free, 9 GB are needed." in result.stderr


def test_a_folder_that_cannot_be_written_is_said(fresh: paths.Project) -> None:
    if os.geteuid() == 0:
        inside = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=12345", "--clear-groups", "--"]
    else:
        inside = []
        fresh.root.chmod(0o555)
    python = "/usr/bin/python3" if inside else str(BASE_PYTHON)
    folder = Path(tempfile.mkdtemp())
    try:
        shutil.copytree(fresh.root, folder / "project")
        folder.chmod(0o755)
        launch = folder / "project" / "code" / "exper"
        result = subprocess.run([*inside, python, "-I", launch, "probe"], capture_output=True, text=True, check=False)
    finally:
        fresh.root.chmod(0o755)
        shutil.rmtree(folder)
    assert result.returncode == 2, result.stderr
    assert "can't be made: [Errno 13] Permission denied" in result.stderr
    assert "or activate an environment that has code/requirements.txt" in result.stderr


def test_an_environment_of_the_user_is_never_changed(fresh: paths.Project) -> None:
    subprocess.run([BASE_PYTHON, "-m", "venv", "--without-pip", fresh.root / ".venv"], check=True)
    before = sorted((fresh.root / ".venv").rglob("*"))
    result = type_command(fresh)
    assert result.returncode == 2
    assert f"{fresh.root}/.venv is not made by Exper and lacks tiny-thing>=1.2. Type:" in result.stderr
    assert sorted((fresh.root / ".venv").rglob("*")) == before


def test_pins_are_named_only_where_there_are_some(fresh: paths.Project) -> None:
    subprocess.run([BASE_PYTHON, "-m", "venv", "--without-pip", fresh.root / ".venv"], check=True)
    assert " -c " not in type_command(fresh).stderr
    (fresh.code / "constraints.txt").touch()
    line = next(line for line in type_command(fresh).stderr.splitlines() if " pip install " in line)
    assert shlex.split(line)[-2:] == ["-c", f"{fresh.code}/constraints.txt"]


def test_a_link_to_a_larger_disk_is_followed(fresh: paths.Project, tmp_path: Path) -> None:
    (fresh.root / ".venv").symlink_to(tmp_path / "larger")
    assert type_command(fresh).stdout == f"{tmp_path}/larger 1.2\n"
    assert type_command(fresh).stderr == ""


# -- old versions of Python --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["__main__.py", "environment.py", "core/errors.py", "core/packages.py", "__init__.py"])
def test_python_3_8_can_read_what_it_needs_to_refuse(name: str) -> None:
    source = (Path(environment.__file__).parent / name).read_text()
    ast.parse(source, feature_version=(3, 8))


@pytest.mark.parametrize("old", ["python3.8", "python3.9"])
def test_an_old_python_says_which_is_needed(old: str, fresh: paths.Project) -> None:
    program = shutil.which(old, path=USERS_PATH)
    if not program or subprocess.run([program, "-c", ""], capture_output=True, check=False).returncode != 0:
        pytest.skip(f"there is no {old} here")
    result = subprocess.run(
        [program, "-I", fresh.code / "exper", "run", "x"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.startswith("run: Exper needs Python 3.10 or newer; this is 3.")
