"""The data of a run: species, recordings and splits, where they were recorded, duplicates, and files that were skipped."""

import re

import numpy as np
import pandas as pd

from birdlib import recording_names, stages
from birdlib.data import birdclef
from birdlib.reports import charts, numbers, page, tables
from birdlib.reports.sections import answer

SKIPPED_SHOWN = 200  # files; the tables of the stages hold all
_SPECIES_DRAWN = 40
_KINDS = {"audio_path": "sounds", "image_path": "photos", "video_path": "films"}
_SPLITS = {"train": charts.ACCENT, "validation": charts.PALETTE[2], "test": charts.SECOND}
_LATITUDE_LONGITUDE = re.compile(r"@\s*(-?\d+(?:\.\d+)?),\s*(-?\d+(?:\.\d+)?)\s*$")  # of group ids, as BirdCLEF folders give them


def body(run):
    """HTML of the section."""
    parts = [page.part(title, make, run) for title, make in _PARTS]
    return page.join(*parts, page.heading("Skipped files"), skipped(run))


def skipped(run):
    """HTML: how many files were skipped, why, and the first of them."""
    table = stages.all_skipped(run.outputs)
    if not len(table):
        return page.paragraph(answer.strong("No files were skipped."), "Every file that the recordings name was read.")
    reasons = table["reason"].map(tables.printable).str.replace(r"\d+", "…", regex=True).value_counts()
    text = f"Most often: {reasons.index[0]} ({numbers.counted(int(reasons.iloc[0]), 'file')})." if len(table) > 3 else ""
    shown = tables.table(
        table,
        [tables.Column("path", "File"), tables.Column("stage", "Stage"), tables.Column("reason", "Reason")],
        caption="Skipped files do not stop a run. Repair or replace them and run again: only what they change is computed.",
        filter_label="Filter files or reasons", max_rows=SKIPPED_SHOWN, where_all=stages.SKIPPED,
    )  # fmt: skip
    n_categories = int(table["path"].astype(str).str.match(r"(species|category) ").sum())
    others = f"{numbers.counted(n_categories, 'of the rows is a species', 'of the rows are species or other categories')} with too few files." if n_categories else ""
    title = f"{numbers.counted(len(table), 'file was', 'files were')} skipped." if not n_categories else f"{numbers.counted(len(table), 'row')} of skipped files and categories."
    return page.join(page.paragraph(answer.strong(title), others, text), shown)


def _recordings(run):
    splits = run.splits
    labels = splits["species"].astype(str)
    named = splits[labels != ""]
    kinds = {title: splits[column] != "" for column, title in _KINDS.items() if column in splits and (splits[column] != "").any()}
    n_files = [f"{numbers.number(splits.loc[mask, column].nunique(), 0)} {title}" for (column, title), mask in zip(((c, t) for c, t in _KINDS.items() if t in kinds), kinds.values(), strict=True)]
    n_unknown = int((labels == "").sum())
    text = page.paragraph(
        f"{numbers.counted(len(splits), 'row')} of the manifest name {numbers.listing(n_files) or 'no files'}, "
        f"from {numbers.counted(splits['group_id'].nunique(), 'group')} of recordings that belong together, such as those of one recordist at one place.",
        f"{numbers.counted(n_unknown, 'row has', 'rows have')} no species: these are used where none is needed." if n_unknown else "",
        "" if run.results("01_split").get("divided groups") else "A group is never divided between training, validation and test.",
    )
    if not len(named):
        return page.join(text, page.note("No row has a species.", "info"))
    table = _species_table(run, named, kinds)
    drawn = table.head(_SPECIES_DRAWN)
    series = {split: drawn[split].tolist() for split in _SPLITS if split in drawn}
    chart = charts.chart(
        charts.bars(run.unique_names(drawn["label"]), series, label="rows", stacked_colours=[_SPLITS[split] for split in series]),
        f"Rows of each species in training, validation and test; {run.name(table['label'].iloc[0])} has most",
        _balance_sentence(run, table),
    )
    columns = [
        tables.Column("name", "Species"), tables.Column("scientific_name", "Scientific name"), tables.Column("label", "Label"),
        *(tables.Column(kind, kind.capitalize(), "count") for kind in kinds if table[kind].any()), *(tables.Column(split, split.capitalize(), "count") for split in series),
    ]  # fmt: skip
    return page.join(text, chart, tables.table(table, tables.distinct(table, columns), filter_label="Filter species", page_rows=15, caption="Rows of each species, by kind and by split."))


def _species_table(run, named, kinds):
    labels = named["species"].astype(str)
    table = pd.crosstab(labels, named["split"].astype(str)).reindex(columns=list(_SPLITS), fill_value=0)
    for kind, mask in kinds.items():
        table[kind] = labels[mask.reindex(named.index)].value_counts().reindex(table.index, fill_value=0)
    table["n"] = table[list(_SPLITS)].sum(axis=1)
    table = table.sort_values("n", ascending=False, kind="stable").rename_axis("label").reset_index()
    table["name"] = [run.name(label) for label in table["label"]]
    table["scientific_name"] = [run.names["scientific_name"].get(label, label) for label in table["label"]]
    return table


