"""The README and the help, as far as they can be wrong."""

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest

import setting
from exper import commands
from exper.core import paths
from tests.support.manager import exper

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", commands.names())
def test_every_command_is_in_the_readme_and_has_help_with_an_example(project: paths.Project, name: str) -> None:
    assert re.search(rf"`(exper )?{name}\b", README)
    shown = exper(project, name, "-h").stdout
    assert "Example" in shown
    assert commands.summary(name) in " ".join(shown.split())


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "code" / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_file_that_the_documentation_names_is_there() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    for page in [ROOT / "README.md", *(ROOT / "code" / "docs").rglob("*.md")]:
        for name in re.findall(r"\b[\w/]+\.(?:py|sh)\b", page.read_text()):
            wanted = re.escape(name.removeprefix("snapshot/"))
            assert re.search(rf"(^|/){wanted}$", tracked, re.M) or "yours" in name, f"{page.name}: {name}"


def test_the_table_of_settings_is_that_of_setting_py() -> None:
    page = (ROOT / "code" / "docs" / "reference" / "settings.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|(.*?)\|", page.partition("## All settings")[2].partition("\n## ")[0], re.M)
    found = {name: default.strip(" `") for name, default in rows}
    assert found == {field.name: _default(field) for field in dataclasses.fields(setting.Settings)}


def _default(field: "dataclasses.Field[object]") -> str:
    if field.default_factory is not dataclasses.MISSING:
        return repr(field.default_factory())
    return "" if field.default is dataclasses.MISSING else repr(field.default).replace("'", '"')
