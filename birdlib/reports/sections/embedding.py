"""Photos and sounds in one embedding space, and films that are matched with sounds."""

import numpy as np
import pandas as pd

from birdlib.reports import charts, media, numbers, page, run_files, tables
from birdlib.reports.sections import answer

_PICTURES, _SOUNDS, _SOUND_S = 300, 84, 2.0
_COLOURED = 11  # species with a colour of their own; the others are grey
_APART = 0.2  # share of points with one of the other kind near, below which photos and sounds are apart
_SHELF = "map-sounds"
_MODALITIES = {"sound only": charts.PALETTE[2], "photo only": charts.SECOND, "early fusion": charts.ACCENT, "late fusion": charts.PALETTE[5]}
_TOOLTIP = """<div style="max-width:220px;font:13px/1.4 system-ui,sans-serif"><img src="@thumb{safe}" alt="" style="display:block;max-width:200px;border-radius:6px;margin-bottom:4px">
<b>@name</b><br>@kind, @split<br><span style="opacity:.7;overflow-wrap:anywhere">@file</span></div>"""


def body(run):
    """HTML of the section; each of its two stages may be missing."""
    rows = (("04_triplet", "The embedding space", _space), ("05_match", "Films and sounds", _match))
    return page.join(*(page.part(title, make, run) if run.is_finished(name) else page.note(run.why_missing(name)) for name, title, make in rows))


def _space(run):
    results = run.read_or_none("04_triplet", "results.parquet")
    return page.join(page.part("The map", _map, run), page.part("The retrieval", _retrieval, run, results))


def _map(run):
    vectors, index, points = run.embedding
    if len(index) < 3:
        return page.paragraph("There are too few photos and sounds for a map.")
    table = index.assign(x=points[:, 0], y=points[:, 1], species=index["species"].astype(str))
    table["name"], table["file"] = [run.name(label) for label in table["species"]], table["path"].map(tables.printable)
    table["thumb"], table["sound"], sounds = _media(run, table, np.random.default_rng(0))
    colours = _colours(table["species"])
    table["colour"] = [colours.get(label, charts.NEUTRAL) for label in table["species"]]
    drawn = charts.new_figure(height=520, tools="pan,box_zoom,wheel_zoom,reset,hover,tap", tooltips=None, x_axis_type=None, y_axis_type=None)
    drawn.hover.tooltips = _TOOLTIP
    for kind, marker, size in (("photo", "triangle", 12), ("sound", "circle", 11)):
        _scatter(drawn, table[table["kind"] == kind], marker, size)
    caption = page.join(
        "▲ photo, ● sound. Rest on a point to see it", ", click a sound to hear it" if sounds else "", ". ", _neighbour_sentence(vectors, table),
        " A good space has one island for each species, photos and sounds together; islands of photos alone beside islands of sounds alone mean that the two are not in one space yet.",
    )  # fmt: skip
    entry = page.element(
        "input", type="search", placeholder="Highlight a species", aria_label="Highlight the points of a species", data_highlight=f"chart-{drawn.id}", autocomplete="off", spellcheck="false", list="map-species",
    )  # fmt: skip
    options = page.element("datalist", *(page.element("option", value=name) for name in sorted(set(table["name"]))), id="map-species")
    return page.join(
        page.element("div", entry, options, class_="table-tools"),
        page.figure(page.join(charts.chart(drawn, f"Map of {len(table)} photos and sounds by species", shelf=_SHELF), _legend(run, colours, table["species"])), caption, class_="map"),
        page.script_data(sounds, _SHELF), _sound_table(table, sounds),
    )  # fmt: skip


def _media(run, table, rng):
    """Pictures of points (data URIs, "" for none), names of their sounds ("" for none), and {name: data URI} of the sounds."""
    thumbs, names, sounds = [""] * len(table), [""] * len(table), {}
    is_sound = (table["kind"] == "sound").to_numpy()
    heard = np.flatnonzero(is_sound)
    heard = set(heard[run_files.spread(table["species"].to_numpy()[heard], _SOUNDS, rng)].tolist())
    pictured = set(run_files.spread(table["species"], _PICTURES, rng).tolist()) | heard
    for row in sorted(pictured):
        path = run.recording(table["path"].iloc[row])
        if path is None:
            continue
        if not is_sound[row]:
            thumbs[row] = media.image_uri(media.thumbnail(path))
            continue
        waveform = media.snippet(path, _SOUND_S)
        if waveform is not None:
            thumbs[row] = media.image_uri(media.spectrogram(waveform))
            if row in heard:
                names[row] = str(row)
                sounds[str(row)] = media.sound_uri(waveform)
    return thumbs, names, sounds


