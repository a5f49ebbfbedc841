"""README, docs and help: whatever in them can be checked against the code."""

import ast
import dataclasses
import functools
import re
import subprocess
from pathlib import Path

import pytest

import setting
from exper import commands
from exper.core import paths
from tests.support.manager import exper

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "code" / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def _links(page: Path) -> list[str]:
    return [target for target in _LINK.findall(_CODE_BLOCK.sub("", page.read_text())) if "://" not in target]


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", _CODE_BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _section(page: Path, heading: str) -> str:
    """Return the text below a heading, up to the next one of any level."""
    match = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", page.read_text(), re.DOTALL | re.MULTILINE)
    assert match, f"{page.name} has no section {heading!r}"
    return match[1]


@pytest.mark.parametrize("name", commands.names())
def test_every_command_has_help_with_an_example_and_is_documented_with_all_options(name: str) -> None:
    shown = exper(paths.Project(ROOT), name, "-h").stdout
    assert "Example" in shown
    assert commands.summary(name) in " ".join(shown.split())
    assert re.search(rf"\b{name}\b", PAGES[0].read_text()), "README.md does not name it"
    section = _section(DOCS / "reference" / "commands.md", name)
    options = set(re.findall(r"(?<=[\[| ])--?[a-z-]+", shown.partition("\n\n")[0]))
    missing = {option for option in options - {"-h"} if not re.search(rf"(?<![\w-]){option}(?![\w-])", section)}
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading_of_it(page: Path) -> None:
    for target in _links(page):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in _anchors(path), target


def test_every_page_is_linked_from_the_index_and_every_picture_is_shown() -> None:
    linked = {(page.parent / target.partition("#")[0]).resolve() for page in PAGES for target in _links(page)}
    index = {(DOCS / target).resolve() for target in _links(DOCS / "README.md")}
    assert {*PAGES} - {DOCS / "README.md"} <= index
    assert {*(DOCS / "images").iterdir()} <= linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    text = page.read_text()
    for name in re.findall(r"(?<![\w/.])(?:code|exper)/[\w./-]*\w", text):
        path = name if name.startswith("code/") else f"code/{name}"
        assert (ROOT / path).exists() or "yours" in name, name
    for name in re.findall(r"(?<![\w*])[\w/]*\w\.(?:py|sh)\b", text):
        wanted = name.lstrip("/").removeprefix("snapshot/")
        assert any(f"/{path}".endswith(f"/{wanted}") for path in tracked) or "yours" in name, name


@functools.cache
def _members() -> dict[str, set[str]]:
    """Return the methods and attributes of the classes that training and the template have, by the class's name."""
    members: dict[str, set[str]] = {}
    for path in [*(ROOT / "code").glob("*.py"), *(ROOT / "code" / "exper" / "training").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                own = members.setdefault(node.name, set())
                own |= {child.name for child in ast.walk(node) if isinstance(child, ast.FunctionDef)}
                own |= {child.attr for child in ast.walk(node) if isinstance(child, ast.Attribute)}
    return members


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_method_of_a_class_that_a_page_names_exists(page: Path) -> None:
    for owner, name in re.findall(r"(?<![\w.])(\w+)\.(\w+)", page.read_text()):
        class_name = {"state": "State", "session": "Session"}.get(owner, owner)
        if name not in ("py", "json", "md"):
            assert name in _members().get(class_name, {name}), f"{owner}.{name}"


def test_the_table_of_settings_is_that_of_setting_py() -> None:
    page = DOCS / "reference" / "settings.md"
    rows = re.findall(r"^\| `(\w+)` \|(.*?)\|", _section(page, "All settings"), re.MULTILINE)
    documented = {name: default.strip(" `") for name, default in rows}
    assert documented == {field.name: _default(field) for field in dataclasses.fields(setting.Settings)}


def _default(field: "dataclasses.Field[object]") -> str:
    if field.default_factory is not dataclasses.MISSING:
        return repr(field.default_factory())
    return "" if field.default is dataclasses.MISSING else repr(field.default).replace("'", '"')
