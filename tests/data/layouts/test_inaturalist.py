"""Exports of iNaturalist with the columns that inaturalist.org/observations/export writes."""

from made_layouts import by_path, reasons, touch, write

from birdlib.data.layouts import registry

COLUMNS = (
    "id,uuid,observed_on_string,observed_on,time_observed_at,time_zone,user_id,user_login,user_name,created_at,updated_at,quality_grade,license,url,"
    "image_url,sound_url,tag_list,description,captive_cultivated,place_guess,latitude,longitude,coordinates_obscured,species_guess,scientific_name,"
    "common_name,iconic_taxon_name,taxon_id"
).split(",")


def observation(number, **values):
    row = {
        "id": number, "observed_on": "2024-01-15", "user_login": "ana", "user_name": "Ana Lopes", "license": "CC-BY-NC", "latitude": "40.785091",
        "longitude": "-73.968285", "coordinates_obscured": "false", "scientific_name": "Cardinalis cardinalis", "common_name": "Northern Cardinal",
        "place_guess": '"Central Park, New York"', "image_url": f"https://inaturalist-open-data.s3.amazonaws.com/photos/9{number}/medium.jpg", **values,
    }  # fmt: skip
    return ",".join(str(row.get(name, "")) for name in COLUMNS)


def export(root, name, *observations):
    write(root, name, "\n".join([",".join(COLUMNS), *observations]) + "\n")


def test_files_named_by_observation(tmp_path):
    export(
        tmp_path, "observations-334455.csv", observation(123456),
        observation(123457, scientific_name="Parus major major", license="", observed_on="2024-01-16",
                    sound_url="https://static.inaturalist.org/sounds/777.m4a?17"),
    )  # fmt: skip
    touch(tmp_path, "123456.jpg", "obs_123456_2.JPG", "123457.m4a")
    reading = registry.read(tmp_path)
    rows = by_path(reading)
    assert list(reading.layouts["layout"]) == ["inaturalist"] and len(rows) == 3
    assert rows["123456.jpg"]["species"] == "Cardinalis cardinalis" and rows["123457.m4a"]["species"] == "Parus major"
    assert rows["123456.jpg"]["group_id"] == rows["obs_123456_2.JPG"]["group_id"] == "Ana Lopes @ 40.79,-73.97 2024-01-15"
    assert rows["123456.jpg"]["licence"] == "CC BY-NC" and rows["123457.m4a"]["licence"] == "all rights reserved"
    assert rows["123457.m4a"]["audio_path"] and rows["123456.jpg"]["image_path"] and rows["123456.jpg"]["common_name"] == "Northern Cardinal"


def test_files_named_by_photo_and_sound_number(tmp_path):
    """The number of a photo may be that of another observation."""
    export(
        tmp_path, "observations.csv",
        observation(11111, image_url="https://static.inaturalist.org/photos/22222/original.jpeg"),
        observation(22222, scientific_name="Parus major", image_url="https://static.inaturalist.org/photos/33333/original.jpeg"),
        observation(44444, scientific_name="Turdus merula", image_url="", sound_url="https://static.inaturalist.org/sounds/55555.mp3"),
    )  # fmt: skip
    touch(tmp_path, "photos/22222/original.jpeg", "photos/33333/original.jpeg", "sounds/55555.mp3")
    rows = by_path(registry.read(tmp_path))
    assert rows["photos/22222/original.jpeg"]["species"] == "Cardinalis cardinalis"
    assert rows["photos/33333/original.jpeg"]["species"] == "Parus major"
    assert rows["sounds/55555.mp3"]["species"] == "Turdus merula"


def test_obscured_coordinates_are_left_out_of_the_group(tmp_path):
    """iNaturalist moves them at random within 0.2 degrees, so two photos of one walk would be two places."""
    export(tmp_path, "o.csv", observation(1001, coordinates_obscured="true"), observation(1002, coordinates_obscured="true", latitude="40.9"))
    touch(tmp_path, "1001.jpg", "1002.jpg")
    assert {row["group_id"] for row in by_path(registry.read(tmp_path)).values()} == {"Ana Lopes 2024-01-15"}


def test_missing_and_unknown_files(tmp_path):
    export(tmp_path, "o.csv", observation(1001), observation(1002), observation(1003, scientific_name="", common_name=""))
    touch(tmp_path, "1001.jpg", "1003.jpg", "holiday.jpg")
    found = reasons(registry.read(tmp_path))
    assert "not there" in found["observation 1002"] and "no species" in found["1003.jpg"] and "no observation" in found["holiday.jpg"]