def _scatter(drawn, table, marker, size):
    from bokeh.models import ColumnDataSource

    columns = ["x", "y", "name", "kind", "split", "file", "thumb", "sound", "colour"]
    source = ColumnDataSource({"alpha": np.full(len(table), 0.85)} | {column: table[column].to_numpy() if column in "xy" else table[column].astype(str).tolist() for column in columns})
    style = {"fill_color": "colour", "fill_alpha": "alpha", "line_color": "#ffffff", "line_width": 0.6, "line_alpha": "alpha"}
    drawn.scatter("x", "y", source=source, marker=marker, size=size, nonselection_fill_alpha="alpha", nonselection_line_alpha="alpha", hover_line_color="#d9822b", **style)


def _colours(labels):
    frequent = labels.value_counts().sort_index(kind="stable").sort_values(ascending=False, kind="stable").index
    kept = frequent if len(frequent) <= len(charts.PALETTE) else frequent[:_COLOURED]
    return dict(zip(kept, charts.PALETTE, strict=False))


def _legend(run, colours, labels):
    items = [page.element("li", page.element("i", style=f"background:{colour}"), run.name(label)) for label, colour in colours.items()]
    others = len(set(labels) - colours.keys())
    if others:
        items.append(page.element("li", page.element("i", style=f"background:{charts.NEUTRAL}"), f"{numbers.number(others, 0)} other species"))
    return page.element("ul", *items, class_="legend")


def _neighbour_sentence(vectors, table):
    unit = vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -np.inf)
    species, kinds = table["species"].to_numpy(), table["kind"].to_numpy()
    right = species[likeness.argmax(axis=1)] == species
    text = f"For {numbers.number(float(right.mean()), unit='%')} of the points, of training too, the nearest other point is of the same species"
    across = np.where(kinds[:, None] != kinds[None, :], likeness, -np.inf)
    if len(set(kinds)) < 2:
        return f"{text}."
    has_other = np.isin(species, species[kinds == "photo"]) & np.isin(species, species[kinds == "sound"])
    crossed = (species[across.argmax(axis=1)] == species)[has_other]
    near = np.sort(likeness, axis=1)[:, -min(5, len(likeness) - 1)][:, None]
    mixed = ((likeness >= near) & (kinds[:, None] != kinds[None, :])).any(axis=1).mean()
    crossed_text = f"; between a photo and a sound that is so for {numbers.number(float(crossed.mean()), unit='%')}" if len(crossed) else ""
    apart = " Here photos and sounds still lie apart." if mixed < _APART else ""
    return f"{text}{crossed_text}. {numbers.number(float(mixed), unit='%')} have one of the other kind among the nearest five.{apart}"


def _sound_table(table, sounds):
    if not sounds:
        return None
    heard = table[table["sound"] != ""].sort_values(["name", "file"])
    heard = heard.assign(
        play=[tables.play_button(_SHELF, row.sound, f"{row.name_}, {row.file}") for row in heard.rename(columns={"name": "name_"}).itertuples()],
        picture=[page.element("img", src=row.thumb, alt="spectrogram", width=120, height=60) for row in heard.itertuples()],
    )
    columns = [tables.Column("play", "Play", "html"), tables.Column("picture", "Spectrogram", "html"), tables.Column("name", "Species"), tables.Column("split", "Split"), tables.Column("file", "File")]
    return page.details("The sounds of the map as a table", tables.table(heard, columns, filter_label="Filter species or files", page_rows=10, caption=f"The loudest {_SOUND_S:.0f} s of each sound."))


