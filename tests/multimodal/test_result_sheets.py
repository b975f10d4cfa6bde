import types

import numpy as np
import pandas as pd
import pytest
import soundfile
from matplotlib.colors import to_hex
from PIL import Image
from sounds import hiss

from birdlib.multimodal import result_sheets

GREEN, RED, DARK = "#2e7d32", "#d32f2f", "#333333"

WARNINGS = ("error::UserWarning", "error::RuntimeWarning")
pytestmark = [pytest.mark.usefixtures("drawn"), pytest.mark.filterwarnings(*WARNINGS)]


def card(title="wren", height=6, width=8, **changes):
    """A grey photo and half a second of hiss."""
    image = np.full((height, width, 3), 128, np.uint8)
    return {"title": title, "image": image, "waveform": hiss(0.5, 0.1, 16_000), "sample_rate_hz": 16_000} | changes


def answers(*are_right):
    """A query and what was found."""
    return [card("wren", is_right=None), *(card(f"tit\ncosine 0.{9 - i}", is_right=is_right) for i, is_right in enumerate(are_right))]  # fmt: skip


def titles(axes):
    return [photo.get_title().strip() for photo in axes[..., 0].flat]


def borders(axes):
    """Colour and line of the border of each card, which its photo and its sound share."""
    pairs = [[{(to_hex(s.get_edgecolor()), s.get_linestyle()) for s in ax.spines.values()} for ax in pair] for pair in axes.reshape(-1, 2)]  # fmt: skip
    assert all(photo == sound and len(photo) == 1 for photo, sound in pairs)
    return [photo.pop() for photo, _ in pairs]


def written(ax):
    return [text.get_text() for text in ax.texts]


def test_card_is_read_from_the_files_of_a_pair(tmp_path):
    """The second bird has a sound only: -1 stands for no photo."""
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "a.png")
    soundfile.write(tmp_path / "b.wav", np.zeros(800), 16_000)
    library = types.SimpleNamespace(
        photos=pd.DataFrame({"image_path": ["a.png"]}), sounds=pd.DataFrame({"audio_path": ["b.wav"]})
    )
    seen = result_sheets.card(library, {"species": "wren", "photo": 0, "sound": -1}, tmp_path)
    heard = result_sheets.card(library, {"species": "tit", "photo": -1, "sound": 0}, tmp_path, 0.456, is_right=False)
    assert seen["image"].shape == (4, 6, 3) and seen["waveform"] is None and seen["is_right"] is None
    assert heard["image"] is None and len(heard["waveform"]) == 800 and heard["sample_rate_hz"] == 16_000
    assert (seen["title"], heard["title"]) == ("wren", "tit\ncosine 0.46")
    assert result_sheets.retrieval_gallery([[seen, heard]]).shape == (1, 2, 2)


@pytest.mark.parametrize("n_triplets", [1, 3])
def test_triplet_is_a_row_of_anchor_positive_and_negative(n_triplets):
    axes = result_sheets.triplet_cards([[card(), card("wren\ncosine 0.83"), card("crow\ncosine 0.11")]] * n_triplets)
    assert axes.shape == (n_triplets, 3, 2) and len(axes[0, 0, 0].figure.axes) == 6 * n_triplets
    assert titles(axes) == ["anchor: wren", "positive: wren\ncosine 0.83", "negative: crow\ncosine 0.11"] * n_triplets
    assert [colour for colour, _ in borders(axes)] == [DARK, GREEN, RED] * n_triplets


def test_two_cards_are_not_a_triplet():
    with pytest.raises(ValueError, match="shorter"):
        result_sheets.triplet_cards([[card(), card()]])


def test_card_shows_the_photo_above_the_sound():
    photo, sound = result_sheets.triplet_cards([[card(), card(), card()]])[0, 0]
    assert photo.get_images()[0].get_array().shape == (6, 8, 3) and photo.get_aspect() == 1
    assert photo.get_position().y0 >= sound.get_position().y0
    assert sound.get_xlim() == (0, 0.5) and written(sound) == ["0.5 s, to 8 kHz"]


