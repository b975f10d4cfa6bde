"""Date, time, zone, place and site in the names that recorders, phones and messengers give."""

from datetime import date, datetime

import pytest

from birdlib import recording_names

SIX_TEN = datetime(2025, 4, 14, 6, 10)


@pytest.mark.parametrize(
    ("name", "site"),
    [
        ("SITE_20250414_061000.ogg", "SITE"), ("20250414_061000.WAV", ""), ("20250414_061000T.WAV", ""), ("SM4_0+1_20250414_061000.wav", "SM4"),
        ("SMU01234_20250414_061000.wav", "SMU01234"), ("Plot 7 2025_04_14_06_10_00.wav", "Plot 7"), ("2025-04-14T06-10-00.flac", ""),
        ("VID_20250414_061000.mp4", ""), ("IMG_20250414_061000.jpg", ""), ("DJI_20250414061000_0001_D.MP4", ""), ("2025-04-14 06.10.00.mp4", ""),
        ("signal-2025-04-14-061000.mp4", ""), ("Screenrecorder-2025-04-14-06-10-00-123.mp4", ""), ("2025-04-14 06h10.wav", ""),
        ("WhatsApp Audio 2025-04-14 at 06.10.00.ogg", ""), ("WhatsApp Video 2025-04-14 at 6.10.00\u202fAM.mp4", ""), ("2025-04-14 6.10 am.m4a", ""),
        ("S01_20200101_20250414_061000.wav", "S01_20200101"), ("BC2026_Train_0001_S08_20250414_061000.ogg", "S08"), ("BC2026_Test_0312_S08_20250414_061000.ogg", "S08"),
    ],
)  # fmt: skip
def test_the_time_of_day_is_read(name, site):
    found = recording_names.parse(f"some/folder/{name}")
    assert found.moment == (SIX_TEN.date(), SIX_TEN, None) and found.site == site


@pytest.mark.parametrize(
    ("name", "offset_h"),
    [("20250414T061000+1000_REC.flac", 10), ("S4A_20250414_061000_+0200.wav", 2), ("SWIFT_20250414_061000-0730.wav", -7.5),
     ("X_20250414_061000Z.wav", 0), ("PXL_20250414_061000123.mp4", 0), ("20250414_061000+02.wav", 2)],
)  # fmt: skip
def test_a_zone_behind_the_time_is_its_difference_to_utc(name, offset_h):
    assert recording_names.parse(name).moment == (SIX_TEN.date(), SIX_TEN, offset_h)


def test_a_running_number_behind_the_time_is_no_zone():
    assert recording_names.parse("2025-04-14_06-10-00-0001.wav").moment.utc_offset_h is None


@pytest.mark.parametrize(("name", "hour"), [("12.05 AM", 0), ("12.05 PM", 12), ("1.05 PM", 13), ("11.05 pm", 23)])
def test_twelve_hour_clocks(name, hour):
    assert recording_names.parse(f"Memo 2025-04-14 {name}.m4a").moment.time == datetime(2025, 4, 14, hour, 5)


def test_old_audiomoths_write_unix_time_in_hex():
    """0x5BEC7D4A = 1,542,225,226 s after the beginning of 1970."""
    assert recording_names.parse("5BEC7D4A.WAV").moment == (date(2018, 11, 14), datetime(2018, 11, 14, 19, 53, 46), 0.0)
    assert recording_names.parse("POND_5BEC7D4A.WAV").site == "POND"


@pytest.mark.parametrize("name", ["PTT-20250414-WA0003.opus", "S01_20250414.wav", "20250414_1234.wav", "20250414_999999.wav", "2025-04-14_12-34.wav"])
def test_a_day_without_a_time_of_day(name):
    """Four digits behind a date are as often a running number as a time."""
    assert recording_names.parse(name).moment == (SIX_TEN.date(), None, None)


@pytest.mark.parametrize(
    "name",
    ["XC20250414.mp3", "XC123456 - Turdus merula.mp3", "ML20191231.wav", "soundscape_453028782.ogg", "S01_20251399_061000.ogg", "20250631_061000.wav",
     "19700101_000000.WAV", "18991231.wav", "60123456.wav", "5BEC7D4.WAV", "DEADBEEF.WAV", "robin.wav", "", ".hidden", "230501_0012.wav", "\udcff\udcfe.wav"],
)  # fmt: skip
def test_other_numbers_are_no_dates(name):
    assert recording_names.parse(name) == recording_names.Name()


@pytest.mark.parametrize("place", ["[-27.3871 152.8761]", "[-27.3871+152.8761]", "[-27.3871, 152.8761]"])
def test_a_place_in_brackets(place):
    assert recording_names.parse(f"20250414T061000+1000_REC {place}.flac").location == (-27.3871, 152.8761)


@pytest.mark.parametrize("place", [(91, 0), (0, 181), (0, 0), (float("nan"), 1), ("north", 1), (None, None)])
def test_places_that_do_not_exist(place):
    assert recording_names.valid_location(*place) is None
