"""Downloads of the Macaulay Library, with the first columns of the table that its search exports."""

from made_layouts import by_path, reasons, touch, write

from birdlib.data.layouts import registry

TABLE = """\ufeffML Catalog Number,Format,Common Name,Scientific Name,Background Species,Recordist,Date,Year,Month,Day,Time,Country,Country-State-County,State,County,Locality,Latitude,Longitude,Age/Sex
612000000,Photo,American Wigeon,Mareca americana,,Ana Lopes,2024-01-03,2024,1,3,900,United States,US-NY-Kings,New York,Kings,Prospect Park,40.66,-73.97,
165509201,Audio,Dark-eyed Junco (Oregon),Junco hyemalis [oreganus Group],,Ben Hu,2019-05-20,2019,5,20,610,United States,US-CA-Marin,California,Marin,Mount Vision,,,
470000001,Video,Common Raven,Corvus corax,,Ben Hu,2019-05-20,2019,5,20,640,United States,US-CA-Marin,California,Marin,Mount Vision,,,
"""


def test_media_named_by_catalogue_number(tmp_path):
    write(tmp_path, "ML__2024-06-01T10-00_export.csv", TABLE)
    touch(tmp_path, "photos/612000000.jpg", "ML165509201.mp3", "films/ML470000001 - Common Raven.mp4")
    reading = registry.read(tmp_path)
    rows = by_path(reading)
    wigeon, junco, raven = rows["photos/612000000.jpg"], rows["ML165509201.mp3"], rows["films/ML470000001 - Common Raven.mp4"]
    assert list(reading.layouts["layout"]) == ["macaulay"] and reading.unplaced.empty
    assert (wigeon["species"], wigeon["common_name"], wigeon["recording_id"]) == ("Mareca americana", "American Wigeon", "ML612000000")
    assert (junco["species"], junco["common_name"]) == ("Junco hyemalis", "Dark-eyed Junco")
    assert wigeon["group_id"] == "Ana Lopes @ 40.66,-73.97 2024-01-03"
    assert junco["group_id"] == raven["group_id"] == "Ben Hu @ Mount Vision, California, United States 2019-05-20"


def test_what_is_listed_or_there_alone(tmp_path):
    write(tmp_path, "data/export.csv", TABLE)
    reading = registry.read(touch(tmp_path, "data/165509201.mp3", "data/holiday.jpg"), names="common")
    assert {path: row["species"] for path, row in by_path(reading).items()} == {"data/165509201.mp3": "Dark-eyed Junco"}
    assert set(reasons(reading)) == {"ML612000000", "ML470000001", "data/holiday.jpg"}
