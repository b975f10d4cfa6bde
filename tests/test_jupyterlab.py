"""Notebook 01 in the browser, as people open it: JupyterLab and Notebook 7. Slow: half a minute."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import browser
import nbformat
import pytest

from birdlib import runtime
from birdlib.data.synthetic import sample
from birdlib.reports import page as pages

pytestmark = pytest.mark.slow
NOTEBOOK = "notebooks/01_split.ipynb"
PAGES = {"JupyterLab": f"lab/tree/{NOTEBOOK}", "Notebook 7": NOTEBOOK.replace("notebooks/", "notebooks/notebooks/", 1)}
CODE_CELLS = "(window.jupyterapp?.shell.currentWidget?.content?.widgets ?? []).map(cell => cell.model).filter(model => model.type === 'code')"
KERNEL_IS_IDLE = "window.jupyterapp?.shell.currentWidget?.context?.sessionContext?.session?.kernel?.status === 'idle'"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy of what a clone has, with the sample already made."""
    folder = tmp_path_factory.mktemp("jupyter") / "birdlib"
    for name in ("birdlib", "notebooks"):
        shutil.copytree(runtime.repository() / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    shutil.copytree(sample.ensure(), folder / "data" / "sample")
    return folder


@pytest.fixture
def server(repository):
    """Address of a Jupyter server in the repository; it shows no news and asks for no token."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "BIRDLIB_ROOT", "PYTHONPATH"))}
    places = {f"JUPYTER_{name}_DIR": str(repository.parent / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
        "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.expose_app_in_browser=True", "--JupyterNotebookApp.expose_app_in_browser=True",
    ]  # fmt: skip
    with open(repository.parent / "log", "w") as log:
        process = subprocess.Popen(command, cwd=repository, env=kept | places, stdout=log, stderr=log)
    try:
        address = f"http://localhost:{port}"
        wait_for(address, process, repository.parent / "log")
        yield address
    finally:
        process.terminate()
        process.wait(30)


def free_port():
    """A port of this machine that nothing uses now."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def wait_for(address, process, log):
    """Until the server answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/api", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"Jupyter did not start:\n{log.read_text()[-2000:]}")


def run_all_cells(chromium, address):
    """Open a notebook and start its cells by the menu; returns the page, and the errors that its console reports from now on."""
    page, errors = chromium.new_page(), []
    page.on("console", lambda message: errors.append(f"{message.text} {message.location}") if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_function(f"{CODE_CELLS}.length > 0 && {KERNEL_IS_IDLE}", timeout=60_000)
    errors.clear()  # Jupyter's own, while it starts
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    return page, errors


@pytest.mark.parametrize("front_end", PAGES)
def test_run_all_cells_of_notebook_01_ends_without_an_error(front_end, server, repository):
    """By the menu. Every cell runs once, in order; the figure is on the page; the receipt is there; the server's pages report no error."""
    shutil.rmtree(repository / "outputs", ignore_errors=True)
    shutil.copyfile(runtime.repository() / NOTEBOOK, repository / NOTEBOOK)
    with browser.launch() as chromium:
        page, errors = run_all_cells(chromium, f"{server}/{PAGES[front_end]}")
        page.wait_for_function(f"{CODE_CELLS}.every(model => model.executionCount) && {KERNEL_IS_IDLE}", timeout=120_000)
        figure = page.locator(".jp-OutputArea-output img").first
        figure.scroll_into_view_if_needed()
        assert figure.evaluate("image => image.naturalWidth") > 300
        page.keyboard.press("Control+s")
        page.wait_for_function("!jupyterapp.shell.currentWidget.context.model.dirty", timeout=10_000)
    cells = [cell for cell in runtime.read_json(repository / NOTEBOOK)["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert (repository / "outputs" / "01_split" / "stage.json").is_file()
    assert not [error for error in errors if "Failed to load resource" not in error or server in error]  # the badges are elsewhere


def test_a_page_is_shown_in_a_notebook(server, repository):
    """By ``IFrame``, as docs/analyse.md says: its scripts run, its styles hold, and the console has no error."""
    text = pages.render("Wrens", [pages.Section("a", "Songs", pages.paragraph("Loud.")), pages.Section("b", "Calls", pages.paragraph("Soft."))])
    pages.write(repository / "analysis" / "report.html", text)
    source = "from IPython.display import IFrame\nIFrame('analysis/report.html', '100%', 800)"
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)], metadata=kernel), repository / "show.ipynb")
    with browser.launch() as chromium:
        page, errors = run_all_cells(chromium, f"{server}/lab/tree/show.ipynb")
        shown = page.frame_locator(".jp-OutputArea-output iframe")
        shown.get_by_role("tab", name="Calls").click()
        assert shown.get_by_role("heading", name="Wrens").is_visible() and shown.get_by_text("Soft.").is_visible() and not shown.get_by_text("Loud.").is_visible()
    assert not errors
