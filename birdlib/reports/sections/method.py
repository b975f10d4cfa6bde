"""The method of a run: what each stage did, with its time and memory, parameters, weights with licences, and versions."""

import io
import re
import tokenize

import pandas as pd

from birdlib import runtime, stages
from birdlib.reports import numbers, page, tables
from birdlib.reports.sections import answer

STAGES = {  # what each stage does, in a sentence
    "01_split": "Reads the manifest, finds the same sound under several names, and assigns whole groups of recordings to training, validation and test.",
    "02_clean": "Finds human voices with Silero, confirms them with YAMNet, removes or softens them, and measures noise.",
    "03_embed": "Computes an embedding for each patch of sound with a pretrained network.",
    "04_triplet": "Trains a network that puts photos and sounds of one species close together in one embedding space.",
    "05_match": "Trains networks that tell whether a sound and a film belong together, and compares them.",
    "06_pseudolabel": "Labels unlabelled soundscapes with pretrained teachers, then with networks trained on these labels.",
    "07_classify": "Trains species classifiers, compares the parts of the recipe, calibrates probabilities and chooses an ensemble.",
    "08_submit": "Predicts soundscapes without network, within a time budget, and checks the submission.",
    "09_count": "Detects and tracks the birds of films, groups tracks of one bird, and counts individuals with intervals.",
}
_PACKAGES = ("birdlib", "tensorflow", "keras", "torch", "scikit-learn", "librosa", "numpy", "pandas")  # first in the list of versions
_HEX = re.compile(r"[0-9a-f]{32,}")
_HIDDEN = {"root", "key"}  # results that are for the next stage, not for people


def body(run):
    """HTML of the section."""
    return page.join(
        _recipe(run), _stages(run), page.heading("Parameters"), _parameters(run), page.heading("Pretrained weights and their licences"), _weights(run),
        page.heading("Figures of the stages"), *_results(run), page.heading("Versions"), _versions(run),
    )  # fmt: skip


def _recipe(run):
    """What the recipe of the run sets, beside what the receipts have; None for a run without one."""
    if not run.recipe:
        return None
    recipe, rows = run.recipe, []
    for notebook, values in recipe["parameters"].items():
        used = run.receipts.get(notebook, {}).get("parameters", {})
        rows += [(notebook, name.replace("_", " "), plain(value), plain(used[name]) if name in used else "not run", source) for name, (value, source) in values.items()]
    table = pd.DataFrame(rows, columns=["stage", "parameter", "published", "used", "source"])
    columns = [
        tables.Column("stage", "Stage"), tables.Column("parameter", "Parameter"), tables.Column("published", "In the recipe"),
        tables.Column("used", "In this run"), tables.Column("source", "Where the value comes from"),
    ]  # fmt: skip
    given = numbers.listing([f"{name} = {value}" for name, value in recipe["given"].items()], 9)
    changed = f"This run was given other values: {given}." if given else "This run was given no other values."
    return page.join(
        page.heading(f"Recipe {recipe['name']}"), page.paragraph(f"{recipe['title']}.", f"Source: {recipe['source']}.", changed),
        tables.table(table, columns, caption="What the recipe sets; all other parameters have the defaults of the notebooks."), page.heading("Stages"),
    )  # fmt: skip


def _stages(run):
    rows = []
    for name in stages.READS:
        receipt = run.receipts.get(name)
        link = run.notebook_link(name)
        title = str(page.element("a", name, href=link, class_="stage") if link else page.join(name))
        if receipt:
            what = STAGES.get(name, "")
            rows.append((title, what, receipt["seconds"], 1e6 * receipt.get("peak_mb", float("nan")), numbers.listing(receipt.get("devices", []))))
        else:
            rows.append((title, run.why_missing(name), None, None, ""))
    table = pd.DataFrame(rows, columns=["stage", "what", "seconds", "memory", "devices"])
    columns = [
        tables.Column("stage", "Stage", "html"), tables.Column("what", "What it does"), tables.Column("seconds", "Time", "seconds"),
        tables.Column("memory", "Memory", "bytes", explanation="most memory that the process of the notebook held at once"), tables.Column("devices", "Devices"),
    ]  # fmt: skip
    if not table["memory"].notna().any():
        columns.pop(3)
    total = sum(receipt["seconds"] for receipt in run.receipts.values())
    linked = any(map(run.notebook_link, stages.READS))
    note = "The names are links to the executed notebooks, with all figures and code; they open where this page lies in its outputs folder, not from a mail." if linked else ""
    return page.join(page.paragraph(f"All stages took {numbers.duration(total)} in all.", note), tables.table(table, columns))


