"""Recorders and days, catalogue numbers and parts in file names."""

import pytest

from birdlib.data.layouts import file_names


@pytest.mark.parametrize(
    ("name", "recorder", "day"),
    [
        ("SITE_20250414_061000", "SITE", "2025-04-14"),
        ("SMA00351_20200428_080038", "SMA00351", "2020-04-28"),  # Song Meter
        ("S4A08819_20220501_053000_0+1", "S4A08819", "2022-05-01"),
        ("20250414_061000", "", "2025-04-14"),  # AudioMoth
        ("20250414061000", "", "2025-04-14"),
        ("5CCA1B98", "", "2019-05-01"),  # AudioMoth until 2019: 1556749208 s since 1970
        ("20220501T053000+0200_REC", "", "2022-05-01"),  # Bioacoustic Recorder
        ("IMG_20250414_121500", "", "2025-04-14"),
        ("PXL_20250414_121500123", "", "2025-04-14"),
        ("VID-20250414-WA0003", "", "2025-04-14"),
        ("WhatsApp Audio 2025-04-14 at 06.10.00", "", "2025-04-14"),
        ("250414_0610", "", "2025-04-14"),
        ("pond_250414-061000", "pond", "2025-04-14"),
        ("robin_20251314_song", "", ""),  # no 13th month
        ("XC123456", "", ""),
        ("12345678901234", "", ""),
        ("Black_Footed_Albatross_0046_18", "", ""),
    ],
)
def test_recorders_and_days(name, recorder, day):
    assert file_names.recorder_and_day(name) == (recorder, day)


def test_a_catalogue_number_is_no_recorder():
    assert file_names.recorder_and_day("XC254462-JMJ-20150623-031744") == ("JMJ", "2015-06-23")


@pytest.mark.parametrize(
    ("name", "number"),
    [("XC123456", "XC123456"), ("xc 123456_2", "XC123456"), ("XC123456 - Common Blackbird - Turdus merula", "XC123456"), ("ML45516191", "ML45516191"),
     ("iNat1234", "iNat1234"), ("CSA36385", "CSA36385"), ("HTML123", ""), ("song", "")],
)  # fmt: skip
def test_catalogue_numbers(name, number):
    assert file_names.catalogue_number(name) == number


@pytest.mark.parametrize(
    ("name", "whole"),
    [("feeder part 2", "feeder"), ("feeder_pt1", "feeder"), ("feeder (Teil 1)", "feeder"), ("feeder_B", "feeder"), ("gulls2b", "gulls2"),
     ("GH020123", "GoPro 0123"), ("GOPR0123", "GoPro 0123"), ("feeder", ""), ("part 1", ""), ("A", "")],
)  # fmt: skip
def test_parts_of_films(name, whole):
    assert file_names.whole_of_part(name, with_letters=True) == whole


def test_a_letter_is_no_part_of_a_sound():
    """``robin_a`` and ``robin_b`` are two birds as often as two parts."""
    assert file_names.whole_of_part("robin_a", with_letters=False) == ""
    assert file_names.whole_of_part("robin_part1", with_letters=False) == "robin"