def _retrieval(run, results):
    if results is None or not len(results):
        return page.note("There are no test figures for photos and sounds: test has no pairs of one species.")
    parts = [page.heading("Is the nearest photo or sound of the same species?")]
    for name, rows in results.groupby("set", sort=False):
        values = np.array([list(value) for value in rows["p_at_1"]], float)
        known = np.isfinite(values[:, 0])
        if not known.any():
            continue
        rows, values = rows[known], values[known]
        drawn = charts.intervals(
            rows["modality"], *values.T, label="nearest is right (P@1)", colour_of=[_MODALITIES.get(m, charts.NEUTRAL) for m in rows["modality"]],
        )  # fmt: skip
        drawn.x_range.start, drawn.x_range.end = 0, 1.03
        parts.append(charts.chart(drawn, f"P@1 of {name}", f"{name.capitalize()}, {numbers.counted(int(rows['n'].max()), 'query', 'queries')}. {_fusion_sentence(rows, values)}"))
    unseen = run.results("04_triplet").get("species kept out")
    text = f"Unseen species ({numbers.listing([run.name(label) for label in unseen.split(', ')])}) were kept out of training altogether." if unseen else ""
    charts_in_columns = page.element("div", *parts[1:], class_="columns")
    columns = [tables.Column("set", "Set"), tables.Column("modality", "Query"), tables.Column("n", "Queries", "count"), *(tables.Column(name, title, "interval") for name, title in _RETRIEVAL)]
    return page.join(parts[0], page.paragraph(text), charts_in_columns, page.details("All retrieval figures", tables.table(results, columns)))


_RETRIEVAL = (("p_at_1", "P@1"), ("recall_at_5", "Recall@5"), ("r_precision", "R-precision"), ("map_at_r", "MAP@R"), ("nmi", "NMI"))


def _fusion_sentence(rows, values):
    by_kind = dict(zip(rows["modality"], values, strict=True))
    single = [by_kind[name] for name in ("sound only", "photo only") if name in by_kind]
    fused = [by_kind[name] for name in ("early fusion", "late fusion") if name in by_kind]
    if not single or not fused:
        return ""
    best_single, best_fused = max(single, key=lambda v: v[0]), max(fused, key=lambda v: v[0])
    if best_fused[0] <= best_single[0]:
        return "Photo and sound together are not better than the better one alone."
    clear = best_fused[1] > best_single[2]
    return "Photo and sound together are better than either alone" + (": the intervals do not overlap." if clear else ", though the intervals overlap.")


def _match(run):
    results, table = run.results("05_match"), run.read("05_match", "results.parquet")
    films = {name.removeprefix("ROC-AUC, "): value for name, value in results.items() if name.startswith("ROC-AUC")}
    rows = [(_SETS.get(name, name), value) for name, value in films.items()]
    figures = pd.DataFrame({"what": [what for what, _ in rows], "auc": [value if answer.is_interval(value) else (value, np.nan, np.nan) for _, value in rows]})
    figures = figures[[value[0] is not None and np.isfinite(value[0]) for value in figures["auc"]]]
    text = page.paragraph(
        f"{numbers.counted(results.get('combinations', 0), 'combination')} of a sound encoder, a picture encoder and a loss were trained to tell whether a sound and a film belong together; "
        f"the best on validation is {results.get('best', 'unknown')}.",
        "0.5 is chance, 1 is perfect.",
        _match_sentence(results),
    )
    shown = tables.table(figures, [tables.Column("what", "Tested on"), tables.Column("auc", "ROC-AUC", "interval")], caption="The best combination on media that it was not trained on.")
    grid = table.pivot_table(index=["audio", "video", "loss"], columns="set", values="roc_auc").reset_index()
    columns = [tables.Column("audio", "Sound encoder"), tables.Column("video", "Picture encoder"), tables.Column("loss", "Loss"), *(tables.Column(name, str(name).capitalize(), "share") for name in grid.columns[3:])]
    return page.join(page.heading("Do this sound and this film belong together?"), text, shown, page.details("All combinations (ROC-AUC)", tables.table(grid, columns)))


_SETS = {
    "validation": "validation (used to choose)", "unseen media": "new recordings of known species", "unseen species": "species never trained on",
    "unseen films": "films of other places", "films, its own sound": "films: its own sound among others", "films, a sound of its species": "films: any sound of its species among others",
}  # fmt: skip


def _match_sentence(results):
    unseen = results.get("ROC-AUC, unseen species")
    value = unseen[0] if answer.is_interval(unseen) else unseen
    if not isinstance(value, float) or not np.isfinite(value):
        return ""
    if value < 0.6:
        than_chance = "worse than" if value < 0.4 else "no better than"
        return f"For species that it was never trained on, it is {than_chance} chance ({numbers.number(value)}): do not use it for new species."
    return f"It carries over to species that it was never trained on ({numbers.number(value)})."
