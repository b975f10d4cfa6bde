"""A headless Chromium for tests of pages, driven by Playwright."""

import contextlib
import os
import shutil
import socket

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find():
    """Path of a Chromium; the test is skipped where there is none. ``BIRDLIB_BROWSER`` names one of your own."""
    path = os.environ.get("BIRDLIB_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium: install one (apt-get install chromium), or set BIRDLIB_BROWSER to its path")
    return path


@contextlib.contextmanager
def page(**context):
    """(page, list of errors that its console and its scripts report while it is open)."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path, errors = find(), []
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        opened = chromium.new_context(**context).new_page()
        opened.on("console", lambda message: errors.append(f"{message.text} {message.location}") if message.type == "error" else None)
        opened.on("pageerror", lambda error: errors.append(str(error)))
        yield opened, errors
        chromium.close()


def free_port():
    """A port of this machine that nothing uses now."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]
