"""Time jumps in films: synthetic packets, and films of which parts were moved."""

import warnings

import numpy as np
import pytest
from films_made import clicks, film, grey, levels, read_sound, steady, times
from odd_films import joined, shifted, with_tracks

from birdlib import runtime
from birdlib.video import io as video_io
from birdlib.video import timeline


def packets(*times_s, duration_s=0.1):
    return [(time_s, time_s, duration_s) for time_s in times_s]


STEADY = tuple(np.arange(20) / 10)
LATER = tuple(36_000 + np.arange(20) / 10)


def test_a_film_without_jumps_keeps_its_times():
    line = timeline.measure(packets(*STEADY), [packets(*STEADY)])
    assert line.jumps == [] and line.end_s == pytest.approx(2.0) and line.n_pictures == 20
    clock = timeline.Clock(line)
    assert [clock.shown_s(time_s) for time_s in STEADY] == list(STEADY)


def test_a_gap_is_closed():
    line = timeline.measure(packets(*STEADY, *LATER))
    assert line.jumps == [pytest.approx((2.0, 35_998.0))] and line.end_s == pytest.approx(4.0)
    clock = timeline.Clock(line)
    assert [clock.shown_s(time_s) for time_s in (*STEADY, *LATER)] == pytest.approx(np.arange(40) / 10)
    assert [line.raw_s(time_s) for time_s in (0.5, 2.5)] == pytest.approx([0.5, 36_000.5])


def test_the_pause_that_a_container_counts_to_the_picture_before_is_a_gap():
    """MP4 has no times, but durations: the last picture before a restart lasts until it."""
    rows = packets(*STEADY, *LATER)
    rows[19] = (1.9, 1.9, 35_998.1)
    assert timeline.measure(rows).end_s == pytest.approx(4.0)


def test_times_that_go_backwards_follow_at_once():
    line = timeline.measure(packets(*STEADY, *STEADY), [packets(*STEADY, *STEADY)])
    assert line.jumps == [pytest.approx((2.0, -2.0))] and line.end_s == pytest.approx(4.0)
    for is_sound in (False, True):
        clock = timeline.Clock(line, is_sound)
        assert [clock.shown_s(time_s) for time_s in (*STEADY, *STEADY)] == pytest.approx(np.arange(40) / 10)


def test_a_picture_that_stands_while_sound_goes_on_is_no_gap():
    sound = packets(*np.arange(0, 60, 0.1))
    assert timeline.measure(packets(0.0, 0.1, 0.2, 40.0), [sound]).jumps == []
    assert timeline.measure(packets(0.0, duration_s=60.0), [sound]).end_s == pytest.approx(60.0)


def test_slide_shows_have_long_pictures():
    line = timeline.measure(packets(0, 30, 60, 90, duration_s=30))
    assert line.jumps == [] and line.end_s == 120


@pytest.mark.parametrize("duration_s", [1e6, 1e15])
def test_no_picture_stands_for_days(duration_s):
    assert timeline.measure(packets(0.0, duration_s=duration_s)).end_s <= 60
    assert timeline.measure(packets(0.0, duration_s, duration_s=duration_s)).end_s <= 120


def test_no_picture():
    assert timeline.measure([], [packets(*STEADY)]).jumps == []


def test_any_times_give_shown_times_that_ascend_and_are_short():
    rng = np.random.default_rng(0)
    for _ in range(200):
        steps = rng.choice([0.04, 0.5, 20, 1e5, -30, -1e7], rng.integers(20, 60), p=[0.75] + [0.05] * 5)
        raw = np.concatenate([[0.0], np.cumsum(steps)])
        sound = np.cumsum(rng.choice([0.1, 0.1, 700, -50], 20)) + rng.normal()
        line = timeline.measure(packets(*raw, duration_s=0.04), [packets(*sound)])
        clock = timeline.Clock(line)
        shown = np.array([clock.shown_s(time_s) for time_s in raw])
        assert (np.diff(shown) > -1e-3).all() and shown[0] == 0
        assert shown[-1] <= line.end_s and line.end_s <= 600 * len(raw)


# Films


@pytest.mark.filterwarnings("ignore::birdlib.video.io.VideoWarning")
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
def test_a_camera_that_restarts_makes_no_hours_of_pictures(tmp_path, suffix):
    whole = steady(tmp_path / f"a.{suffix}", sound=None if suffix == "mp4" else clicks(0.5, 1.5))
    path = shifted(whole, tmp_path / f"b.{suffix}", 1.0, 36_000)
    with pytest.warns(video_io.VideoWarning, match=r"its times jump by 3[56],\d{3}\.\d s at 1.0 s"):
        shown = list(video_io.frames(path, rate_hz=10))
    assert levels(shown) == [k % 12 for k in range(20)] and times(shown) == pytest.approx(np.arange(20) / 10)
    found = video_io.probe(path)
    assert found.duration_s == pytest.approx(2.0, abs=0.11) and found.n_frames == 20 and found.frame_rate_hz == pytest.approx(10)
    assert levels(video_io.frames(path, 10, start_s=1.2)) == [k % 12 for k in range(12, 20)]
    assert levels(video_io.frames(path, 10, start_s=0.5, end_s=1.5)) == [k % 12 for k in range(5, 15)]


