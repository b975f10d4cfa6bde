"""Facts about people's text in figures."""

import logging

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from birdlib import figure_text, plots
from birdlib.individuals import plots as individual_plots
from birdlib.multimodal import result_sheets
from birdlib.species import plots as species_plots

ODD = ["Pay $5 and $6_x bird", "尖尾雨燕", 'Crow/Raven "black" <b>bold</b>', "_hidden", "{x} ^ \\alpha $\\frac{", "L" * 200, "🐦\u200d⬛"]
pytestmark = [pytest.mark.usefixtures("drawn"), pytest.mark.filterwarnings("error")]


@pytest.fixture
def without_fonts(monkeypatch):
    """No fallback font is installed, and none is in use from an earlier test."""
    monkeypatch.setattr(figure_text, "_installed", tuple)
    monkeypatch.setitem(plt.rcParams, "font.family", ["DejaVu Sans"])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Corvus corax", "Corvus corax"),
        ("Grünspecht", "Grünspecht"),
        ("_hidden", " _hidden"),
        ("Pay $5 and $6", r"Pay \$5 and \$6"),
        ("two\nlines\tand\x00more", "two lines and more"),
        ("a\u200bb\ufe0f", "ab"),
        ("bad \udcff.wav", r"bad \xff.wav"),
        (7, "7"),
        ("", ""),
    ],
)
def test_text_is_shown_as_it_is_meant(text, shown):
    assert plots.label_text(text) == shown


def test_the_middle_of_a_long_text_is_left_out():
    """Names of files often differ at their end."""
    shown = plots.label_text("begin" + "x" * 200 + "end")
    assert len(shown) == figure_text.MAX_LETTERS and shown.startswith("begin") and shown.endswith("end")
    assert plots.label_text("y" * 50, 100) == "y" * 50


def test_letters_without_a_glyph_are_named(without_fonts):
    assert plots.label_text("尖 a") == "U+5C16 a"


def test_a_letter_of_an_installed_fallback_font_is_written(monkeypatch):
    monkeypatch.setattr(figure_text, "_installed", lambda: ("made up",))
    monkeypatch.setattr(figure_text, "_code_points", lambda family: {ord("尖")} if family == "made up" else set(range(256)))
    assert plots.label_text("尖燕") == "尖U+71D5"


def test_fallback_fonts_follow_the_own_font(monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr(figure_text, "_installed", lambda: ("DejaVu Serif",))
    with plt.rc_context({"font.family": ["DejaVu Sans"]}):
        for _ in range(2):
            figure_text.use_fallback_fonts()
        assert plt.rcParams["font.family"] == ["DejaVu Sans", "DejaVu Serif"]


def a_balance():
    table = pd.DataFrame({"species": ODD * 2, "split": ["train"] * len(ODD) + ["test"] * len(ODD)})
    return plots.split_balance(table.assign(is_repeated=False))


def a_map():
    return plots.embedding_map(np.random.default_rng(0).random((len(ODD), 2)), ODD, title=ODD[0])


def per_species():
    return species_plots.per_species(pd.DataFrame({"species": ODD, "roc_auc": np.linspace(0.4, 1, len(ODD)), "n_positives": 2}))


def a_confusion():
    return species_plots.confusion(ODD, ODD[::-1], ODD)


def a_soundscape():
    probabilities = np.random.default_rng(0).random((3, len(ODD)))
    truth = np.eye(3, len(ODD))
    return plots.soundscape_timeline(np.zeros(16_000 * 15, np.float32), 16_000, probabilities, ODD, truth=truth, title=ODD[5])[1]


def provenance():
    return species_plots.label_provenance(pd.DataFrame({"label": ODD, "kind": "hard", "windows": 3}))


def an_ablation():
    rows = [{"part": "step", "name": "audio", "macro_auc": [np.nan] * 3, "verdict": "", "note": note} for note in ODD]
    return species_plots.ablation(pd.DataFrame(rows))


def a_timeline():
    summary = pd.DataFrame({"recording_id": ODD, "start_s": 0.0, "end_s": 2.0})
    return individual_plots.timeline(summary, np.arange(len(ODD)), ODD)


def counts():
    table = pd.DataFrame({"recording_id": ODD, "n": 1, "low": 0, "high": 2, "at_once": 1})
    return individual_plots.count_intervals(table, (2, 1, 3), {ODD[0]: 1})


def test_a_contact_sheet_names_films_of_any_name(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "crop.png")
    crops = pd.DataFrame({"recording_id": ODD, "time_s": 0.0, "path": "crop.png", "quality": 1.0})
    ax = individual_plots.contact_sheet(crops, np.arange(len(ODD)), tmp_path)
    assert [text.get_text() for text in ax.texts] == plots.label_texts(ODD)


def test_a_matrix_of_one_track_is_drawn():
    assert individual_plots.similarity_matrix(np.ones((1, 4)) / 2, [0]).get_title()


def cards():
    card = {"image": np.zeros((8, 8, 3), np.uint8), "waveform": None, "sample_rate_hz": None, "is_right": None}
    return result_sheets.retrieval_gallery([[card | {"title": f"{text}\ncosine 0.50"}] for text in ODD[:3]])[0, 0, 0]


def matched():
    card = {"frames": np.zeros((2, 8, 8, 3), np.uint8), "spectrogram": np.ones((9, 4), np.float32), "is_right": True}
    return result_sheets.match_cards([card | {"title": text} for text in ODD[:2]])[0, 0, 0]


FIGURES = [a_balance, a_map, per_species, a_confusion, a_soundscape, provenance, an_ablation, a_timeline, counts, cards, matched]


@pytest.mark.parametrize("draw", FIGURES, ids=lambda draw: draw.__name__)
def test_every_figure_is_drawn_with_any_text(draw, caplog):
    """No mathematics, no warning per glyph, and a size that can be looked at."""
    figure = draw().figure
    with caplog.at_level(logging.WARNING):
        figure.canvas.draw()
    assert not caplog.records
    assert max(figure.get_size_inches()) < 16
    _, _, width, height = figure.get_tightbbox().bounds
    assert width < 1.6 * figure.get_size_inches()[0] + 3 and height < 2 * figure.get_size_inches()[1] + 3


def test_a_label_with_a_leading_underscore_is_in_the_legend():
    ax = plots.embedding_map(np.arange(4.0).reshape(2, 2), ["_hidden", "seen"])
    assert [text.get_text().strip() for text in ax.get_legend().get_texts()] == ["_hidden", "seen"]
