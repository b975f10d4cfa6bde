"""The report: the overview figure, headline results of every finished stage, then the executed notebooks without their code."""

import base64
import contextlib
import html
import re
from pathlib import Path

import pandas as pd

from birdlib import runtime, stages
from birdlib.metrics import bootstrap
from birdlib.reports import overview

_CSS = """<style>
body { max-width: 1100px; margin: 0 auto !important; padding: 0 16px; }
.jp-Cell { padding: 2px 0 !important; }
</style>"""
_BADGE = re.compile(r"\[!\[.*?\]\(.*?\)\]\(.*?\)")  # a picture from the network that links to where notebooks are run
_NEIGHBOUR = re.compile(r"\]\((\d\d_\w+\.ipynb)")  # a link to another notebook, which lies a folder further down
_SKIPPED_SHOWN = 50  # files; the tables of the stages hold all


def write(outputs, left_out=None):
    """Write ``report.html`` into the outputs folder from the receipts and the executed notebooks.

    It is one file that needs no network: nbconvert's scripts (mathematics, diagrams), which would be fetched, are removed.

    Args:
        outputs: folder of the stages.
        left_out: {stage: why it did not run}.

    Returns:
        Path of the report.
    """
    import nbformat
    from nbconvert import HTMLExporter

    cells = [nbformat.from_dict({"cell_type": "markdown", "metadata": {}, "source": _CSS + _summary(outputs, left_out or {})})]
    for path in sorted((Path(outputs) / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        if not path.stem.endswith(".failed"):
            cells += _story(nbformat.read(path, as_version=4))
    exporter = HTMLExporter(exclude_input=True, exclude_output_prompt=True, exclude_input_prompt=True)
    whole = nbformat.v4.new_notebook(cells=cells, nbformat_minor=4)
    page, _ = exporter.from_notebook_node(whole, resources={"metadata": {"name": "birdlib report"}})
    page = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)
    target = Path(outputs) / "report.html"
    with runtime.replacing(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def skipped(outputs):
    """All skipped tables of the finished stages in one: ``path``, ``stage``, ``reason``."""
    tables = [pd.read_parquet(path) for path in sorted(Path(outputs).glob("[0-9][0-9]_*/skipped.parquet"))]
    return pd.concat(tables, ignore_index=True) if tables else stages.skipped_table([], "")


def _summary(outputs, stages_left_out):
    rows = []
    for name in stages.READS:
        if name in stages_left_out:
            rows.append(f"<tr><td><b>{name}</b></td><td>left out: {_one_line(stages_left_out[name])}</td><td></td></tr>")
        with contextlib.suppress(stages.MissingStageError):
            receipt = stages.receipt(outputs, name)
            results = "<br>".join(
                f"{_one_line(k.replace('_', ' '))}: {_show(v)}" for k, v in receipt["results"].items()
            )
            rows.append(f"<tr><td><b>{name}</b></td><td>{results}</td><td>{receipt['seconds']:.0f} s</td></tr>")
    table = "<table><tr><th>stage</th><th>headline results</th><th>time</th></tr>" + "".join(rows) + "</table>"
    left_out = skipped(outputs)
    text = f"**{len(left_out)} files were skipped.**"
    if len(left_out):
        if len(left_out) > _SKIPPED_SHOWN:
            text += f" The first {_SKIPPED_SHOWN}; all are in `skipped.parquet` of their stages."
        with pd.option_context("display.max_colwidth", None):
            shown = left_out.head(_SKIPPED_SHOWN).replace(r"\s+", " ", regex=True)  # an empty line would end the table
            text += "\n\n" + shown.to_html(index=False)
    return f"\n\n# birdlib report\n\n{_picture(overview.write(outputs))}{table}\n\n{text}\n"


def _picture(path):
    if path is None:
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="species in a soundscape, photos and sounds in one space, individuals in a film" src="data:image/jpeg;base64,{data}">\n\n'


def _show(value):
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list) and len(value) == 3 and all(isinstance(v, float) for v in value):
        return bootstrap.interval_text(value)
    return _one_line(value)


def _one_line(value):
    """Text for the table of stages, which an empty line would end."""
    return html.escape(" ".join(str(value).split()))


def _story(notebook):
    """The cells people look at: text, and code cells that printed or drew something (their code is left out)."""
    kept = []
    for cell in notebook.cells:
        cell.pop("id", None)  # the same in several notebooks
        if cell.cell_type == "markdown":
            cell.source = _NEIGHBOUR.sub(r"](notebooks/\1", _BADGE.sub("", cell.source))
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            if not cell.outputs:
                continue
        kept.append(cell)
    return kept
