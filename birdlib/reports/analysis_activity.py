"""Activity of species: the share of the recorded time in which a species was detected, by hour of the day, by site and by date.

Shares can be compared where counts cannot: a site with ten recorders has more detections than one with a single recorder.
Detections of one species in one file do not overlap, so their seconds add up.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from birdlib.reports import numbers, page

MAX_SPECIES, MAX_COLUMNS = 25, 31
_UPRIGHT = 5  # letters of a column's name; longer ones are turned
_RARE = 0.01  # tables of smaller shares are in seconds per hour
NO_SITE = "no site"


@dataclass(frozen=True)
class Activity:
    """Shares of recorded time.

    Attributes:
        species: (n,) labels, the most frequent first.
        columns: (m,) texts: hours, sites or dates.
        share: (n, m) float, 0 to 1; NaN where nothing was recorded.
        n_detections: (n, m) int.
        recorded_s: (m,) float, seconds of recordings.
    """

    species: list
    columns: list
    share: np.ndarray
    n_detections: np.ndarray
    recorded_s: np.ndarray


def by_hour(analysis):
    """``Activity`` in the hours of the day, without the longest span of hours without recordings; None where no file has a clock time."""
    files = analysis.files[analysis.files["recorded_at"].notna()]
    if not len(files):
        return None
    recorded_s = np.zeros(24)
    for start, duration_s in zip(files["recorded_at"], files["duration_s"].fillna(0.0), strict=True):
        recorded_s += seconds_by_hour(start.hour * 3600 + start.minute * 60 + start.second, duration_s)
    found = analysis.detections[analysis.detections["recorded_at"].notna()]
    hours = hours_in_order(recorded_s > 0)
    return _activity(analysis, found, found["recorded_at"].dt.hour, hours, [f"{hour:02d}" for hour in hours], recorded_s[hours])


def by_site(analysis):
    """``Activity`` at the sites with the most recorded time; None where there are fewer than two."""
    files = analysis.files.assign(site=analysis.files["site"].replace("", NO_SITE))
    recorded_s = files.groupby("site")["duration_s"].sum().sort_values(ascending=False, kind="stable").head(MAX_COLUMNS)
    if len(recorded_s) < 2:
        return None
    found = analysis.detections.assign(site=analysis.detections["path"].map(files.drop_duplicates("path").set_index("path")["site"]))
    found = found[found["site"].isin(recorded_s.index)]
    return _activity(analysis, found, found["site"], recorded_s.index, list(recorded_s.index), recorded_s.to_numpy())


def by_date(analysis):
    """``Activity`` on the dates of the recordings, in months where there are more than 31 dates; None where there are fewer than two.

    A recording counts for the date on which it began.
    """
    files = analysis.files[analysis.files["recorded_at"].notna()]
    for unit in "DM":
        periods = files["recorded_at"].dt.to_period(unit)
        recorded_s = files.groupby(periods)["duration_s"].sum().sort_index()
        if len(recorded_s) <= MAX_COLUMNS:
            break
    recorded_s = recorded_s.tail(MAX_COLUMNS)
    if len(recorded_s) < 2:
        return None
    began = analysis.detections["path"].map(files.assign(period=periods).drop_duplicates("path").set_index("path")["period"])
    found = analysis.detections[began.isin(recorded_s.index)]
    columns = [str(period) for period in recorded_s.index]  # 2025-05-03 or 2025-05
    return _activity(analysis, found, began[found.index], recorded_s.index, columns, recorded_s.to_numpy())


def seconds_by_hour(start_s, duration_s):
    """(24,) seconds that a recording adds to each hour of the day, which may go over midnight and over days.

    Args:
        start_s: seconds since midnight.
        duration_s: of the recording.
    """
    days, rest_s = divmod(duration_s, 86_400.0)
    seconds = np.full(24, 3600.0 * days)
    edges = np.arange(49) * 3600.0
    overlap = np.clip(np.minimum(edges[1:], start_s + rest_s) - np.maximum(edges[:-1], start_s), 0.0, None)
    return seconds + overlap[:24] + overlap[24:]


def hours_in_order(is_recorded):
    """[hours] of the day from the first to the last with recordings, over midnight where recordings were made at night.

    Args:
        is_recorded: (24,) bool, at least one true.
    """
    hours = np.flatnonzero(is_recorded)
    gaps = np.diff(hours, append=hours[0] + 24)  # from each recorded hour to the next
    last = len(hours) - 1 - int(np.argmax(gaps[::-1]))  # of equal gaps the last one, so that a whole day begins at midnight
    first = int(hours[(last + 1) % len(hours)])
    return [(first + hour) % 24 for hour in range(25 - int(gaps[last]))]


def heat_table(activity, analysis, head):
    """HTML of an ``Activity``: a row per species, darker where it was detected in a larger share of the recorded time.

    Args:
        activity: of at most ``MAX_SPECIES`` species.
        analysis: for names.
        head: what the columns are, e.g. "hour of the day".
    """
    highest = max(float(np.nanmax(activity.share, initial=0.0)), 1e-9)
    is_long = max(map(len, activity.columns), default=0) > _UPRIGHT
    titles = [page.element("th", page.element("span", column), scope="col", title=column, class_="turned" if is_long else None) for column in activity.columns]
    rows = [
        page.element(
            "tr",
            page.element("th", page.element("bdi", analysis.names[species]), scope="row", title=analysis.names[species]),
            *(_cell(activity, row, column, highest, analysis.names[species]) for column in range(len(activity.columns))),
        )
        for row, species in enumerate(activity.species)
    ]
    effort = page.element("tr", page.element("th", "recorded, min", scope="row"), *(page.element("td", _minutes(seconds)) for seconds in activity.recorded_s))
    whole = page.element(
        "table",
        page.element("thead", page.element("tr", page.element("th", "s per hour" if highest < _RARE else "% of the time", scope="col"), *titles)),
        page.element("tbody", *rows),
        page.element("tfoot", effort),
        class_="activity",
    )
    return page.element("div", whole, class_="table-scroll", tabindex="0", role="region", aria_label=f"Activity of species by {head}")


def peak(activity):
    """(row, column) of the highest share, or None where there is none above 0."""
    share = np.nan_to_num(activity.share)
    return np.unravel_index(int(share.argmax()), share.shape) if share.size and share.max() > 0 else None


def amount(share, highest):
    """A share as people read it: ``12`` or ``3.4`` percent; seconds in an hour where all of a table are below 1 percent.

    Args:
        share: of the recorded time.
        highest: share of the table.
    """
    value = (3600 if highest < _RARE else 100) * share
    return "<0.1" if 0 < value < 0.095 else f"{value:.0f}" if value >= 9.95 or value == 0 else f"{value:.1f}"


def phrase(share, highest):
    """``12 % of the recorded time``, or ``3.4 s of every recorded hour``."""
    return f"{amount(share, highest)} {'s of every recorded hour' if highest < _RARE else '% of the recorded time'}"


def _activity(analysis, found, column_of, order, columns, recorded_s):
    cells = pd.DataFrame({"species": found["species"], "column": column_of, "seconds": found["end_s"] - found["start_s"]})
    present = set(cells["species"].unique())
    species = [label for label in analysis.species if label in present][:MAX_SPECIES]
    grouped = cells.groupby(["species", "column"])["seconds"]
    seconds = grouped.sum().unstack(fill_value=0.0).reindex(index=species, columns=list(order), fill_value=0.0).to_numpy(float)
    n_detections = grouped.size().unstack(fill_value=0).reindex(index=species, columns=list(order), fill_value=0).to_numpy(int)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(recorded_s > 0, np.minimum(seconds / recorded_s, 1.0), math.nan)
    return Activity(species, list(columns), share, n_detections, np.asarray(recorded_s, float))


def _cell(activity, row, column, highest, name):
    share, n_detections = activity.share[row, column], activity.n_detections[row, column]
    where = f"{name}, {activity.columns[column]}"
    if math.isnan(share):
        return page.element("td", "", class_="unrecorded", title=f"{where}: nothing was recorded")
    title = f"{where}: {numbers.counted(n_detections, 'detection')}, {phrase(share, highest)}, {numbers.duration(activity.recorded_s[column])}"
    if not n_detections:
        return page.element("td", "", title=title)
    strength = 0.12 + 0.88 * math.sqrt(share / highest)
    return page.element("td", amount(share, highest), title=title, class_="strong" if strength > 0.62 else "", style=f"--strength:{100 * strength:.0f}%")


def _minutes(seconds):
    return "" if seconds <= 0 else f"{seconds / 60:.1f}" if seconds < 60 else f"{seconds / 60:.0f}"
