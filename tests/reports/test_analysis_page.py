"""The page of an analysis: what it says, what it holds and what it leaves out."""

import os
import re
import tracemalloc

import made_analyses as made
import media
import numpy as np
import pandas as pd
import pytest
from made_analyses import detection, file

from birdlib import runtime
from birdlib.audio import io as audio_io
from birdlib.reports import analysis_data, analysis_page, analysis_recordings, players

NARROW = "\N{NARROW NO-BREAK SPACE}"
ODD = """<b onmouseover="alert('x')">&רונית 雀"""


def page_of(folder, **options):
    return analysis_page.write(folder, progress=False, **options).read_text(encoding="utf-8")


def words(html):
    """Text of a page without tags, scripts and styles."""
    html = re.sub(r"<(script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", "", html).replace(NARROW, " ").split())


def section(html, name):
    return re.search(f'<section id="{name}".*?</section>', html, re.DOTALL)[0]


@pytest.fixture
def song(tmp_path):
    return made.recording(tmp_path / "wood.wav", 8.0)


def test_the_first_sentences_answer(tmp_path, song):
    rows = [detection(song, 1.0, 2.0), detection(song, 3.0, 4.0), detection(song, 5.0, 6.0, "wren", common_name="Eurasian Wren")]
    skipped = pd.DataFrame({"path": ["broken.wav"], "reason": ["is empty (0 bytes)"]})
    text = words(page_of(made.write(tmp_path / "a", [file(song, 8.0)], rows, skipped=skipped)))
    assert "Birds in 1 recording" in text
    assert "In 1 file of 8.0 s altogether, 3 detections of 2 species were found at a confidence of 0.25 or more." in text
    assert "They were robin (2 detections) and Eurasian Wren (1 detection)." in text
    assert "1 file could not be used as it is." in text and "is empty (0 bytes)" in text


def test_confidence_is_a_probability_only_where_it_is_calibrated(tmp_path, song):
    raw = words(page_of(made.write(tmp_path / "raw", [file(song, 8.0)], [detection(song)])))
    assert "not a probability" in raw and "best confidence" in raw and "expected correct" not in raw
    rows = [detection(song, 1.0, 2.0, probability=0.9, confidence=0.9), detection(song, 3.0, 4.0, probability=0.6, confidence=0.6)]
    calibrated = words(page_of(made.write(tmp_path / "calibrated", [file(song, 8.0)], rows)))
    assert "about 2 of them are expected to be correct" in calibrated  # 0.9 + 0.6
    one = page_of(made.write(tmp_path / "one", [file(song, 8.0)], [detection(song, probability=0.9, confidence=0.9)]))
    assert "about 1 of them is expected to be correct" in words(one) and ">detection<" in one
    assert "best probability" in calibrated and "not a probability" not in calibrated
    assert f"90{NARROW}%".replace(NARROW, " ") in calibrated


def test_one_row_without_calibration_makes_all_of_it_confidence(tmp_path, song):
    rows = [detection(song, 1.0, 2.0, probability=0.9), detection(song, 3.0, 4.0)]
    assert not analysis_data.read(made.write(tmp_path / "a", [file(song, 8.0)], rows)).is_calibrated


def test_an_analysis_without_detections_says_what_to_do_and_can_be_listened_to(tmp_path, song):
    html = page_of(made.write(tmp_path / "a", [file(song, 8.0)]))
    assert "no bird was detected" in words(html) and "--min-confidence" in words(html)
    assert html.count('class="player"') == 1
    assert 'id="activity"' not in html and 'id="examples"' not in html


def test_an_analysis_without_files(tmp_path):
    skipped = pd.DataFrame({"path": ["a.wav"], "reason": ["is empty"]})
    assert "Birds in no recordings" in words(page_of(made.write(tmp_path / "a", [], skipped=skipped)))


def test_a_folder_without_an_analysis_is_named(tmp_path):
    with pytest.raises(analysis_data.MissingAnalysisError, match="detections.csv.*analyse"):
        analysis_page.write(tmp_path)


def test_names_never_become_html(tmp_path, song):
    rows = [detection(song, species=ODD, common_name=ODD, scientific_name=ODD, site=ODD)]
    skipped = pd.DataFrame({"path": [ODD], "reason": [ODD]})
    files = [file(song, 8.0, site=ODD, note=ODD), file(tmp_path / f"{ODD.replace('/', '')}.wav", site="b")]
    html = page_of(made.write(tmp_path / "a", files, rows, about={"model": {"name": ODD}, "settings": {ODD: ODD}, "citation": ODD}, skipped=skipped))
    assert "<b onmouseover" not in html
    assert "רונית 雀" in words(html)


