"""A browser for tests of pages: the chromium or chrome that is installed, without network; tests are skipped where there is none."""

import contextlib
import functools
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")


@dataclass
class Visit:
    """An open page: Playwright's ``page``, and what must stay empty: errors of the console and of scripts, requests that are no file."""

    page: object
    problems: list = field(default_factory=list)
    requests: list = field(default_factory=list)


@functools.cache
def find():
    """Path of a browser that starts (``BIRDLIB_BROWSER``, else the first that is installed), or None."""
    for path in filter(None, [os.environ.get("BIRDLIB_BROWSER"), *map(shutil.which, NAMES)]):
        with contextlib.suppress(OSError):  # Ubuntu's chromium may be a script that only names a snap
            if subprocess.run([path, "--version"], capture_output=True).returncode == 0:
                return path
    return None


@contextlib.contextmanager
def launch():
    """A headless browser for a module of tests; skips them, with the reason, where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -r requirements-dev.txt")
    path = find()
    if path is None:
        pytest.skip(f"no browser starts: install one of {', '.join(NAMES[:3])}, or set BIRDLIB_BROWSER to its path")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"])
        yield browser
        browser.close()


@contextlib.contextmanager
def visit(browser, path, width=1280, height=900, dark=False):
    """Open a file offline in a fresh window.

    Args:
        browser: from ``launch``.
        path: of the HTML file.
        dark: the system's preference of colours.

    Yields:
        a ``Visit``.
    """
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", offline=True)
    opened = Visit(context.new_page())
    opened.page.set_default_timeout(15_000)
    opened.page.on("console", lambda message: opened.problems.append(message.text) if message.type == "error" else None)
    opened.page.on("pageerror", lambda error: opened.problems.append(str(error)))
    opened.page.on("request", lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else opened.requests.append(request.url))
    opened.page.goto(path.resolve().as_uri())
    yield opened
    context.close()


def overflow_px(page):
    """By how many pixels the page is wider than the window; 0 for a page without horizontal scrolling."""
    return page.evaluate("Math.max(0, document.documentElement.scrollWidth - window.innerWidth)")


def holds(page, expression, seconds=15):
    """Whether an expression of JavaScript becomes true in time; ``wait_for_function`` asks by ``eval``, which a content security policy refuses."""
    end = time.monotonic() + seconds
    while not (found := page.evaluate(expression)) and time.monotonic() < end:
        page.wait_for_timeout(100)
    return found
