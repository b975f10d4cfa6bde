"""Interactive charts of a page: Bokeh figures that stretch to the width of the page and follow its light or dark colours.

A chart is drawn when it is first seen. Its colours for text, axes and grid come from the page's style sheet (``page.js``); the colours of
the data are of middle lightness, so that they are readable on white and on near black.
"""

import numpy as np

from birdlib.reports import page

ACCENT = "#2a9d7c"
SECOND = "#d9822b"
NEUTRAL = "#8a958f"
# Told apart in common colour blindness by lightness and hue; more labels than colours share them, and shapes and the hover tell.
PALETTE = ("#2a9d7c", "#d9822b", "#5b7fd6", "#c8578f", "#8f9a2f", "#3fa9c9", "#b5534a", "#8d6cc9", "#b08d57", "#5f9e5a", "#d16ad1", "#7f8c95")
INK = "ink"  # tag of a text glyph in the colour of the page's text
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
_AXIS = "#8a958f"  # until the page paints it


def colours(labels):
    """{label: colour}, the same for the same labels in any order."""
    return {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(sorted(set(labels)))}


def new_figure(*, height=320, tools="", tooltips=None, **options):
    """A Bokeh figure in the style of the page: as wide as its place, transparent, a toolbar that shows on hover.

    Args:
        height: in pixels.
        tools: such as "pan,wheel_zoom,reset"; a wheel zooms only after its tool is chosen, so that the page scrolls.
        tooltips: HTML or pairs, as Bokeh's ``HoverTool`` takes them.
        options: of ``bokeh.plotting.figure``, e.g. ``x_axis_label``.
    """
    from bokeh.plotting import figure

    options = {"sizing_mode": "stretch_width", "toolbar_location": "above" if tools else None, **options}
    drawn = figure(height=height, tools=tools, tooltips=tooltips, active_scroll=None, **options)
    drawn.toolbar.logo = None
    drawn.toolbar.autohide = True
    return _style(drawn)


def chart(figure, alt, caption="", min_width=0, shelf=None):
    """HTML of a Bokeh figure or layout.

    Args:
        figure: Bokeh model.
        alt: what the chart shows, for those who do not see it, and where scripts do not run.
        caption: what to see in it, under it.
        min_width: in pixels; on narrower screens the chart scrolls sideways.
        shelf: id of a ``page.script_data`` of sounds; a click on a point plays the one that its column ``sound`` names. (Bokeh's ``CustomJS``
            would want a policy that lets text become scripts.)
    """
    from bokeh.embed import json_item

    height = getattr(figure, "height", None) or 300
    target, data = f"chart-{figure.id}", f"data-{figure.id}"
    place = page.element("div", id=target, class_="chart", data_chart=data, data_shelf=shelf, role="img", aria_label=alt, style=f"--height: {height}px" + (f"; min-width: {min_width}px" if min_width else ""))
    if min_width:
        place = page.element("div", place, class_="chart-scroll", tabindex="0", role="region", aria_label="chart, scrolls sideways")
    return page.figure(page.join(place, page.script_data(json_item(figure), data)), caption)


def intervals(names, values, lows, highs, *, label, colour=ACCENT, reference=None, colour_of=None, details=None, row_height=30):
    """Values with their intervals, a row for each name, the first at the top.

    Args:
        names: unique texts.
        values, lows, highs: (rows,); NaN ends draw no line.
        label: of the value axis, with the unit.
        reference: value with a dashed line, such as 0 for differences.
        colour_of: (rows,) colours instead of ``colour``.
        details: (rows,) text of the tooltip behind the name.
    """
    from bokeh.models import Span

    names = [str(name) for name in names]
    data = {
        "name": names, "value": np.asarray(values, float), "low": np.asarray(lows, float), "high": np.asarray(highs, float),
        "colour": list(colour_of) if colour_of is not None else [colour] * len(names),
        "details": list(details) if details is not None else [""] * len(names),
    }  # fmt: skip
    drawn = new_figure(height=max(80 + row_height * len(names), 140), y_range=names[::-1], x_axis_label=label, tools="hover", toolbar_location=None)
    drawn.hover.tooltips = "<b>@name</b><br>@value{0.000} [@low{0.000}, @high{0.000}]<br>@details"
    if reference is not None:
        drawn.add_layout(Span(location=reference, dimension="height", line_dash="dashed", line_color=NEUTRAL, line_width=1.5))
    drawn.segment("low", "name", "high", "name", source=data, line_width=3, line_color="colour", line_alpha=0.55, line_cap="round")
    drawn.scatter("value", "name", source=data, size=11, fill_color="colour", line_color=None)
    drawn.ygrid.visible = False
    return drawn


def histogram(values, *, label, n_bins=30, value_range=None, colour=ACCENT, marks=(), height=240):
    """How often values occur.

    Args:
        values: (n,); NaN are left out.
        label: of the value axis, with the unit.
        value_range: (low, high), or None for that of the values.
        marks: values with a dashed line.
    """
    from bokeh.models import Span

    values = np.asarray(values, float)
    counts, edges = np.histogram(values[np.isfinite(values)], n_bins, value_range)
    data = {"count": counts, "left": edges[:-1], "right": edges[1:]}
    drawn = new_figure(height=height, x_axis_label=label, y_axis_label="number", tools="hover", toolbar_location=None)
    drawn.hover.tooltips = "@left{0.[00]} to @right{0.[00]}: <b>@count</b>"
    drawn.quad(left="left", right="right", bottom=0, top="count", source=data, fill_color=colour, line_color=None, fill_alpha=0.85)
    for mark in marks:
        drawn.add_layout(Span(location=mark, dimension="height", line_dash="dashed", line_color=NEUTRAL, line_width=1.5))
    drawn.y_range.start = 0
    drawn.xgrid.visible = False
    count_ticks(drawn.yaxis[0])
    return drawn