def test_the_page_names_no_address(tmp_path, song):
    html = page_of(made.write(tmp_path / "a", [file(song, 8.0)], [detection(song)]))
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", html)
    assert "default-src 'none'" in html and "cdn" not in html


def test_a_moved_file_is_named_and_the_rest_is_shown(tmp_path, song):
    rows = [detection(tmp_path / "gone.wav"), detection(song)]
    html = page_of(made.write(tmp_path / "a", [file(tmp_path / "gone.wav"), file(song, 8.0)], rows))
    assert f"The file is no longer at {tmp_path / 'gone.wav'}" in words(html)
    assert "1 file is no longer where it was analysed" in words(html)
    assert section(html, "recordings").count('class="player"') == 1


def test_relative_paths_are_found_from_the_folder_of_the_call(tmp_path, song, monkeypatch):
    folder = made.write(tmp_path / "a", [file("wood.wav", 8.0)], [detection("wood.wav")], about={"working_folder": str(tmp_path)})
    monkeypatch.chdir(tmp_path / "a")
    assert section(page_of(folder), "recordings").count('class="player"') == 1


def test_a_name_that_is_no_text_is_found_again(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe9.wav")
    try:
        made.recording(tmp_path / "x.wav").rename(path)
    except OSError:
        pytest.skip("this file system has names of text only")
    shown = runtime.printable(path)
    html = page_of(made.write(tmp_path / "a", [file(shown)], [detection(shown)]))
    assert section(html, "recordings").count('class="player"') == 1 and "\\xff\\xe9.wav" in words(html)


def test_a_recording_of_unknown_length_is_shown_to_its_last_detection(tmp_path, song):
    html = page_of(made.write(tmp_path / "a", [file(song, np.nan)], [detection(song, 1.0, 3.0)]))
    assert 'id="recording-1-0" data-start="0.000" data-end="3.000"' in html


def test_settings_are_words_where_a_number_stands_for_something_else(tmp_path):
    settings = {"week": -1, "gap_s": -1.0, "overlap_s": -1.0, "min_confidence": None}
    text = words(section(page_of(made.write(tmp_path / "a", [file("a.wav")], about={"settings": settings})), "method"))
    assert "week of the year, 1 to 48the whole year" in text and "gaps that are bridged (s)none: a detection is a window" in text and "overlap of windows (s)-1" in text


def test_damaged_settings_are_named(tmp_path):
    folder = made.write(tmp_path / "a", [file("a.wav")])
    (folder / "analysis.json").write_text("{", encoding="utf-8")
    with pytest.raises(analysis_data.MissingAnalysisError, match="analysis.json is damaged"):
        analysis_page.write(folder)


def test_a_film_without_sound_has_its_note_and_no_player(tmp_path):
    media.film(tmp_path / "silent.mp4", [30, 60, 90])
    html = page_of(made.write(tmp_path / "a", [file(tmp_path / "silent.mp4", 0.3, media="film", note="holds no sound")]))
    assert "Birds in 1 film" in words(html) and "holds no sound" in words(html)
    assert "<audio" not in html


def test_of_many_files_those_with_the_most_detections_are_shown(tmp_path, song):
    """10,000 files: the page shows 200 and links the tables, by relative addresses."""
    files = [file(song, 8.0), *(file(tmp_path / f"{number}.wav") for number in range(10_000))]
    rows = [detection(tmp_path / "9999.wav", start_s, start_s + 0.5) for start_s in (0.0, 1.0)] + [detection(song)]
    html = page_of(made.write(tmp_path / "a", files, rows))
    assert html.count('<details id="recording-') == 200
    assert re.search(r'id="recording-1" .*?9999\.wav', html, re.DOTALL)
    assert "The 200 of 10 001 files with the most detections; all are in" in words(html)
    assert 'href="files.csv"' in html and 'href="detections.csv"' in html
    assert len(html) < 1_500_000


def test_the_page_stays_below_its_bytes_and_says_what_is_outside(tmp_path):
    song = made.recording(tmp_path / "long.wav", 80.0)
    rows = [detection(song, start_s, start_s + 1.0) for start_s in range(0, 80, 2)]
    folder = made.write(tmp_path / "a", [file(song, 80.0)], rows)
    small, large = page_of(folder, max_bytes=500_000), page_of(folder, max_bytes=2_000_000)
    assert len(small.encode()) < 500_000 < len(large.encode()) < 2_000_000
    n_outside = int(re.search(r">(\d+) detections of this recording are outside", small)[1])
    n_shown = section(small, "recordings").count('class="player-name"')
    assert 0 < n_outside <= 40 - n_shown + 2  # a call may lie in two players
    assert "are outside" not in words(large)


def test_recordings_without_room_are_counted(tmp_path):
    paths = [made.recording(tmp_path / f"{number}.wav", 12.0) for number in range(4)]
    rows = [detection(path, 3.0, 9.0) for path in paths]
    html = page_of(made.write(tmp_path / "a", [file(path, 12.0) for path in paths], rows), max_bytes=430_000)
    n_without = int(re.search(r"the page holds no sound of (\d) of them", words(html))[1])
    assert 0 < n_without == 4 - section(html, "recordings").count('class="player"')


def test_every_recording_has_a_player_before_one_has_two(tmp_path):
    paths = [made.recording(tmp_path / f"{number}.wav", 70.0) for number in range(3)]
    rows = [detection(path, start_s, start_s + 3.0) for path in paths for start_s in (10.0, 30.0, 50.0)]
    html = page_of(made.write(tmp_path / "a", [file(path, 70.0) for path in paths], rows), max_bytes=450_000)
    assert "holds no sound of" not in words(html)
    for number in (1, 2, 3):
        assert f'id="recording-{number}-' in html
    assert section(html, "recordings").count('class="player"') < 9


def test_a_long_recording_has_pages_and_a_timeline(tmp_path):
    song = made.recording(tmp_path / "long.wav", 200.0)
    html = page_of(made.write(tmp_path / "a", [file(song, 200.0)], [detection(song, 10.0, 12.0), detection(song, 150.0, 153.0, "wren")]))
    part = section(html, "recordings")
    assert part.count('class="player"') == 2 and 'class="player-pages"' in part
    assert re.findall(r'data-start="([\d.]+)" data-end="([\d.]+)"><', part) == [("8.500", "13.500"), ("148.500", "154.500")]
    assert re.findall(r'<path d="(.*?)"', part) == ["M12 1V0.5H13V1ZM13 1V0H15V1Z", "M187 1V0.5H188V1ZM188 1V0H191V1ZM191 1V0.75H192V1Z"]  # 250 marks over 200 s


@pytest.mark.parametrize(
    ("spans", "shares"),
    [([], [0, 0, 0, 0]), ([(0, 10)], [1, 0, 0, 0]), ([(5, 25)], [0.5, 1, 0.5, 0]), ([(38, 40), (1, 2), (3, 4)], [0.2, 0, 0, 0.2])],
)  # fmt: skip
def test_the_timeline_shows_how_much_of_each_moment_is_covered(spans, shares):
    starts, ends = np.array(spans, float).reshape(-1, 2).T
    np.testing.assert_allclose(analysis_recordings.covered(starts, ends, 40.0, n_bins=4), shares, atol=1e-9)


def test_memory_does_not_grow_with_the_recording(tmp_path):
    """An hour at 8 kHz is 115 MB of float32; the page reads the parts with detections."""
    song = tmp_path / "long.flac"
    hiss = np.random.default_rng(0).standard_normal(8000).astype(np.float32) * 0.003
    audio_io.write(song, (hiss for _ in range(3600)), 8000)
    folder = made.write(tmp_path / "a", [file(song, 3600.0)], [detection(song, 3500.0, 3503.0), detection(song, 100.0, 103.0)])
    tracemalloc.start()
    page_of(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_a_damaged_recording_does_not_cost_the_page(tmp_path, song):
    (tmp_path / "broken.wav").write_bytes(b"RIFF, but no sound")
    html = page_of(made.write(tmp_path / "a", [file(tmp_path / "broken.wav"), file(song, 8.0)], [detection(tmp_path / "broken.wav"), detection(song)]))
    assert "Its sound cannot be shown: is not audio that can be read" in words(html)
    assert section(html, "recordings").count('class="player"') == 1


def test_the_best_example_of_a_species_is_played_by_its_row(tmp_path, song):
    rows = [detection(song, 1.0, 2.0, confidence=0.5), detection(song, 5.0, 6.0, confidence=0.9), detection(song, 3.0, 4.0, "wren")]
    html = page_of(made.write(tmp_path / "a", [file(song, 8.0)], rows))
    assert re.search(r'data-player="example-0" data-from="5.000" data-to="6.000"', section(html, "species"))
    assert section(html, "examples").count("<audio") == 2
    assert 'id="example-0" data-start="4.000" data-end="7.000"' in html


def test_an_example_is_of_a_file_that_is_there(tmp_path, song):
    rows = [*(detection(tmp_path / f"gone_{number}.wav", confidence=0.9) for number in range(20)), detection(song, 5.0, 6.0, confidence=0.5)]
    html = page_of(made.write(tmp_path / "a", [file(song, 8.0)], rows))
    assert 'id="example-0" data-start="4.000"' in html


def test_species_that_the_location_model_does_not_expect_are_named(tmp_path, song):
    rows = [detection(song, occurrence=0.9), detection(song, 3.0, 4.0, "penguin", occurrence=0.001)]
    assert "does not expect penguin there" in words(page_of(made.write(tmp_path / "a", [file(song, 8.0)], rows)))


def test_no_clock_time_is_said(tmp_path, song):
    text = words(page_of(made.write(tmp_path / "a", [file(song, 8.0)], [detection(song)])))
    assert "No file says when it was recorded" in text and "Hour of the day" not in text


def test_films_have_their_count_and_the_annotated_film(tmp_path):
    folder = made.write(
        tmp_path / "a", [file(tmp_path / "gulls.mp4", 2.0, media="film")],
        counts=pd.DataFrame({
            "path": ["gulls.mp4", "pond.mp4"], "n": [7, 1], "low": [5, 1], "high": [9, 1], "at_once": [6, 1], "n_tracks": [12, 1], "annotated": ["annotated/gulls.mp4", ""],
            "method": ["density", "tracks"], "certainty": ["uncertain", "certain"],
        }),
    )  # fmt: skip
    (folder / "annotated").mkdir()
    media.film(folder / "annotated/gulls.mp4", [30, 60, 90, 120])
    html = page_of(folder)
    text = words(section(html, "films"))
    assert "7 individuals, 90 % interval 5 to 9; at most 6 in one frame; uncertain. Counted by the boxes of single frames" in text and "7 [5, 9]" in text
    assert "1 individual; at most 1 in one frame; certain. There is no annotated film of it." in text
    assert html.count('src="data:video/mp4;base64,') == 1 and 'href="annotated/gulls.mp4"' in html
    assert "The 2 films show 1 to 7 individuals each (90 % intervals from 1 to 9)." in words(html)


def test_films_without_birds_say_so(tmp_path):
    counts = pd.DataFrame({"path": ["lawn.mp4"], "n": [0], "low": [0], "high": [0], "at_once": [0], "n_tracks": [0], "annotated": [""]})
    text = words(page_of(made.write(tmp_path / "a", [file("lawn.mp4", media="film")], counts=counts)))
    assert "No bird was found in the film." in text and "No bird was found in it." in text


def test_a_film_that_is_too_large_for_the_page_is_linked(tmp_path):
    counts = pd.DataFrame({"path": ["gulls.mp4"], "n": [7], "low": [5], "high": [9], "at_once": [6], "n_tracks": [12], "annotated": ["annotated/gulls.mp4"]})
    folder = made.write(tmp_path / "a", [file("gulls.mp4", media="film")], counts=counts)
    (folder / "annotated").mkdir()
    media.film(folder / "annotated/gulls.mp4", [30, 60, 90, 120])
    html = page_of(folder, max_bytes=1000)
    assert "data:video/mp4" not in html and 'href="annotated/gulls.mp4"' in html


@pytest.mark.parametrize(("hours", "text"), [([5, 6, 7, 18, 6], "5–7, 18 h"), ([], ""), ([0], "0 h")])
def test_hours_are_written_as_ranges(hours, text):
    assert analysis_page.hours_text(hours) == text


def test_one_colour_means_one_species_in_the_whole_page(tmp_path, song):
    rows = [detection(song, 1.0, 2.0, "robin"), detection(song, 3.0, 4.0, "wren"), detection(song, 5.0, 6.0, "wren")]
    folder = made.write(tmp_path / "a", [file(song, 8.0)], rows)
    shades = players.colours(["wren", "robin"])
    assert set(re.findall(r'--colour:(#\w+)"[^>]*aria-label="Play (\w+)', page_of(folder))) == {(colour, name) for name, colour in shades.items()}
    assert analysis_data.read(folder).colours == shades