def test_absent_photo_and_sound_are_marked():
    blind = card(image=None)
    mute = card(waveform=None, sample_rate_hz=None)
    neither = card(image=None, waveform=None, sample_rate_hz=None)
    axes = result_sheets.triplet_cards([[blind, mute, neither]])[0]
    assert [written(photo) for photo in axes[:, 0]] == [["no photo"], [], ["no photo"]]
    assert [written(sound) for sound in axes[1:, 1]] == [["no sound"]] * 2
    assert [len(ax.get_images()) for ax in axes.flat] == [0, 1, 1, 0, 0, 0]


def test_cards_have_one_width_for_any_photo():
    axes = result_sheets.triplet_cards([[card(), card(height=40, width=5), card(height=5, width=40)]])
    axes[0, 0, 0].figure.canvas.draw()
    assert np.ptp([ax.get_position().width for ax in axes.flat]) == pytest.approx(0, abs=1e-6)


def test_right_answers_are_green_and_wrong_ones_red_and_dashed():
    axes = result_sheets.retrieval_gallery([answers(True, False, True, True, False)])
    assert axes.shape == (1, 6, 2) and titles(axes)[:2] == ["query: wren", "tit\ncosine 0.9"]
    right, wrong = (GREEN, "solid"), (RED, "dashed")
    assert borders(axes) == [(DARK, "solid"), right, wrong, right, right, wrong]


def test_numpy_bools_are_accepted():
    axes = result_sheets.retrieval_gallery([answers(np.True_, np.False_)])
    assert [colour for colour, _ in borders(axes)] == [DARK, GREEN, RED]


def test_short_rows_end_in_blank_space():
    axes = result_sheets.retrieval_gallery([answers(True, False), answers(True)])
    assert axes.shape == (2, 3, 2)
    assert [ax.axison for ax in axes[1].flat] == [True] * 4 + [False] * 2


def test_long_titles_are_wrapped():
    axes = result_sheets.retrieval_gallery([[card("Black-throated Green Warbler of the West\ncosine 0.42", is_right=True)]])
    assert titles(axes) == ["Black-throated Green Warbler\nof the West\ncosine 0.42"]


@pytest.mark.parametrize("draw", [result_sheets.triplet_cards, result_sheets.retrieval_gallery, result_sheets.match_cards])
def test_no_rows_give_an_empty_figure(draw):
    assert not any(ax.axison for ax in draw([]).flat)


# Matches


def match_card(is_right=True, levels=None, title="wren seen, crow heard: 93 %"):
    frames = np.stack([np.full((64, 64, 3), 30 * n, np.uint8) for n in range(8)])
    levels = np.random.default_rng(0).random((125, 128)).astype(np.float32) if levels is None else levels
    return {"title": title, "frames": frames, "spectrogram": levels, "is_right": is_right}


def test_frames_are_side_by_side_above_their_spectrogram():
    one = match_card()
    axes = result_sheets.match_cards([one])
    assert axes.shape == (1, 1, 2)
    strip, sound = (ax.get_images()[0].get_array() for ax in axes[0, 0])
    assert strip.shape == (64, 8 * 64, 3) and strip[0, ::64, 0].tolist() == [30 * n for n in range(8)]
    assert np.array_equal(sound, one["spectrogram"].T) and axes[0, 0, 1].get_images()[0].origin == "lower"
    assert titles(axes) == [one["title"]]


def test_right_predictions_are_green_and_wrong_ones_red_and_dashed():
    axes = result_sheets.match_cards([match_card(True), match_card(np.False_), match_card(True)])
    assert axes.shape == (2, 2, 2) and [ax.axison for ax in axes[1].flat] == [True, True, False, False]
    assert borders(axes)[:3] == [(GREEN, "solid"), (RED, "dashed"), (GREEN, "solid")]


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_constant_spectrogram_is_drawn(level):
    result_sheets.match_cards([match_card(levels=np.full((125, 128), level, np.float32))])