@pytest.mark.parametrize("kinds", [("video", "audio"), ("audio",), ("video",)])
def test_sound_stays_with_the_pictures_across_a_jump(tmp_path, kinds):
    whole = steady(tmp_path / "a.mkv", sound=clicks(0.25, 0.75, 1.25))
    path = shifted(whole, tmp_path / "b.mkv", 1.0, 36_000, kinds)
    waveform, rate_hz = read_sound(path)
    assert len(waveform) / rate_hz == pytest.approx(2.0, abs=0.05)
    assert np.flatnonzero(np.abs(waveform) > 0.5) / rate_hz == pytest.approx([0.25, 0.75, 1.25], abs=0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert times(video_io.frames(path)) == pytest.approx(np.arange(20) / 10, abs=0.05)


def test_films_joined_in_a_transport_stream_follow_each_other(tmp_path):
    """The times of the second begin anew; the sound of each lasts for one of its two seconds."""
    parts = [steady(tmp_path / f"{k}.ts", sound=clicks(0.5), codecs=("libx264", "mp2"), rate_hz=16_000) for k in range(2)]
    path = joined(tmp_path / "both.ts", *parts)
    with pytest.warns(video_io.VideoWarning, match="its times jump by -"):
        shown = list(video_io.frames(path, rate_hz=10))
    assert 38 <= len(shown) <= 41 and levels(shown)[25:35] == [k % 12 for k in range(5, 15)]
    waveform, rate_hz = read_sound(path)
    assert len(waveform) / rate_hz == pytest.approx(3.0, abs=0.1) and video_io.probe(path).duration_s == pytest.approx(4.0, abs=0.2)
    loud = np.flatnonzero(np.abs(waveform) > 0.2) / rate_hz
    assert loud.min() == pytest.approx(0.25, abs=0.05) and loud.max() == pytest.approx(2.25, abs=0.1)


def test_a_jump_is_noted_once(tmp_path):
    path = shifted(steady(tmp_path / "a.mkv", sound=clicks(0.5)), tmp_path / "b.mkv", 1.0, 600)
    with runtime.collect_warnings(path) as notes:
        list(video_io.frames(path))
        list(video_io.soundtrack(path))
    assert len(notes) == 1 and notes[0].startswith("its times jump")


# Sound tracks


def tone(level=0.3, n=16_000):
    return level * np.sin(np.arange(n) / 3)[None]


@pytest.mark.parametrize(("tracks", "default", "used"), [((0.1, 0.3), 0, 0), ((0.1, 0.3), 1, 1), ((0.0, 0.3), 0, 1), ((0.0, 0.0), 0, 0)])
def test_of_several_sound_tracks_the_default_one_is_used_unless_it_is_silent(tmp_path, tracks, default, used):
    path = with_tracks(tmp_path / "a.mkv", [tone(level) for level in tracks], default=default)
    with pytest.warns(video_io.VideoWarning, match=f"of 2 sound tracks number {used + 1} is used"):
        waveform, _ = read_sound(path)
    assert np.abs(waveform).max() == pytest.approx(tracks[used], abs=0.01) and len(waveform) == 16_000


def test_channels_that_cancel_each_other_leave_the_loudest(tmp_path):
    path = with_tracks(tmp_path / "a.mkv", [np.concatenate([tone(0.3), -tone(0.31)])])
    with pytest.warns(video_io.VideoWarning, match="channel 2 alone is used"):
        waveform, _ = read_sound(path)
    assert np.abs(waveform).max() == pytest.approx(0.31, abs=0.01)


# Pictures


@pytest.mark.parametrize(("width", "height"), [(2, 2), (2, 48), (63, 47), (1920, 2)])
def test_films_of_any_size_are_read(tmp_path, width, height):
    import av

    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        picture = container.add_stream("ffv1", rate=10)
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv444p"
        for level in (10, 30, 50):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(np.full((height, width, 3), level, np.uint8), format="rgb24")))
        container.mux(picture.encode())
    shown = list(video_io.frames(tmp_path / "a.mkv"))
    assert levels(shown) == [0, 1, 2] and shown[0][1].shape == (height, width, 3)


def test_ten_bits_are_scaled_to_8(tmp_path):
    import av

    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        picture = container.add_stream("ffv1", rate=10)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p10le"
        for level in (10, 30, 50):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")
            container.mux(picture.encode(frame.reformat(format="yuv420p10le")))
        container.mux(picture.encode())
    assert levels(video_io.frames(tmp_path / "a.mkv")) == [0, 1, 2]


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_probe_agrees_with_the_pictures(tmp_path, suffix):
    """Of one picture, of a varying rate, and cut off."""
    for name, times_ms in (("one", (0,)), ("varying", (0, 250, 300, 1000, 1050)), ("steady", range(0, 2000, 100))):
        path = film(tmp_path / f"{name}.{suffix}", grey(len(times_ms)), times_ms)
        shown = list(video_io.frames(path, rate_hz=20))
        assert video_io.probe(path).duration_s == pytest.approx(len(shown) / 20, abs=0.15)


def test_probe_tells_what_is_left_of_a_truncated_film(tmp_path):
    path = steady(tmp_path / "a.mkv", 200)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(video_io.VideoWarning, match=r"it ends (9|10)\.\d s before its header says"):
        assert video_io.probe(path).duration_s == pytest.approx(times(video_io.frames(path))[-1], abs=0.3)


@pytest.mark.parametrize("error", [ValueError, UnicodeError, OverflowError, ZeroDivisionError, MemoryError, TypeError])
def test_whatever_a_decoder_raises_names_the_film(tmp_path, monkeypatch, error):
    path = steady(tmp_path / "a.mp4")

    def fail(*_):
        raise error("at byte 7")

    monkeypatch.setattr(video_io, "_upright", fail)
    with pytest.raises(video_io.VideoError, match=r"a.mp4: cannot be decoded \(at byte 7\): copy it again"):
        list(video_io.frames(path))


def test_a_folder_is_named_as_one(tmp_path):
    for function in (video_io.probe, lambda path: list(video_io.frames(path)), lambda path: list(video_io.soundtrack(path))):
        with pytest.raises(video_io.VideoError, match="is a folder"):
            function(tmp_path)
