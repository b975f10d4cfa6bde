"""Pages and their tables and charts, without a browser."""

import base64
import hashlib
import json
import re

import numpy as np
import pandas as pd

from birdlib import stages
from birdlib.reports import charts, page, tables

ODD = """<b onmouseover="alert('x')"> & דרור 雀"""


def test_text_is_escaped_everywhere():
    body = page.join(tables.table(pd.DataFrame({"species": [ODD]}), caption=ODD), page.paragraph(ODD), page.picture(b"x", ODD), page.note(ODD))
    text = page.render(ODD, [page.Section("a", ODD, body)], subtitle=ODD, lead=page.cards([(ODD, ODD, ODD)]), footer=ODD)
    assert "<b onmouseover" not in text
    assert text.count("דרור 雀") >= 10


def test_a_page_forbids_requests_and_names_none():
    text = page.render("birds", [page.Section("a", "data", page.paragraph("x"))])
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)


def test_only_the_scripts_of_the_page_may_run():
    """The policy names each by the digest of its text (Content Security Policy Level 3, W3C); data for scripts is no script."""
    chart = charts.chart(charts.histogram([1.0, 2.0], label="duration (s)"), "durations")
    text = page.render("birds", [page.Section("a", "data", chart)], scripts=("player.js",))
    digests = re.findall(r"'sha256-([^']+)'", re.search(r"script-src ([^;]*)", text)[1])
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 3 and digests == [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert not re.search("script-src[^;]*unsafe", text)


def test_scripts_of_charts_are_inside_only_where_there_is_a_chart():
    chart = charts.chart(charts.histogram([1.0, 2.0, np.nan], label="duration (s)"), "durations")
    with_chart = page.render("birds", [page.Section("a", "data", chart)])
    without = page.render("birds", [page.Section("a", "data", page.paragraph("x"))])
    assert len(with_chart) - len(without) > 1e6
    assert "cdn.bokeh.org" not in with_chart


def test_a_section_that_fails_says_so_and_the_others_stay(capsys):
    def missing():
        raise stages.MissingStageError("07_classify/per_species.csv is missing")

    sections = [page.section("a", "species", missing), page.section("b", "sound", lambda: page.paragraph("fine")), page.section("c", "films", lambda: None)]
    text = page.render("birds", sections)
    assert "07_classify/per_species.csv is missing" in text and "fine" in text
    assert 'id="c"' not in text
    assert "species" in capsys.readouterr().err


def test_data_for_scripts_cannot_end_its_element():
    written = page.script_data({"name": "</script><script>alert(1)</script>"}, "names")
    content = re.fullmatch(r'<script type="application/json" id="names">(.*)</script>', written)[1]
    assert "<" not in content
    assert json.loads(content) == {"name": "</script><script>alert(1)</script>"}


def test_cells_are_sorted_by_value_and_read_as_text():
    table = pd.DataFrame({"species": ["a", "b"], "ap": [0.875, np.nan], "auc": [[0.9, 0.8, 0.95], [0.5, np.nan, np.nan]], "n": [1200, 3]})
    text = tables.table(table, [tables.Column("ap", "AP", "share"), "auc", "n", "not there"])
    assert re.findall(r'data-value="(.*?)"', text) == ["0.875", "0.9", "1200", "", "0.5", "3"]
    assert "0.90<span class=\"interval\"> [0.80, 0.95]</span>" in text
    assert "1\u202f200" in text and "--share: 88%" in text


def test_long_tables_say_where_the_rest_is():
    text = tables.table(pd.DataFrame({"path": [f"{i}.wav" for i in range(30)]}), max_rows=10, caption="Files.", where_all="skipped.parquet")
    assert text.count("<tr>") == 1 + 10
    assert "The first 10 of 30 rows; all are in skipped.parquet." in text


def test_a_table_without_rows_says_so():
    assert "There are no rows" in tables.table(pd.DataFrame({"path": []}), caption="Files.")


def test_intervals_and_heat_maps_hold_their_values():
    whole = charts.intervals(["a", "b"], [0.1, 0.2], [0.0, np.nan], [0.2, np.nan], label="AUC", reference=0)
    assert list(whole.y_range.factors) == ["b", "a"]
    heat = charts.heat_map(np.array([[2, 0], [1, 3]]), ["x", "y"], ["x", "y"], row_label="true", column_label="predicted")
    squares = heat.renderers[0].data_source.data
    assert list(zip(squares["row"], squares["column"], squares["text"], strict=True)) == [("x", "x", "2"), ("y", "x", "1"), ("y", "y", "3")]


def test_equal_labels_have_equal_colours():
    assert charts.colours(["b", "a", "b"]) == charts.colours(["a", "b"])
