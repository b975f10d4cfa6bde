"""The films of an analysis in its page: how many individuals, with the interval, and the annotated film beside."""

from pathlib import Path

import pandas as pd

from birdlib.reports import analysis_data, media, numbers, page, tables
from birdlib.video import io as video_io

_MAX_FILMS, _MAX_ROWS = 12, 200  # with a film beside; in the table


def body(analysis, max_bytes):
    """HTML of the counts.

    Args:
        analysis: an ``analysis_data.Analysis``; its counts may name the ``annotated`` film, relative to the folder.
        max_bytes: of films inside the page; others are linked.
    """
    counts = analysis.counts
    if not len(counts):
        return page.markup("")
    films = counts.head(_MAX_FILMS).to_dict("records")
    shown = [_film(analysis, row, max_bytes / len(films)) for row in films]
    table = counts.assign(count=list(zip(counts["n"], counts["low"], counts["high"], strict=True)), film=counts["path"].map(analysis_data.file_name))
    columns = [
        tables.Column("film"), tables.Column("count", "individuals", "count_interval", explanation="with a 90 % interval"),
        tables.Column("certainty", explanation="certain: every draw and frame gives this number; likely: the interval is at most one bird or half of the count wide; uncertain: wider"),
        tables.Column("at_once", "in one frame", "count", explanation="the most birds in a single frame: at least so many there were"),
        tables.Column("n_tracks", "tracks", "count", explanation="a bird that was lost and found again has several"),
    ]  # fmt: skip
    return page.join(
        page.paragraph(
            "The number before the brackets is the best estimate of how many individuals a film shows; the brackets hold it in nine of ten cases.",
            "Small, distant and hidden birds are counted too low. Look at the film beside before you use a number: every box should hold a bird, and one bird should keep its number.",
        ),
        page.paragraph(analysis.about.get("counts", ""), class_="soft"),
        tables.table(table, columns, max_rows=_MAX_ROWS, where_all="counts.csv") if len(counts) > 1 else None,
        page.element("div", *shown, class_="films"),
    )


def sentence(analysis):
    """One sentence with the counts, "" without films."""
    counts = analysis.counts.dropna(subset=["n"])
    if not len(counts):
        return ""
    if not counts["high"].any():
        return "No bird was found in the film." if len(counts) == 1 else "No bird was found in the films."
    if len(counts) == 1:
        row = counts.iloc[0]
        span = "" if row["low"] == row["high"] else f" (90 % interval {row['low']:.0f} to {row['high']:.0f})"
        return f"The film shows {numbers.counted(int(row['n']), 'individual')}{span}."
    low, high = counts["n"].min(), counts["n"].max()
    span = f"(90 % intervals from {counts['low'].min():.0f} to {counts['high'].max():.0f})"
    return f"The {len(counts)} films show {f'{low:.0f}' if low == high else f'{low:.0f} to {high:.0f}'} individuals each {span}."


def _film(analysis, row, max_bytes):
    name = analysis_data.file_name(row["path"])
    text = _count_text(row)
    annotated = row.get("annotated")
    path = analysis.folder / annotated if isinstance(annotated, str) and annotated else None
    if path is None or not path.is_file():
        return page.element("article", page.element("h3", page.element("bdi", name)), page.paragraph(text, "There is no annotated film of it." if row["high"] else ""))
    data = media.small_film(path)
    link = page.element("a", "the annotated film", href=Path(annotated).as_posix())
    if data and 4 / 3 * len(data) <= max_bytes:
        label = f"{name} with a numbered box around each bird"
        film = page.element("video", src=page.data_uri(data, "video/mp4"), controls=True, loop=True, muted=True, playsinline=True, preload="metadata", poster=_poster(path) or None, aria_label=label)
        more = page.paragraph("", page.join("At most 20 s and 480 pixels wide; whole: ", link, "."), class_="soft")
    else:
        film, more = None, page.paragraph("Too large for this page:", link, "lies beside it.", class_="soft")
    return page.element("article", page.element("h3", page.element("bdi", name)), page.paragraph(text), film, more)


def _poster(path):
    """An image from the middle of the first 20 s: films often begin black."""
    try:
        images = [image for _, image in video_io.frames(path, rate_hz=0.2, end_s=20.0)]
    except video_io.VideoError:
        return ""
    return media.image_uri(media.webp(images[len(images) // 2], 480))


def _count_text(row):
    if pd.isna(row["n"]):
        return "It could not be counted."
    if not row["high"]:
        return "No bird was found in it."
    interval = "" if row["low"] == row["high"] else f", 90 % interval {row['low']:.0f} to {row['high']:.0f}"
    at_once = "" if pd.isna(row["at_once"]) else f"; at most {row['at_once']:.0f} in one frame"
    certainty = f"; {row['certainty']}" if row.get("certainty") else ""
    density = " Counted by the boxes of single frames, as tracks do not hold so many birds." if row.get("method") == "density" else ""
    return f"{numbers.counted(int(row['n']), 'individual')}{interval}{at_once}{certainty}.{density}"
