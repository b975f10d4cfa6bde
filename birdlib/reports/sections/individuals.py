"""Individuals: counts with intervals, the annotated films, and a contact sheet of each bird."""

import numpy as np
import pandas as pd

from birdlib.individuals import plots
from birdlib.metrics.identity import UNKNOWN
from birdlib.reports import charts, media, numbers, page, tables
from birdlib.reports.sections import answer

_FILMS, _FILM_BYTES, _BIRDS, _CROPS = 4, 1_100_000, 40, 6


def body(run):
    """HTML of the section."""
    counts = run.read("09_count", "counts.csv")
    voices = run.read_or_none("09_count", "voices.csv")
    if not len(counts):
        return page.join(page.paragraph("There was no film to count in."), _voices(voices))
    rows = (
        ("The count", _summary, run, counts), ("The counts of the films", _counts_chart, counts), ("The annotated films", _films, run, counts), ("The contact sheet", _contact_sheet, run),
        ("The birds of two films", _shared, run), ("The two ways of counting", _countings, run), ("The voices", _voices, voices), ("The test of backgrounds", _backgrounds, run),
    )  # fmt: skip
    return page.join(*(page.part(*row) for row in rows))


def _summary(run, counts):
    results = run.results("09_count")
    wide = counts[counts["certainty"] == "uncertain" if "certainty" in counts else counts["high"] - counts["n"] >= 2]
    return page.paragraph(
        page.join("In ", numbers.counted(len(counts), "film"), " there are ", answer.strong(f"{results.get('individuals', '–')} individuals"), "; birds that appear in several films are counted once."),
        "The interval says between which counts the grouping of tracks is undecided. It holds neither birds that were never seen nor birds that look exactly alike.",
        f"Least certain: {numbers.listing(wide['recording_id'], 3)}." if len(wide) else "",
    )  # fmt: skip


def _counts_chart(counts):
    counts = counts.sort_values("n", ascending=False, kind="stable").head(40)
    details = [f"at most {row.at_once} at once" + (f", {row.certainty}" if hasattr(row, "certainty") else "") + (f", truth {row.birds:.0f}" if pd.notna(getattr(row, "birds", np.nan)) else "") for row in counts.itertuples()]
    drawn = charts.intervals(counts["recording_id"], counts["n"], counts["low"], counts["high"], label="individuals", details=details)
    drawn.hover.tooltips = "<b>@name</b>: @value{0} [@low{0}, @high{0}]<br>@details"
    drawn.x_range.start = 0
    charts.count_ticks(drawn.xaxis[0])
    drawn.scatter("x", "y", source={"x": counts["at_once"], "y": counts["recording_id"].astype(str)}, marker="dash", angle=np.pi / 2, size=14, line_color=charts.SECOND, line_width=3)
    caption = "The dot is the count, the line its interval, the orange mark the number seen at once, below which no count can be true."
    if "birds" in counts and counts["birds"].notna().any():
        right = int((counts["birds"] == counts["n"]).sum())
        inside = int(((counts["low"] <= counts["birds"]) & (counts["birds"] <= counts["high"])).sum())
        caption += f" Where the truth is known, {numbers.number(right, 0)} of {numbers.number(int(counts['birds'].notna().sum()), 0)} counts are right and {numbers.number(inside, 0)} lie in the interval."
    return charts.chart(drawn, "Individuals of each film with intervals", caption)


def _films(run, counts):
    return page.join(*_annotated(run, counts))


def _annotated(run, counts):
    """Films with their contact sheets beside them, those with most individuals first, as many as fit."""
    folder = run.outputs / "09_count" / "annotated"
    crops, tracks = run.read_or_none("09_count", "crops.parquet"), run.read_or_none("09_count", "tracks.parquet")
    spent, n_shown = 0, 0
    having = counts[[(folder / f"{name}.mp4").is_file() for name in counts["recording_id"]]].sort_values(["n", "at_once"], ascending=False, kind="stable")
    for row in having.head(_FILMS).itertuples():
        film = media.small_film(folder / f"{row.recording_id}.mp4")
        if film is None or spent + len(film) > _FILM_BYTES:
            continue
        spent, n_shown = spent + len(film), n_shown + 1
        if n_shown == 1:
            yield page.heading("Annotated films")
        label = f"{row.recording_id}: {numbers.count_with_interval(row.n, row.low, row.high)} {'individual' if row.n == row.high == 1 else 'individuals'}"
        times = tracks.loc[tracks["recording_id"] == row.recording_id, "time_s"].round(1) if tracks is not None else ()
        poster = media.frame(folder / f"{row.recording_id}.mp4", float(times.mode().iloc[0]) if len(times) else 0.0)
        video = page.element("video", poster=media.image_uri(poster) or None, src=page.data_uri(film, "video/mp4"), controls=True, loop=True, muted=True, playsinline=True, preload="none", aria_label=f"annotated film {label}")
        sheet = _sheet(run, crops[crops["recording_id"] == row.recording_id], 3) if crops is not None else None
        yield page.element("div", page.figure(video, f"{label}. A box is a track, its number and colour the individual: a colour that changes on one bird is an error of tracking."), sheet, class_="columns film")
    rest = len(having) - n_shown
    if n_shown and rest:
        yield page.paragraph(f"{numbers.counted(rest, 'more annotated film is', 'more annotated films are')} in 09_count/annotated beside this page.")


