"""A real headless Chromium that opens pages of ours and keeps pictures of them in the folder $ARTIFACTS."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_FLAGS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update")
PROGRAM = shutil.which("chromium")
needed = pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed: nothing has looked at the page")


@contextlib.contextmanager
def opened(path: Path, **options: Any) -> Iterator[Any]:
    """Yield the page of a file; fail if it requests anything else, opens a dialog or reports an error."""
    from playwright.sync_api import sync_playwright

    seen: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=PROGRAM, args=[*_FLAGS, "--disable-sync", "--no-first-run"]
        )
        page: Any = browser.new_context(**options).new_page()
        page.on("request", lambda request: seen.append(request.url))
        page.on("dialog", lambda dialog: [seen.append(f"a dialog: {dialog.message}"), dialog.dismiss()])  # type: ignore
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("console", lambda message: seen.append(message.text))
        page.goto(path.as_uri())
        yield page
        assert seen == [path.as_uri()]
        browser.close()


def keep_picture(page: Any, name: str) -> None:
    """Keep a picture of the whole page."""
    folder = os.environ.get("ARTIFACTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
