"""Players: what they embed, where boxes lie, and what names may hold."""

import base64
import io
import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import soundfile
import sounds
from PIL import Image

from birdlib.audio import io as audio_io
from birdlib.reports import page, player_media, players

RATE_HZ = player_media.SAMPLE_RATE_HZ


def detection(start_s=1.0, end_s=2.0, species="robin", **columns):
    return {"start_s": start_s, "end_s": end_s, "species": species, "score": 0.8, "confidence": 0.8, "probability": np.nan} | columns


def table(*rows):
    return pd.DataFrame(list(rows) or [], columns=list(rows[0]) if rows else list(detection()))


@pytest.fixture
def recording(tmp_path):
    """Four seconds of hiss with a song at 4 kHz from 1 to 2 s."""
    waveform = sounds.hiss(4.0)
    waveform[sounds.RATE_HZ : 2 * sounds.RATE_HZ] += sounds.song(1.0)
    audio_io.write(tmp_path / "robin.wav", waveform, sounds.RATE_HZ)
    return tmp_path / "robin.wav"


def embedded(html, media_type):
    return [base64.b64decode(data) for data in re.findall(f"data:{media_type};base64,([A-Za-z0-9+/=]+)", html)]


def test_the_embedded_sound_is_that_part_of_the_recording(recording):
    """The song of 4 kHz fills the second half of the part from 0 to 2 s, and nothing of it is in the first."""
    (sound,) = embedded(players.player(recording, table(), 0.0, 2.0), "audio/mpeg")
    waveform, rate_hz = soundfile.read(io.BytesIO(sound))
    assert rate_hz == RATE_HZ
    assert len(waveform) / rate_hz == pytest.approx(2.0, abs=0.15)  # whole frames of MP3
    half = rate_hz
    assert np.abs(waveform[half + 1500 :]).max() > 10 * np.abs(waveform[: half - 1500]).max()


@pytest.mark.parametrize("encode", [player_media.mp3, player_media.ffmpeg_mp3])
def test_mp3_has_48_kbit_s(encode):
    waveform = sounds.hiss(5.0, sample_rate_hz=RATE_HZ)
    assert len(encode(waveform)) * 8 / 5.0 == pytest.approx(48_000, rel=0.05)


def test_quiet_recordings_are_made_louder_but_silence_stays():
    quiet = soundfile.read(io.BytesIO(player_media.mp3(0.01 * sounds.song(1.0, RATE_HZ))))[0]
    assert np.abs(quiet).max() == pytest.approx(0.016, rel=0.3)  # 0.2 * 0.01, times 8
    assert np.abs(soundfile.read(io.BytesIO(player_media.mp3(np.zeros(RATE_HZ, np.float32))))[0]).max() < 1e-4


def test_an_old_libsndfile_leaves_the_mp3_to_ffmpeg(monkeypatch):
    def refuse(*arguments, **options):
        raise TypeError("unexpected keyword argument 'compression_level'")

    waveform = sounds.song(1.0, RATE_HZ)
    monkeypatch.setattr(soundfile, "SoundFile", refuse)
    content = player_media.mp3(waveform)
    monkeypatch.undo()
    assert soundfile.info(io.BytesIO(content)).format == "MP3"


def test_the_spectrogram_is_dark_where_the_song_is(recording):
    html = players.player(recording, table(), 0.0, 4.0)
    (image,) = embedded(html, "image/webp")
    level = np.asarray(Image.open(io.BytesIO(image)).convert("L"))
    columns = level.shape[1]
    row = np.abs(player_media.row_hz() - 4000.0).argmin()
    song = level[row - 1 : row + 2, int(0.3 * columns) : int(0.45 * columns)].mean()
    assert song < 150 < level[:, int(0.6 * columns) :].mean()


def test_silence_is_white():
    assert player_media.spectrogram(np.zeros(RATE_HZ, np.float32)).min() == 255


def test_a_steady_hum_is_background():
    """A spectrogram shows levels above the background of each frequency."""
    time_s = np.arange(4 * RATE_HZ) / RATE_HZ
    hum = (0.3 * np.sin(2 * np.pi * 1000 * time_s)).astype(np.float32) + sounds.hiss(4.0, sample_rate_hz=RATE_HZ)
    image = player_media.spectrogram(hum)
    assert image[np.abs(player_media.row_hz() - 1000.0).argmin(), 20:-20].mean() > 200


def test_heights_are_those_of_rows():
    rows = player_media.row_hz()
    heights = [player_media.height(hz) for hz in rows]
    np.testing.assert_allclose(heights, np.linspace(1.0, 0.0, len(rows)), atol=1e-9)
    assert player_media.height(50.0) == 0.0 and player_media.height(20_000.0) == 1.0


def test_a_box_has_the_time_and_band_of_its_detection(recording):
    html = players.player(recording, table(detection(1.0, 2.0, low_hz=2000.0, high_hz=6000.0)), 0.0, 4.0)
    left, width, bottom, height = map(float, re.search(r'player-box" style="left:([\d.]+)%;width:([\d.]+)%;bottom:([\d.]+)%;height:([\d.]+)%', html).groups())
    assert (left, width) == (25.0, 25.0)
    assert bottom == pytest.approx(100 * player_media.height(2000.0), abs=0.1)
    assert bottom + height == pytest.approx(100 * player_media.height(6000.0), abs=0.1)


def test_a_detection_without_a_band_is_as_high_as_the_spectrogram(recording):
    assert re.search(r"bottom:0.0%;height:100.0%", players.player(recording, table(detection(low_hz=np.nan, high_hz=np.nan))))