def _balance_sentence(run, table):
    most, least = table["n"].iloc[0], table["n"].iloc[-1]
    text = f"{run.name(table['label'].iloc[0])} has {numbers.counted(int(most), 'row')}, {run.name(table['label'].iloc[-1])} {numbers.number(int(least), 0)}."
    untested = [run.name(label) for label in table.loc[table["test"] == 0, "label"]]
    if len(table) > _SPECIES_DRAWN:
        text += f" The {_SPECIES_DRAWN} most frequent of {numbers.number(len(table), 0)} species are drawn; the table has all."
    if untested:
        return f"{text} {numbers.listing(untested)} {'has' if len(untested) == 1 else 'have'} no test row, so nothing is known about how well {'it is' if len(untested) == 1 else 'they are'} recognised: record more groups."
    return f"{text} Every species has a test row. Species with one or two decide little: their figures are in the table of species, with the number of test rows."


def _leakage(run):
    results = run.results("01_split")
    bias, n_divided = results.get("bias of a random split"), results.get("divided groups")
    parts = []
    if n_divided:
        which = f"{numbers.counted(n_divided, 'group has', 'groups have')} recordings in training and in test or validation"
        parts.append(answer.strong(f"This is a random split, so all figures of the run are too high: {which}."))
    if answer.is_interval(bias) and np.isfinite(bias[0]):
        clear = np.isfinite(bias[1]) and bias[1] > 0
        verdict = "so scores of random splits would be too good, and groups are kept together" if clear else "which is not clearly above zero here; groups are kept together all the same"
        verdict = "by a simple classifier on fingerprints" if n_divided else verdict
        parts.append(f"A split at random would overestimate accuracy by {numbers.with_interval(bias)}, {verdict}.")
    if results.get("repeated rows"):
        parts.append(f"{numbers.counted(results['repeated rows'], 'row names', 'rows name')} a recording that another row has too; test figures are given without them.")
    pairs = run.read_or_none("01_split", "duplicates.csv")
    if pairs is not None and len(pairs):
        table = tables.table(
            pairs,
            [tables.Column("first", "Recording"), tables.Column("second", "Sounds like"), tables.Column("kind", "Kind"), tables.Column("likeness", "Likeness", "number")],
            caption="The same sound in two files. They are in one split; decide which row is right and delete the other.", filter_label="Filter recordings", page_rows=10,
        )  # fmt: skip
        return page.join(page.heading("Independence of the splits"), page.paragraph(*parts), table)
    if pairs is not None:
        parts.append("No sound was found under two names.")
    return page.join(page.heading("Independence of the splits"), page.paragraph(*parts)) if parts else None


def _places(run):
    splits = run.splits
    found = splits["group_id"].astype(str).str.extract(_LATITUDE_LONGITUDE).astype(float).dropna()
    if len(found) < 3:
        return None
    places = found.groupby([0, 1]).size().reset_index(name="n")
    data = {
        "longitude": places[1].to_numpy(), "latitude": places[0].to_numpy(), "n": places["n"].to_numpy(),
        "size": np.clip(6 + 3 * np.sqrt(places["n"].to_numpy()), 7, 30),
    }  # fmt: skip
    drawn = charts.new_figure(height=320, x_axis_label="longitude (°)", y_axis_label="latitude (°)", tools="pan,box_zoom,reset,hover", match_aspect=True)
    drawn.hover.tooltips = "@latitude{0.00}°, @longitude{0.00}°: <b>@n</b> rows"
    drawn.scatter("longitude", "latitude", source=data, size="size", fill_color=charts.ACCENT, fill_alpha=0.6, line_color=None)
    span_km = 111.2 * (places[0].max() - places[0].min())
    caption = (
        f"Where rows were recorded, as far as it is known ({numbers.number(len(found), 0)} of {numbers.number(len(splits), 0)} rows, {numbers.counted(len(places), 'place')}, "
        f"{numbers.number(span_km, 0 if span_km >= 10 else 1, 'km')} from south to north). A larger dot has more rows. A dot far from the others is a place with another fauna, or a slip in the coordinates."
    )
    return page.join(page.heading("Places"), charts.chart(drawn, "Map of the places of the recordings", caption))


def _hours(run):
    if run.root is None:
        return None
    paths = [path for which in ("train", "test") for path in birdclef.soundscapes(run.root, which)]
    paths += [path for path in run.splits["audio_path"] if path]
    moments = [recording_names.parse(path).moment for path in paths]
    hours = [moment.time.hour for moment in moments if moment.time is not None]
    if len(hours) < 3:
        return None
    counts = np.bincount(hours, minlength=24)
    data = {"hour": np.arange(24), "n": counts}
    drawn = charts.new_figure(height=220, x_axis_label="hour of the day (clock time of the file names)", y_axis_label="recordings", tools="hover", toolbar_location=None)
    drawn.hover.tooltips = "@hour:00 to @hour:59: <b>@n</b>"
    drawn.vbar("hour", 0.85, "n", source=data, fill_color=charts.ACCENT, line_color=None)
    drawn.xaxis.ticker = list(range(0, 24, 3))
    drawn.y_range.start = 0
    charts.count_ticks(drawn.yaxis[0])
    drawn.xgrid.visible = False
    n_dark = int(counts[[*range(0, 5), *range(21, 24)]].sum())
    caption = f"{numbers.counted(len(hours), 'recording tells', 'recordings tell')} the hour in the name; {numbers.number(n_dark, 0)} are from 21 to 5 o'clock. A classifier knows least about hours without recordings."
    return page.join(page.heading("Time of day"), charts.chart(drawn, "Recordings by hour of the day", caption))



_PARTS = (("The recordings", _recordings), ("Independence of the splits", _leakage), ("The places", _places), ("The time of day", _hours))
