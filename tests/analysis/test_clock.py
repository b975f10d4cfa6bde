"""Time, place and site of a recording, from what its recorder wrote into it, its name and its folder."""

import math
from datetime import date

import av
import guano
import numpy as np
import pandas as pd
import pytest
import soundfile
import wav_chunks

from birdlib.analysis import clock

SIX_TEN = pd.Timestamp("2025-04-14 06:10:00")


def guano_wav(path, **fields):
    return wav_chunks.write(path, [], [(b"guan", wav_chunks.guano(**fields))])


def container(path, codec="flac", form=None, *, rate_hz=32_000, **tags):
    """A tenth of a second of silence with tags."""
    with av.open(str(path), "w", format=form, options={"movflags": "use_metadata_tags"} if path.suffix.lower() in (".mp4", ".mov", ".m4a") else {}) as file:
        file.metadata.update({name.replace("__", "."): text for name, text in tags.items()})
        stream = file.add_stream(codec, rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, rate_hz // 10), np.float32), "fltp", "mono")
        frame.sample_rate = rate_hz
        resampler = av.AudioResampler(stream.codec_context.format.name, "mono", rate_hz, frame_size=stream.codec_context.frame_size or 1024)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            file.mux(stream.encode(part))
    return path


def test_guano_has_time_zone_place_and_site(tmp_path):
    path = guano_wav(tmp_path / "a.wav", Timestamp="2025-04-14T06:10:00+02:00", Loc_Position="52.5 -13.4", **{"NABat|Site Name": "North pond"})
    found = clock.read(path)
    assert found == (SIX_TEN, 52.5, -13.4, "North pond", "time: GUANO; location: GUANO; site: GUANO", date(2025, 4, 14), 2.0)


def test_a_file_that_the_package_of_guano_wrote_is_read(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(800), 8000)
    written = guano.GuanoFile(str(path))
    written["Timestamp"], written["Loc Position"] = SIX_TEN.to_pydatetime().replace(tzinfo=guano.tzoffset("-07:00")), (-33.5, 151.25)
    written["WA", "Song Meter|Prefix"] = "POND"
    written.write(make_backup=False)
    found = clock.read(path)
    assert found[:4] == (SIX_TEN, -33.5, 151.25, "POND") and found.utc_offset_h == -7


@pytest.mark.parametrize(
    ("text", "offset_h"), [("2025-04-14 06:10:00", None), ("2025-04-14T06:10:00Z", 0), ("2025-04-14T06:10:00.5-03:30", -3.5), ("2025-04-14T06:10:00.123456+10:00", 10)]
)
def test_timestamps_of_guano_are_kept_as_written(tmp_path, text, offset_h):
    found = clock.read(guano_wav(tmp_path / "a.wav", Timestamp=text))
    assert found.recorded_at == SIX_TEN and (found.utc_offset_h == offset_h or (offset_h is None and math.isnan(found.utc_offset_h)))


def test_guano_of_a_float_wav_with_a_broken_line_is_read(tmp_path):
    content = b"GUANO|Version: 1.0\nno colon\nTimestamp: 2025-04-14T06:10:00\nLoc Position: north\nNote: \xe4\n"
    path = wav_chunks.write(tmp_path / "a.wav", [(b"guan", content)], fmt=wav_chunks.sample_format(3, 32))
    found = clock.read(path)
    assert found.recorded_at == SIX_TEN and math.isnan(found.latitude)


@pytest.mark.parametrize(
    ("zone", "offset_h"), [(" (UTC)", 0), ("", 0), (" (UTC+2)", 2), (" (UTC-6)", -6), (" (UTC+5:30)", 5.5), (" (UTC-0:30)", -0.5)]
)
def test_the_comment_of_an_audiomoth(tmp_path, zone, offset_h):
    text = f"Recorded at 06:10:00 14/04/2025{zone} by AudioMoth 24F3190361DA3578 at medium gain while battery was 4.2V and temperature was 13.3C."
    found = clock.read(wav_chunks.write(tmp_path / "a.wav", [(b"LIST", wav_chunks.info(ICMT=text))]))
    assert (found.recorded_at, found.utc_offset_h) == (SIX_TEN, offset_h) and found.source.startswith("time: AudioMoth comment")


@pytest.mark.parametrize(
    ("gps", "place"),
    [("WGS84, 42.3601, N, 71.0589, W, 12", (42.3601, -71.0589)), ("WGS84, 33.9, S, 151.2, E", (-33.9, 151.2)), ("WGS84,-33.9,151.2,7", (-33.9, 151.2)), ("WGS84", None)],
)
def test_the_metadata_of_a_song_meter(tmp_path, gps, place):
    content = wav_chunks.wamd(prefix="POND", time="2025-04-14 06:10:00-05:00", gps=gps)
    found = clock.read(wav_chunks.write(tmp_path / "a.wav", [(b"wamd", content)]))
    assert (found.recorded_at, found.utc_offset_h, found.site) == (SIX_TEN, -5, "POND")
    assert (found.latitude, found.longitude) == place if place else math.isnan(found.latitude)


def test_a_broadcast_wave_has_date_and_time(tmp_path):
    found = clock.read(wav_chunks.write(tmp_path / "a.wav", [(b"bext", wav_chunks.bext("2025-04-14", "06:10:00"))]))
    assert found.recorded_at == SIX_TEN and math.isnan(found.utc_offset_h)


@pytest.mark.parametrize(
    ("text", "place"),
    [("+52.5200+013.4050/", (52.52, 13.405)), ("-33.8688+151.2093+019.000/", (-33.8688, 151.2093)), ("+5231.2+01324.3/", (52.52, 13.405)),
     ("+523112-0132418/", (52.52, -13.405)), ("52.52, 13.405", (52.52, 13.405)), ("+00.0000+000.0000/", None), ("+99.0+000.0/", None), ("Berlin", None)],
)  # fmt: skip
def test_places_in_tags_of_films(tmp_path, text, place):
    found = clock.read(container(tmp_path / "a.mov", "aac", "mov", com__apple__quicktime__location__ISO6709=text))
    if place is None:
        assert math.isnan(found.latitude) and math.isnan(found.longitude)
    else:
        assert (found.latitude, found.longitude) == pytest.approx(place, abs=1e-4) and "location: tags" in found.source


def test_a_phone_of_apple_writes_local_time_and_its_zone(tmp_path):
    tags = {"com__apple__quicktime__creationdate": "2025-04-14T06:10:00+0200", "creation_time": "2025-04-14T04:10:00.000000Z"}
    found = clock.read(container(tmp_path / "IMG_1234.MOV", "aac", "mov", **tags))
    assert (found.recorded_at, found.utc_offset_h) == (SIX_TEN, 2)


def test_creation_time_is_utc_and_comes_behind_the_name(tmp_path):
    """A converted film has the time of its conversion there; a camera that names its films writes local time into the name."""
    tags = {"creation_time": "2025-04-15T12:00:00.000000Z"}
    named, unnamed = (clock.read(container(tmp_path / name, "aac", "mp4", **tags)) for name in ("VID_20250414_061000.mp4", "robin.mp4"))
    assert named.recorded_at == SIX_TEN and math.isnan(named.utc_offset_h) and "time: file name" in named.source
    assert (unnamed.recorded_at, unnamed.utc_offset_h) == (pd.Timestamp("2025-04-15 12:00"), 0) and "time: creation time" in unnamed.source


@pytest.mark.parametrize(("suffix", "codec"), [(".flac", "flac"), (".opus", "libopus"), (".mp3", "libmp3lame")])
def test_dates_in_tags_of_sounds(tmp_path, suffix, codec):
    timed = clock.read(container(tmp_path / f"a{suffix}", codec, rate_hz=48_000, date="2025-04-14T06:10:00"))
    dated = clock.read(container(tmp_path / f"b{suffix}", codec, rate_hz=48_000, date="2025-04-14"))
    of_year = clock.read(container(tmp_path / f"c{suffix}", codec, rate_hz=48_000, date="2025"))
    assert timed.recorded_at == SIX_TEN
    assert pd.isna(dated.recorded_at) and dated.day == date(2025, 4, 14) and "day: tags" in dated.source
    assert of_year.day is None


def test_metadata_come_before_the_name_each_field_for_itself(tmp_path):
    path = guano_wav(tmp_path / "POND_20250415_070000.wav", Timestamp="2025-04-14T06:10:00")
    assert clock.read(path)[:1] + clock.read(path)[3:5] == (SIX_TEN, "POND", "time: GUANO; site: file name")


def test_a_time_of_day_in_the_name_comes_before_a_day_in_tags(tmp_path):
    path = wav_chunks.write(tmp_path / "20250414_061000.WAV", [(b"LIST", wav_chunks.info(ICRD="2025-04-20"))])
    assert clock.read(path).recorded_at == SIX_TEN


@pytest.mark.parametrize(
    ("folder", "site", "day"),
    [("Pond", "Pond", None), ("Pond/2025-04-14", "Pond", date(2025, 4, 14)), ("Pond_20250414", "Pond", date(2025, 4, 14)), ("Pond/DCIM/100MEDIA", "Pond", None), ("Pond/Data", "Pond", None)],
)
def test_folders_have_site_and_day(tmp_path, folder, site, day):
    (tmp_path / folder).mkdir(parents=True)
    found = clock.read(wav_chunks.write(tmp_path / folder / "a.wav"))
    assert (found.site, found.day) == (site, day) and pd.isna(found.recorded_at)


@pytest.mark.parametrize("content", [None, b"", b"no sound", b"<html>", b"RIFF\xff\xff\xff\xffWAVEguan\xff\xff\xff\xff", b"RIFF    WAVEfmt \xff"])
def test_odd_files_have_what_their_name_says(tmp_path, content):
    path = tmp_path / "POND_20250414_061000.wav"
    if content is not None:
        path.write_bytes(content)
    assert clock.read(path)[:1] + clock.read(path)[3:5] == (SIX_TEN, "POND", "time: file name; site: file name")


def test_a_folder_and_a_name_that_is_no_text_are_no_errors(tmp_path):
    assert clock.read(tmp_path).recorded_at is pd.NaT
    assert clock.read(b"/pond\xff/a.wav".decode("utf-8", "surrogateescape")).site == "pond\\xff"