def test_a_detection_is_a_button_with_name_and_confidence(recording):
    calibrated = players.player(recording, table(detection(common_name="European Robin", probability=0.87, confidence=0.87)))
    assert re.search(r'<button[^>]*aria-label="Play European Robin, probability 87.%, 1.0 to 2.0 s"', calibrated)
    assert re.search(r'aria-label="Play robin, confidence 0.80, 1.0 to 2.0 s"', players.player(recording, table(detection())))


def test_names_never_become_html(recording):
    html = players.player(recording, table(detection(common_name="<script>alert('\"&')</script>")), title="<b>\"x\" & 'y'</b>")
    assert "<script>" not in html and "<b>\"" not in html
    assert "&lt;script&gt;" in html and "&lt;b&gt;" in html


def test_names_that_would_overlap_are_in_rows_of_their_own(recording):
    rows = [detection(1.0, 2.0, name) for name in ("robin", "wren", "dunnock")] + [detection(3.2, 3.9, "robin")]
    lanes = re.findall(r"--lane:(\d+)", players.player(recording, table(*rows)))
    assert lanes == ["0", "1", "2", "0"]


def test_detections_outside_the_part_are_not_shown(recording):
    html = players.player(recording, table(detection(0.0, 0.5), detection(1.0, 2.0), detection(3.0, 4.0)), 0.8, 2.5)
    assert html.count('class="player-name"') == 1


def test_a_budget_is_charged_and_what_does_not_fit_is_listed(recording):
    budget = players.Budget(60_000)
    first = players.player(recording, table(), budget=budget)
    assert budget.spent == len(first.encode()) and not budget.left_out
    assert players.player(recording, table(), 1.0, 4.0, budget=budget) == ""
    assert budget.left_out == [(str(recording), 1.0, 4.0)]


def test_the_estimate_of_bytes_holds(recording):
    for end_s in (2.0, 4.0):
        assert len(players.player(recording, table(), 0.0, end_s)) == pytest.approx(player_media.estimated_bytes(end_s), rel=0.35)


def test_a_file_that_is_no_sound_says_so(tmp_path):
    (tmp_path / "x.wav").write_bytes(b"no sound")
    with pytest.raises(audio_io.AudioError, match="x.wav"):
        players.player(tmp_path / "x.wav", table())


def test_a_short_file_is_one_span_and_a_long_one_has_those_with_detections():
    rows = table(detection(100.0, 103.0), detection(106.0, 109.0), detection(500.0, 503.0), detection(599.0, 602.0))
    assert players.spans(rows, 30.0) == [(0.0, 30.0)]
    assert players.spans(rows, 600.0) == [(98.5, 110.5), (498.5, 504.5), (597.5, 600.0)]
    assert players.spans(table(), 600.0) == []


def test_spans_are_at_most_a_minute_and_never_overlap():
    rows = table(*(detection(start_s, start_s + 3.0) for start_s in np.arange(0.0, 300.0, 3.0)), detection(400.0, 500.0))
    spans = players.spans(rows, 600.0)
    assert all(0.0 < end_s - start_s <= players.MAX_SPAN_S for start_s, end_s in spans)
    assert all(first[1] <= second[0] for first, second in zip(spans, spans[1:], strict=False))


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_spans_are_read_as_the_whole_file_has_them(tmp_path, suffix):
    """An MP3 cannot seek to a sample and is decoded once, a WAV can."""
    waveform = np.concatenate([sounds.song(1.0, RATE_HZ), np.zeros(RATE_HZ, np.float32)] * 3)
    path = tmp_path / f"long.{suffix}"
    soundfile.write(path, waveform, RATE_HZ)
    spans = [(0.5, 1.0), (2.0, 3.5), (5.5, 6.0)]
    parts = list(player_media.read_spans(path, spans))
    whole = audio_io.read(path, RATE_HZ)[0]
    for part, (start_s, end_s) in zip(parts, spans, strict=True):
        np.testing.assert_allclose(part, whole[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)], atol=1e-4)


def test_memory_does_not_grow_with_the_length_of_a_file(tmp_path):
    """Ten minutes are 29 MB of float32 at 12 kHz; a part of two seconds from their end needs a small share of it."""
    path = tmp_path / "long.flac"
    audio_io.write(path, (sounds.hiss(1.0, sample_rate_hz=12_000) for _ in range(600)), 12_000)
    next(player_media.read_spans(path, [(0.0, 1.0)]))  # imports
    tracemalloc.start()
    list(player_media.read_spans(path, [(595.0, 597.0)]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


def test_pages_hold_all_players():
    assert players.pages(["<figure>1</figure>"]) == "&lt;figure&gt;1&lt;/figure&gt;"  # text is not HTML
    several = players.pages([page.markup("<figure>1</figure>"), "", page.markup("<figure>2</figure>")])
    assert "<figure>1</figure><figure>2</figure>" in several and "player-pages" in several


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0:00"), (9.96, "0:10"), (75.0, "1:15"), (54_000.0, "15:00:00")])
def test_clock(seconds, text):
    assert players.clock(seconds) == text


def test_clock_with_tenths():
    assert players.clock(61.25, precise=True) == "1:01.2" and players.clock(3599.97, precise=True) == "1:00:00.0"


def test_the_first_twelve_species_have_different_colours_and_the_others_share_them():
    shades = players.colours([str(number) for number in range(14)])
    assert len(set(list(shades.values())[:12])) == 12
    assert shades["12"] == shades["0"]
