"""How rows are grouped, from metadata, names, EXIF data and folders."""

import pytest
from made_layouts import by_path, touch
from PIL import Image

from birdlib.data.layouts import groups, registry, rows


def guessed(tmp_path, *paths, **options):
    return by_path(registry.read(touch(tmp_path, *paths), **options))


def photo(path, taken="", camera="", gps=None):
    """A JPEG with EXIF data as cameras write it."""
    tags = Image.Exif()
    if camera:
        tags[272] = camera
    if taken:
        tags.get_ifd(0x8769)[36867] = taken
    if gps:
        tags.get_ifd(0x8825).update(gps)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, exif=tags)


def test_one_recorder_on_one_day_is_a_group(tmp_path):
    found = guessed(tmp_path, "robin/POND_20250414_061000.wav", "wren/POND_20250414_071000.wav", "wren/POND_20250415_061000.wav", "wren/WOOD_20250414_061000.wav")
    names = [row["group_id"] for row in found.values()]
    assert names == ["POND 2025-04-14", "POND 2025-04-14", "POND 2025-04-15", "WOOD 2025-04-14"]
    assert {row["group_by"] for row in found.values()} == {groups.BY_NAME_DAY}


def test_names_of_songs_before_the_day_are_no_recorders(tmp_path):
    """Song sparrows, by song type and day: one bird's songs of one day are one group."""
    found = guessed(tmp_path, *(f"sparrow/ggrm_{song}_060425_0846.ogg" for song in ("A", "B2", "F7")), "sparrow/ggrm_A3_060426_0846.ogg")
    assert sorted(row["group_id"] for row in found.values()) == ["2006-04-25"] * 3 + ["2006-04-26"]
    assert {row["group_by"] for row in found.values()} == {groups.BY_NAME_DAY_ALONE}


def test_an_audiomoth_is_told_by_its_folder(tmp_path):
    """Its names have no site: the folders above and below the species are the site."""
    found = guessed(tmp_path, *(f"{site}/{bird}/20250414_061000.WAV" for site in ("pond", "wood") for bird in ("robin", "wren")))
    assert {path: row["group_id"] for path, row in found.items()} == {
        f"{site}/{bird}/20250414_061000.WAV": f"{site} 2025-04-14" for site in ("pond", "wood") for bird in ("robin", "wren")
    }


def test_the_day_may_be_a_folder(tmp_path):
    found = guessed(tmp_path, "robin/2025-04-14/a.wav", "robin/2025-04-14/b.wav", "robin/2025-04-15/a.wav")
    assert found["robin/2025-04-14/a.wav"]["group_id"] == found["robin/2025-04-14/b.wav"]["group_id"] != found["robin/2025-04-15/a.wav"]["group_id"]


def test_cuts_of_one_catalogue_number_stay_together(tmp_path):
    found = guessed(tmp_path, "robin/XC123456_1.wav", "robin/XC123456_2.wav", "robin/XC7777.ogg")
    assert [row["group_id"] for row in found.values()] == ["XC123456", "XC123456", "XC7777"]


def test_parts_of_a_film_stay_together(tmp_path):
    found = guessed(tmp_path, "feeder.mp4", "split/feeder_A.mp4", "split/feeder_B.mp4", "lawn_A.mp4", "GH010042.MP4", "GH020042.MP4")
    group = {path: row["group_id"] for path, row in found.items()}
    assert group["feeder.mp4"] == group["split/feeder_A.mp4"] == group["split/feeder_B.mp4"]
    assert group["GH010042.MP4"] == group["GH020042.MP4"]
    assert len(set(group.values())) == 3 and found["lawn_A.mp4"]["group_by"] == groups.ALONE  # a single A is no part


def test_photos_by_camera_day_and_place(tmp_path):
    """52 degrees 31 minutes 12 seconds are 52.52 degrees; the southern hemisphere is negative."""
    berlin = {1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 0.0)}
    photo(tmp_path / "robin" / "DSC_1.jpg", "2025:04:14 06:10:00", "EOS R5", berlin)
    photo(tmp_path / "wren" / "DSC_2.JPG", "2025:04:14 08:00:00", "EOS R5", berlin)
    photo(tmp_path / "wren" / "DSC_3.jpg", "2025:04:14 08:00:00", "EOS R5", {**berlin, 1: "S"})
    photo(tmp_path / "wren" / "DSC_4.jpg", camera="EOS R5")
    photo(tmp_path / "wren" / "DSC_5.jpg", "0000:00:00 00:00:00", "EOS R5")
    found = by_path(registry.read(tmp_path))
    assert found["robin/DSC_1.jpg"]["group_id"] == found["wren/DSC_2.JPG"]["group_id"] == "2025-04-14 EOS R5 52.52,13.40"
    assert found["wren/DSC_3.jpg"]["group_id"] == "2025-04-14 EOS R5 -52.52,13.40"
    assert found["wren/DSC_4.jpg"]["group_by"] == found["wren/DSC_5.jpg"]["group_by"] == groups.ALONE


def test_photos_of_phones_by_camera_and_day(tmp_path):
    from birdlib.video import images

    images.register_heif()
    photo(tmp_path / "robin" / "a.heic", "2025:04:14 06:10:00", "iPhone 15")
    assert by_path(registry.read(tmp_path))["robin/a.heic"]["group_id"] == "2025-04-14 iPhone 15"


def test_a_photo_that_cannot_be_read_stands_alone(tmp_path):
    """Stage 01 reports it."""
    assert guessed(tmp_path, "robin/broken.jpg")["robin/broken.jpg"]["group_by"] == groups.ALONE


def test_few_folders_are_parts_of_a_collection(tmp_path):
    """Two batches of all species would leave nothing to split; five sites do not."""
    batches = [f"batch{n}/{bird}/{n}{bird}.wav" for n in (1, 2) for bird in ("robin", "wren")]
    assert {row["group_by"] for row in guessed(tmp_path / "few", *batches).values()} == {groups.ALONE}
    sites = [f"site{n}/{bird}/{n}{bird}.wav" for n in range(5) for bird in ("robin", "wren")]
    found = guessed(tmp_path / "many", *sites)
    assert {row["group_by"] for row in found.values()} == {groups.BY_FOLDER} and len({row["group_id"] for row in found.values()}) == 5


def test_files_alone_are_groups_of_their_own(tmp_path):
    found = guessed(tmp_path, "robin/a.wav", "robin/b.wav", "wren/a.wav")
    assert len({row["group_id"] for row in found.values()}) == 3 and {row["group_by"] for row in found.values()} == {groups.ALONE}


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("//creativecommons.org/licenses/by-nc-sa/4.0/", "CC BY-NC-SA 4.0"), ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0 1.0"),
        ("cc-by-nc 4.0", "CC BY-NC 4.0"), ("CC-BY-NC", "CC BY-NC"), ("CC0", "CC0"), ("https://creativecommons.org/publicdomain/mark/1.0/", "Public domain"),
        ("my own", "my own"), ("", ""), (None, ""),
    ],
)  # fmt: skip
def test_licences_have_one_spelling(text, licence):
    assert rows.licence(text) == licence


@pytest.mark.parametrize(
    ("text", "day"),
    [("2020-06-10", "2020-06-10"), ("2014-07-16 00:00:00+00:00", "2014-07-16"), ("2025:04:14 06:10:00", "2025-04-14"), ("2020-00-00", "2020-00-00"),
     ("1998", "1998-00-00"), ("0000-00-00", ""), ("June 2020", ""), (None, "")],
)  # fmt: skip
def test_days(text, day):
    assert rows.day(text) == day
