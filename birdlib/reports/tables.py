"""Tables of a page: sorted by a click or a key on the head, filtered by text, in pages; whole where scripts do not run."""

import math
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.reports import numbers, page

_SPACE = re.compile(r"[^\S\u00a0\u202f]+")  # but the spaces inside numbers
_SHORT = 22  # letters of a cell that is not broken
MAX_ROWS = 2000  # in a page; a longer table is named by its file


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: of the DataFrame's column.
        title: what people read; the name with spaces where it is empty.
        kind: "text", "count", "number", "share" (0 to 1, with a bar), "interval" (value, low, high), "count_interval", "seconds",
            "bytes", "yes" (true or false), or "html" (cells are ``Markup``).
        unit: in the head, behind the title.
        n_decimals: of "number" and "share", and of "interval" where the interval is unknown.
        explanation: shown when the pointer rests on the head.
    """

    name: str
    title: str = ""
    kind: str = "text"
    unit: str = ""
    n_decimals: int = 2
    explanation: str = ""


def table(frame, columns=None, *, caption="", filter_label="", page_rows=25, max_rows=MAX_ROWS, where_all=""):
    """HTML of a table.

    Args:
        frame: DataFrame.
        columns: ``Column``s or names; those that the frame lacks are left out. None shows all as text or numbers.
        caption: says what the table shows.
        filter_label: label of the filter; empty for no filter in tables of one page.
        page_rows: rows of a page.
        max_rows: rows beyond are left out, and the caption says so.
        where_all: file that holds all rows.
    """
    wanted = [column if isinstance(column, Column) else Column(column, kind="") for column in (frame.columns if columns is None else columns)]
    columns = [column if column.kind else _guess(frame, column.name) for column in wanted if column.name in frame]
    if not len(frame):
        return page.paragraph(f"{caption} There are no rows.".strip(), class_="empty")
    shown = frame.head(max_rows)
    if len(frame) > max_rows:
        rest = f"The first {numbers.number(max_rows, 0)} of {numbers.number(len(frame), 0)} rows"
        caption = f"{caption} {rest}; all are in {where_all}." if where_all else f"{caption} {rest}."
    head = page.element("tr", *(_head(column) for column in columns))
    cells = [_cells(shown[column.name], column) for column in columns]
    body = page.join(*(page.element("tr", *row) for row in zip(*cells, strict=True)))
    whole = page.element("table", page.element("thead", head), page.element("tbody", body), aria_label=caption or filter_label or None)
    return page.element(
        "div",
        _tools(filter_label, len(shown) > page_rows),
        page.element("div", whole, class_="table-scroll", tabindex="0", role="region", aria_label="table, scrolls sideways"),
        page.paragraph(caption, class_="table-caption"),
        _pager(),
        class_="table",
        data_page=page_rows,
    )


def distinct(frame, columns):
    """The columns whose texts are not those of an earlier column, as scientific names and labels are where only labels are known.

    Args:
        columns: ``Column``s, those to compare first.
    """
    kept = []
    for column in columns:
        if column.kind != "text" or column.name not in frame or not any(c.kind == "text" and frame[c.name].astype(str).equals(frame[column.name].astype(str).rename(c.name)) for c in kept):
            kept.append(column)
    return kept


def description(rows):
    """A short list of terms and values, ((term, value), ...)."""
    return page.element("dl", *(page.join(page.element("dt", term), page.element("dd", value)) for term, value in rows))


def play_button(shelf, name, label):
    """A button that plays the sound ``name`` of the shelf, a ``page.script_data`` element of {name: data URI}; a second press stops it."""
    return page.element("button", "▶", type="button", class_="button play", data_play=shelf, data_sound=name, aria_label=f"play {label}", aria_pressed="false")


def _tools(filter_label, is_long):
    status = page.element("span", "", data_status=True, role="status")
    if not filter_label and not is_long:
        return page.element("div", status, class_="table-tools visually-hidden")
    label = filter_label or "Filter"
    entry = page.element("input", type="search", placeholder=label, aria_label=label, autocomplete="off", spellcheck="false")
    return page.element("div", entry, status, class_="table-tools")


def _pager():
    def step(text, number, label):
        return page.element("button", text, type="button", class_="button", data_step=number, aria_label=label)

    return page.element("nav", step("‹", -1, "previous page"), page.element("span", ""), step("›", 1, "next page"), hidden=True, aria_label="pages of the table")


def _head(column):
    title = column.title or column.name.replace("_", " ")
    unit = page.element("small", f" {column.unit}") if column.unit else None
    content = page.join(title, unit) if column.kind == "html" else page.element("button", title, unit, type="button", title=column.explanation or None)
    return page.element("th", content, scope="col", class_=_css_class(column) or None)


def _css_class(column):
    return "" if column.kind in ("text", "html", "yes") else "number"


def _cells(values, column):
    make = _CELLS[column.kind]
    return [make(value, column) for value in values]


def _text(value, column):
    text = printable(value)
    return page.element("td", page.element("bdi", text), class_="short" if len(text) <= _SHORT else "long")


def _markup(value, column):
    return page.element("td", page.markup(value))  # pandas takes the class away from a column of Markup


def _yes(value, column):
    return page.element("td", "yes" if value else "no")


def _number(value, column, n_decimals=None):
    text = numbers.number(_float(value), column.n_decimals if n_decimals is None else n_decimals)
    return page.element("td", text, class_="number", data_value=_sort_value(value))


def _count(value, column):
    return _number(value, column, n_decimals=0)


def _share(value, column):
    value = _float(value)
    width = f"--share: {100 * min(max(value, 0), 1):.0f}%" if math.isfinite(value) else None
    return page.element("td", numbers.number(value, column.n_decimals), class_="number bar", style=width, data_value=_sort_value(value))


def _interval(value, column):
    value, low, high = map(_float, value)
    n_decimals = numbers.decimals(low, high, column.n_decimals)
    if math.isfinite(low) and math.isfinite(high):
        ends = page.element("span", f" [{numbers.number(low, n_decimals)}, {numbers.number(high, n_decimals)}]", class_="interval")
    else:
        ends = None
    return page.element("td", numbers.number(value, n_decimals), ends, class_="number", data_value=_sort_value(value))


def _count_interval(value, column):
    return page.element("td", numbers.count_with_interval(*map(_float, value)), class_="number", data_value=_sort_value(value[0]))


def _seconds(value, column):
    return page.element("td", numbers.duration(_float(value)), class_="number", data_value=_sort_value(value))


def _bytes(value, column):
    return page.element("td", numbers.megabytes(_float(value)), class_="number", data_value=_sort_value(value))


_CELLS = {
    "text": _text, "html": _markup, "yes": _yes, "number": _number, "count": _count, "share": _share, "interval": _interval,
    "count_interval": _count_interval, "seconds": _seconds, "bytes": _bytes,
}  # fmt: skip


def printable(value):
    """A cell as text: nothing for a missing value, white space as one space, times to the second, bytes of names that are no text escaped."""
    if value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return _SPACE.sub(" ", runtime.printable(str(value))).strip()


def _float(value):
    return math.nan if value is None or value is pd.NA else float(value)


def _sort_value(value):
    value = _float(value)
    return f"{value:.10g}" if math.isfinite(value) else ""


def _guess(frame, name):
    """The column of a DataFrame whose values tell the kind."""
    values = frame[name]
    if pd.api.types.is_bool_dtype(values):
        return Column(name, kind="yes")
    if pd.api.types.is_integer_dtype(values):
        return Column(name, kind="count")
    if pd.api.types.is_numeric_dtype(values):
        return Column(name, kind="number")
    if len(values) and all(isinstance(value, np.ndarray | list | tuple) and len(value) == 3 for value in values):
        return Column(name, kind="interval")
    return Column(name)
