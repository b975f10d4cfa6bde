"""Folders named after species, in the ways that people nest and name them."""

import pytest
from made_layouts import by_path, reasons, touch

from birdlib.data.layouts import registry, species_folders


def species_of(folder, **options):
    return {path: row["species"] for path, row in by_path(registry.read(folder, **options)).items()}


@pytest.mark.parametrize(
    ("name", "scientific", "common", "label"),
    [
        ("Turdus merula_Common Blackbird", "Turdus merula", "Common Blackbird", ""),  # BirdNET-Analyzer's labels
        ("Turdus_merula", "", "", "Turdus merula"),
        ("American_Crow", "", "", "American Crow"),
        ("001.Black_footed_Albatross", "", "", "Black footed Albatross"),  # CUB
        ("Black-capped_Chickadee", "", "", "Black-capped Chickadee"),
        ("bkcdon", "", "", "bkcdon"),
        ("1139490", "", "", "1139490"),
        ("x_3", "", "", "x_3"),
        ("Grünspecht", "", "", "Grünspecht"),
    ],
)
def test_names_of_folders(name, scientific, common, label):
    assert species_folders.species_of_folder(name) == (scientific, common, label)


def test_sounds_photos_and_films_below_species_folders(tmp_path):
    touch(tmp_path, "robin/a.WAV", "robin/b.jpg", "wren/c.mp4", "wren/d.flac")
    reading = registry.read(tmp_path)
    rows = by_path(reading)
    assert {path: row["species"] for path, row in rows.items()} == {"robin/a.WAV": "robin", "robin/b.jpg": "robin", "wren/c.mp4": "wren", "wren/d.flac": "wren"}
    assert rows["robin/b.jpg"]["image_path"] and rows["wren/c.mp4"]["video_path"]
    assert list(reading.layouts["layout"]) == ["species-folders"] and "'robin'" in reading.layouts["why"][0]


def test_words_for_splits_and_media_are_no_species(tmp_path):
    touch(tmp_path, "train/robin/a.wav", "test/robin/b.wav", "val/Photos/wren/c.jpg", "Wren/Audio/2025-04-14/d.wav", "DCIM/100GOPRO/robin/e.mp4")
    assert set(species_of(tmp_path).values()) == {"robin", "Wren"}  # one spelling


def test_scientific_names_tell_the_level_of_the_species(tmp_path):
    """Families above, sessions below."""
    touch(tmp_path, "Turdidae/Turdus merula/song1/a.wav", "Turdidae/Turdus philomelos/a.wav", "Paridae/Parus major/x/b.wav")
    assert set(species_of(tmp_path).values()) == {"Turdus merula", "Turdus philomelos", "Parus major"}


def test_names_below_several_folders_are_the_species(tmp_path):
    """Three sites with the same two species."""
    touch(tmp_path, *(f"site {site}/{bird}/{n}.wav" for site in "abc" for bird in ("robin", "wren") for n in (1, 2)))
    assert set(species_of(tmp_path).values()) == {"robin", "wren"}


def test_folders_of_individuals_below_a_species_are_no_species(tmp_path):
    touch(tmp_path, "great_tit/B32/1.wav", *(f"song_sparrow/{bird}/{n}.wav" for bird in ("azrm", "bagm", "cyom", "boom", "ggrm") for n in (1, 2)))
    rows = by_path(registry.read(tmp_path))
    assert {row["species"] for row in rows.values()} == {"song sparrow", "great tit"}
    assert rows["song_sparrow/azrm/1.wav"]["group_id"] == rows["song_sparrow/azrm/2.wav"]["group_id"] == "azrm"


def test_a_folder_around_all_species_is_none(tmp_path):
    """As an archive unpacks; it is no place either."""
    touch(tmp_path, "kaggle birds/train/robin/20250414_061000.wav", "kaggle birds/test/wren/20250414_061000.wav")
    rows = by_path(registry.read(tmp_path))
    assert {row["species"] for row in rows.values()} == {"robin", "wren"} and {row["group_id"] for row in rows.values()} == {"2025-04-14"}


def test_the_level_can_be_given(tmp_path):
    touch(tmp_path, "pond/robin/a.wav", "wood/wren/b.wav")
    assert set(species_of(tmp_path).values()) == {"pond", "wood"}
    assert set(species_of(tmp_path, species_level=2).values()) == {"robin", "wren"}


def test_noise_and_files_without_folder_are_unplaced_with_their_reason(tmp_path):
    touch(tmp_path, "robin/a.wav", "noise/rain/rain.wav", "Background/wind.wav", "no_call/x.wav", "loose.wav", "film.mp4")
    reading = registry.read(tmp_path)
    assert set(by_path(reading)) == {"robin/a.wav", "film.mp4"}  # a film without species is counted
    assert reasons(reading)["noise/rain/rain.wav"] == "lies in 'noise', which is no species"
    assert "--species" in reasons(reading)["loose.wav"] and len(reading.unplaced) == 4


def test_the_species_of_loose_files_can_be_given(tmp_path):
    touch(tmp_path, "loose.wav", "film.mp4")
    assert species_of(tmp_path, species="robin") == {"loose.wav": "robin", "film.mp4": "robin"}
    assert "--species gives as 'robin'" in registry.read(tmp_path, species="robin").layouts["why"][0]


def test_labels_are_the_names_asked_for(tmp_path):
    """One folder tells both names of a species, and so translates the other."""
    touch(tmp_path, "Turdus merula_Common Blackbird/a.wav", "photos/common blackbird/b.jpg", "Parus major/c.wav")
    assert set(species_of(tmp_path).values()) == {"Turdus merula", "Parus major"}
    assert set(species_of(tmp_path, names="common").values()) == {"Common Blackbird", "Parus major"}


def test_a_semicolon_in_a_folder_name_stays_one_label(tmp_path):
    touch(tmp_path, "robin; wren/a.wav")
    assert species_of(tmp_path) == {"robin; wren/a.wav": "robin, wren"}
