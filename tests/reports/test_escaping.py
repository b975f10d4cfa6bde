"""Texts of others in reports are texts: a label, file name, id, note or licence that is HTML is shown, and makes no element."""

import html.parser

import browser
import made_analyses
import made_run
import pandas as pd
import pytest
from made_analyses import detection, file

from birdlib import runtime
from birdlib.audio import clips
from birdlib.reports import analysis_page, overview, run_report

ATTACK = """"'><script id=attack>alert(1)</script><img id=attack src=x onerror=alert(1)>{{attack}}"""
FILE_NAME = """<img id=attack src=x onerror=alert(1)>"' & attack"""  # without a slash
FREE_TEXT = {"individual_id", "group_id", "note", "reason", "source", "licence", "attribution", "why", "path", "scientific_name", "common_name", "bird", "name"}


class Elements(html.parser.HTMLParser):
    """The attributes of all elements of a page, and how often the attack is text or a value."""

    def __init__(self, text):
        super().__init__()
        self.attributes, self.n_shown = [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.attributes.append(dict(attrs))
        self.n_shown += sum("onerror=alert(1)" in (value or "") for value in dict(attrs).values())

    def handle_data(self, data):
        self.n_shown += data.count("onerror=alert(1)")


def shows_texts_only(path, n_least):
    found = Elements(path.read_text(encoding="utf-8"))
    assert [attributes for attributes in found.attributes if attributes.get("id") == "attack" or any(name.startswith("on") for name in attributes)] == []
    assert found.n_shown >= n_least


def poison(outputs, columns):
    """Write the attack into every cell of some columns of the tables of a run, behind what is there; returns how many."""
    n = 0
    for path in sorted([*outputs.glob("*/*.parquet"), *outputs.glob("*/*.csv")]):
        if path.name.startswith("."):
            continue
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, keep_default_na=False)
        for column in columns & set(table):
            table[column] = table[column].astype(str) + ATTACK
            n += len(table)
        runtime.write_table(table, path)
    return n


def poisoned_run(folder, media):
    outputs = made_run.make(folder, (ATTACK, "wren", f"{ATTACK} 2"), media=media)
    assert poison(outputs, FREE_TEXT - {"path"} if media else FREE_TEXT) > 50  # media are found by their paths
    return outputs


def poisoned_analysis(folder):
    path = made_analyses.recording(folder / f"{FILE_NAME}.wav", 4.0)
    rows = [detection(path, species=ATTACK, common_name=ATTACK, individual=ATTACK, note=ATTACK, site=ATTACK)]
    files = [file(path, 4.0, site=ATTACK, note=ATTACK, model=ATTACK)]
    skipped = pd.DataFrame([{"path": ATTACK, "reason": ATTACK}])
    about = {"model": {"name": ATTACK, "licence": ATTACK}, "settings": {ATTACK: ATTACK, "min_confidence": 0.25}, "versions": {"birdlib": ATTACK}}
    return made_analyses.write(folder / "analysis", files, rows, about=about, skipped=skipped)


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(overview, "write", lambda outputs, run: None)
    monkeypatch.setattr(clips, "layout", lambda vectors, seed: vectors[:, :2])


def test_in_the_report_of_a_run(tmp_path):
    shows_texts_only(run_report.write(poisoned_run(tmp_path, media=False)), n_least=50)


def test_in_the_page_of_an_analysis(tmp_path):
    shows_texts_only(analysis_page.write(poisoned_analysis(tmp_path), progress=False), n_least=10)


@pytest.mark.slow
def test_scripts_of_pages_make_no_elements_of_texts_either(tmp_path):
    """Charts and players are drawn by scripts; what they make of a text that is HTML would want to run a script, and the policy would say so."""
    pages = [run_report.write(poisoned_run(tmp_path / "run", media=True)), analysis_page.write(poisoned_analysis(tmp_path), progress=False)]
    with browser.launch() as chromium:
        for path in pages:
            with browser.visit(chromium, path) as opened:
                page = opened.page
                for tab in page.get_by_role("tab").all():
                    tab.click()
                    page.evaluate("birdlib.charts.drawAll()")
                    for chart in page.locator("section:visible [data-chart]:visible").all():
                        chart.scroll_into_view_if_needed()
                        box = chart.bounding_box()
                        for share in (0.2, 0.4, 0.6, 0.8):  # over points, bars and squares, whose tooltips are HTML
                            page.mouse.move(box["x"] + share * box["width"], box["y"] + share * box["height"])
                assert page.locator("#attack").count() == 0
                assert opened.problems == [] and opened.requests == []