def _parameters(run):
    rows = []
    for name, receipt in run.receipts.items():
        explained = _explanations(run, name)
        rows += [(name, key.replace("_", " "), plain(value), explained.get(key, "")) for key, value in receipt["parameters"].items()]
    table = pd.DataFrame(rows, columns=["stage", "parameter", "value", "meaning"])
    columns = [tables.Column("stage", "Stage"), tables.Column("parameter", "Parameter"), tables.Column("value", "Value"), tables.Column("meaning", "Meaning")]
    return tables.table(table, columns, filter_label="Filter parameters", page_rows=12, caption="Every value that changes a result. Change one with -p name=value and run again: later stages follow.")


def _explanations(run, name):
    """{parameter: comment} of the parameters cell of an executed notebook."""
    path = run.outputs / "notebooks" / f"{name}.ipynb"
    if not path.is_file():
        return {}
    try:
        cells = runtime.read_json(path).get("cells", [])
    except ValueError:  # a damaged copy
        return {}
    source = next(("".join(cell["source"]) for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", [])), "")
    found = {}
    for line in source.splitlines():
        key, _, rest = line.partition("=")
        try:
            comments = [token.string for token in tokenize.generate_tokens(io.StringIO(rest.strip()).readline) if token.type == tokenize.COMMENT]
        except (tokenize.TokenError, IndentationError):
            continue
        if comments:
            found[key.strip()] = comments[-1].lstrip("# ")
    return found


def _weights(run):
    used = {}
    for name, receipt in run.receipts.items():
        for model, record in receipt["weights"].items():
            used.setdefault(model, {**record, "stages": []})["stages"].append(name)
    if not used:
        return page.paragraph("No pretrained weights were used.")
    rows = [(model, record.get("licence", "unknown"), numbers.listing(record["stages"], 9), record.get("source", "")) for model, record in used.items()]
    table = pd.DataFrame(rows, columns=["model", "licence", "stages", "source"])
    restricted = table[table["licence"].str.contains("NC", regex=False)]
    text = page.paragraph(
        f"{numbers.listing(restricted['model'])} may not be used commercially, nor may models trained on {'its' if len(restricted) == 1 else 'their'} embeddings or labels." if len(restricted) else "No licence here forbids commercial use."
    )
    columns = [tables.Column("model", "Model"), tables.Column("licence", "Licence"), tables.Column("stages", "Used in"), tables.Column("source", "Taken from")]
    return page.join(text, tables.table(table, columns))


def _results(run):
    for name, receipt in run.receipts.items():
        rows = [(key[:1].upper() + key[1:].replace("_", " "), plain(value)) for key, value in receipt["results"].items() if key not in _HIDDEN]
        if rows:
            yield page.details(name, tables.description(rows))


def _versions(run):
    found = {}
    for receipt in run.receipts.values():
        for package, version in receipt["versions"].items():
            found.setdefault(package, set()).add(version)
    if not found:
        return page.paragraph("No stage is finished.")
    order = [*(name for name in _PACKAGES if name in found), *(name for name in sorted(found) if name not in _PACKAGES)]
    mixed = [name for name in order if len(found[name]) > 1]
    text = page.paragraph(f"Stages were run with different versions of {numbers.listing(mixed)}: run all again before you compare figures.") if mixed else None
    return page.join(text, page.paragraph(", ".join(f"{name} {' and '.join(sorted(found[name]))}" for name in order) + "."))


def plain(value):
    """A value of a receipt as people read it: no quotes, brackets or hashes."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "":
        return "–"
    if answer.is_interval(value):
        return numbers.with_interval(value)
    if isinstance(value, int):
        return numbers.number(value, 0)
    if isinstance(value, float):
        return numbers.number(value, 2) if abs(value) >= 0.095 or value == 0 else f"{value:.2g}"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {plain(item)}" for key, item in value.items()) or "–"
    if isinstance(value, list | tuple):
        return numbers.listing([plain(item) for item in value], 12) if value else "none"
    text = tables.printable(value)
    return _HEX.sub("…", text).replace(",", ", ") if "," in text and " " not in text else _HEX.sub("…", text)
