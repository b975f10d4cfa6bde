"""A headless Chromium for tests of pages, driven by Playwright."""

import contextlib
import functools
import os
import shutil
import socket
import subprocess

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@functools.cache
def executable():
    """Path of a Chromium that starts, else None; ``BIRDLIB_BROWSER`` names one of your own."""
    for path in filter(None, [os.environ.get("BIRDLIB_BROWSER"), *map(shutil.which, NAMES)]):
        with contextlib.suppress(OSError):  # Ubuntu's chromium is a script that only names a snap
            if subprocess.run([path, "--version"], capture_output=True).returncode == 0:
                return path
    return None


def find():
    """Path of a Chromium that starts; the test is skipped where there is none."""
    if executable() is None:
        pytest.skip("no Chromium that starts: install one (apt-get install chromium), or set BIRDLIB_BROWSER to its path")
    return executable()


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