def bars(names, series, *, label, height=None, stacked_colours=None):
    """Horizontal stacked bars, a row for each name, the first at the top.

    Args:
        names: unique texts.
        series: {legend: (rows,) counts}.
        label: of the value axis, with the unit.
        stacked_colours: a colour for each series.
    """
    names = [str(name) for name in names]
    shades = list(stacked_colours or PALETTE)[: len(series)]
    data = {"name": names} | {key: list(values) for key, values in series.items()}
    drawn = new_figure(height=height or max(90 + 26 * len(names), 160), y_range=names[::-1], x_axis_label=label, tools="hover", toolbar_location=None)
    drawn.hover.tooltips = "<b>@name</b><br>$name: @$name"
    drawn.hbar_stack(list(series), y="name", height=0.72, source=data, color=shades, line_color=None, **({"legend_label": list(series)} if len(series) > 1 else {}))
    drawn.x_range.start = 0
    drawn.ygrid.visible = False
    count_ticks(drawn.xaxis[0])
    if len(series) > 1:
        legend_above(drawn)
    return drawn


def heat_map(matrix, rows, columns, *, row_label, column_label, tooltip="@row × @column: <b>@text</b>", colour=ACCENT, format_value="{:.0f}".format, with_text=True, diagonal_colour=None):
    """A matrix as squares, darker where the value is larger; the first row at the top.

    Args:
        matrix: (rows, columns) numbers, 0 or more; zeros are left empty.
        rows, columns: unique texts.
        tooltip: HTML with ``@row``, ``@column`` and ``@text``.
        format_value: function from a number to the text of the tooltip and the square.
        diagonal_colour: of the squares on the diagonal; None: ``colour``.
        with_text: write it into the squares where there are few rows.
    """
    rows, columns = [str(name) for name in rows], [str(name) for name in columns]
    at_row, at_column = np.nonzero(matrix)
    values = np.asarray(matrix, float)[at_row, at_column]
    strength = 0.18 + 0.82 * values / max(values.max(initial=0), 1e-9)
    data = {
        "row": [rows[i] for i in at_row], "column": [columns[i] for i in at_column], "strength": strength,
        "text": [format_value(value) for value in values],
        "colour": [diagonal_colour or colour if rows[i] == columns[j] else colour for i, j in zip(at_row, at_column, strict=True)],
    }  # fmt: skip
    height = int(min(max(130 + 30 * len(rows), 240), 720))
    drawn = new_figure(
        height=height, x_range=columns, y_range=rows[::-1], tools="hover", toolbar_location=None,
        x_axis_label=column_label, y_axis_label=row_label, x_axis_location="below",
    )  # fmt: skip
    drawn.hover.tooltips = tooltip
    drawn.rect("column", "row", 0.94, 0.94, source=data, fill_color="colour", fill_alpha="strength", line_color=None)
    if with_text and len(rows) <= 16:
        for is_strong in (True, False):
            chosen = strength > 0.6 if is_strong else strength <= 0.6
            texts = {name: [text for text, keep in zip(data[name], chosen, strict=True) if keep] for name in ("row", "column", "text")}
            style = {"text_align": "center", "text_baseline": "middle", "text_font_size": "12px", "text_font": {"value": _FONT}}
            drawn.text("column", "row", "text", source=texts, text_color="#ffffff" if is_strong else _AXIS, **style).glyph.tags = [] if is_strong else [INK]
    drawn.xaxis.major_label_orientation = 0.9
    drawn.grid.visible = False
    return drawn


def count_ticks(axis):
    """Whole numbers only on an axis of counts."""
    from bokeh.models import BasicTicker

    axis.ticker = BasicTicker(min_interval=1, mantissas=[1, 2, 5])


def legend_above(figure):
    """Move the legend of a figure above it, in one line."""
    legend = figure.legend[0]
    legend.orientation, legend.padding, legend.margin = "horizontal", 0, 0
    legend.border_line_color = None
    legend.background_fill_alpha = 0
    legend.click_policy = "hide"
    legend.label_text_font, legend.label_text_font_size = _FONT, "13px"
    legend.spacing = 14
    figure.add_layout(legend, "above")


def _style(figure):
    figure.background_fill_alpha = figure.border_fill_alpha = 0
    figure.outline_line_color = None
    for axis in figure.axis:
        axis.axis_label_text_font = axis.major_label_text_font = _FONT
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size, axis.major_label_text_font_size = "13px", "12px"
        axis.axis_label_text_color = axis.major_label_text_color = axis.axis_line_color = axis.major_tick_line_color = _AXIS
        axis.minor_tick_line_color = None
        axis.major_tick_out, axis.major_tick_in = 4, 0
    figure.grid.grid_line_alpha = 0.6
    return figure