def _contact_sheet(run):
    crops = run.read_or_none("09_count", "crops.parquet")
    if crops is None or not len(crops):
        return None
    n_films = crops.groupby("identity")["recording_id"].nunique()
    several = crops[crops["identity"].isin(n_films[n_films > 1].index) & (crops["identity"] != UNKNOWN)]
    if not len(several):
        return None
    sheet = _sheet(run, several, _CROPS, with_films=True)
    caption = "Individuals that were found in several films, a row each. All pictures of a row should be one bird; where they are not, raise the threshold of notebook 09."
    return page.join(page.heading("The same bird in several films"), page.figure(sheet, caption))


def _sheet(run, crops, n_crops, with_films=False):
    """Rows of the best crops of each individual, of different films first."""
    rows = []
    for identity, found in list(crops.groupby("identity"))[:_BIRDS]:
        found = found.sort_values("quality", ascending=False, kind="stable")
        found = found.assign(turn=found.groupby("recording_id").cumcount()).sort_values(["turn", "quality"], ascending=[True, False], kind="stable").head(n_crops)
        pictures = []
        for crop in found.itertuples():
            data = media.thumbnail(run.outputs / "09_count" / crop.path, 84)
            if data:
                pictures.append(page.picture(data, f"{plots.name(identity)} in {crop.recording_id}", "image/webp", title=f"{crop.recording_id}, {crop.time_s:.1f} s"))
        films = f" in {numbers.counted(found['recording_id'].nunique(), 'film')}" if with_films else ""
        title = _title(identity) + films if identity != UNKNOWN else "tracks of no individual: too short, or no bird"
        rows.append((identity == UNKNOWN, page.element("li", page.element("span", title), page.element("div", *pictures))))
    return page.element("ul", *(row for _, row in sorted(rows, key=lambda row: row[0])), class_="sheet")


def _title(identity):
    """The bird's number in the colour of its boxes."""
    red, green, blue = (round(255 * part) for part in plots.colour(identity))
    return page.element("i", style=f"background: rgb({red} {green} {blue})", class_="swatch") + plots.name(identity)


def _shared(run):
    shared = run.read_or_none("09_count", "shared.csv")
    if shared is None or not len(shared):
        return None
    shown = shared.assign(
        shared_n=list(zip(shared["shared"], shared["shared_low"], shared["shared_high"], strict=True)), total_n=list(zip(shared["total"], shared["total_low"], shared["total_high"], strict=True))
    ).sort_values("shared", ascending=False, kind="stable")
    columns = [
        tables.Column("a", "Film"), tables.Column("b", "Other film"), tables.Column("shared_n", "Birds in both", "count_interval"), tables.Column("total_n", "Birds in the two together", "count_interval"),
    ]  # fmt: skip
    return page.details("Birds that two films share", tables.table(shown, columns, filter_label="Filter films", page_rows=15))


def _countings(run):
    found = run.read_or_none("09_count", "countings.csv")
    if found is None or not len(found):
        return None
    sides = {"greedy": "Greedy, fixed threshold", "clustering": "Clustering", "difference": "Difference"}
    shown = found.assign(**{side: list(zip(found[side], found[f"{side}_low"], found[f"{side}_high"], strict=True)) for side in sides})
    columns = [tables.Column("figure", "Film or figure"), *(tables.Column(side, title, "interval") for side, title in sides.items())]
    return page.details("Greedy counting beside clustering", tables.table(shown, columns, caption=_COUNTINGS_TEXT, page_rows=25))


_COUNTINGS_TEXT = (
    "The same tracks counted in two ways. Greedy counting numbers them one after another: the nearest bird closer than a fixed threshold, else a new one. "
    "Intervals of counts are over the draws, of errors over the films with a known count."
)


def _voices(voices):
    if voices is None or not len(voices):
        return None
    table = voices.assign(interval=list(zip(voices["value"], voices["low"], voices["high"], strict=True)))
    columns = [tables.Column("figure", "Figure"), tables.Column("interval", "Value", "interval"), tables.Column("n", "Rows", "count")]
    return page.join(page.heading("Individuals by voice"), page.paragraph(_VOICE_TEXT), tables.table(table, columns))


_VOICE_TEXT = (
    "Named individuals, identified by their voice alone. In the closed set every bird is known; in the open set some are strangers: BAKS is the accuracy on known birds, "
    "BAUS on strangers, each bird counted equally. Recordings of one session share their background, so rely on the figures of another session and another day where there are any, and on the test of backgrounds."
)


def _backgrounds(run):
    swapped = run.read_or_none("09_count", "background_swap.csv")
    if swapped is None or not len(swapped):
        return None
    table = pd.DataFrame({"kind": swapped["kind"], "taken_for": swapped["taken_for"], "share": list(zip(swapped["share"], swapped["low"], swapped["high"], strict=True)), "n": swapped["n"]})
    columns = [tables.Column("kind", "Recording"), tables.Column("taken_for", "Taken for"), tables.Column("share", "Share", "interval"), tables.Column("n", "Recordings", "count")]
    return page.join(
        page.heading("Voice or background?"),
        page.paragraph("The background of one bird's recordings was put under the voice of another. If the answer follows the background, the place is recognised and not the bird."),
        tables.table(table, columns),
    )
