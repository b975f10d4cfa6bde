"""Downloads of Xeno-Canto as its website, the package xeno-canto, and other programs leave them.

Records as https://xeno-canto.org/explore/api describes them: version 2 has ``lng`` and licences as ``//creativecommons.org/...``, version 3 ``lon``.
"""

import pandas as pd
import pytest
from made_layouts import by_path, reasons, touch, write

from birdlib.data.layouts import registry
from birdlib.data.layouts.tree import LayoutError

V2 = {
    "id": "567435", "gen": "Petronia", "sp": "petronia", "ssp": "", "en": "Rock Sparrow", "rec": "Ana Lopes", "cnt": "France", "loc": "Albussac",
    "lat": "45.1485", "lng": "1.8464", "type": "song", "url": "//xeno-canto.org/567435", "file": "https://xeno-canto.org/567435/download",
    "file-name": "XC567435-20200610 11h21 Moineau soulcie.mp3", "lic": "//creativecommons.org/licenses/by-nc-sa/4.0/", "q": "A", "length": "0:08",
    "time": "11:21", "date": "2020-06-10", "also": [""], "rmk": "",
}  # fmt: skip
V3 = {
    **{name: value for name, value in V2.items() if name != "lng"}, "id": "254462", "gen": "Passerina", "sp": "amoena", "ssp": "x", "grp": "birds",
    "en": "Lazuli Bunting", "rec": "Ben Hu", "lat": "43.6571", "lon": "-103.4143", "date": "2015-06-23", "also": ["Pipilo maculatus", "Vireo gilvus"],
    "lic": "https://creativecommons.org/licenses/by-sa/4.0/", "file-name": "XC254462-LABU.mp3",
}  # fmt: skip


def answer(*records):
    return {"numRecordings": str(len(records)), "numSpecies": "1", "page": 1, "numPages": 1, "recordings": list(records)}


def test_the_folders_of_the_package_xeno_canto(tmp_path):
    """``dataset/metadata/QUERY/page1.json`` and ``dataset/audio/CommonName/NUMBER.mp3`` (xeno-canto 2.x)."""
    write(tmp_path, "dataset/metadata/PetroniaqA/page1.json", answer(V2))
    write(tmp_path, "dataset/metadata/PetroniaqA/page2.json", answer(V3))
    touch(tmp_path, "dataset/audio/RockSparrow/567435.mp3", "dataset/audio/LazuliBunting/254462.mp3")
    reading = registry.read(tmp_path)
    rows = by_path(reading)
    sparrow, bunting = rows["dataset/audio/RockSparrow/567435.mp3"], rows["dataset/audio/LazuliBunting/254462.mp3"]
    assert list(reading.layouts["layout"]) == ["xeno-canto"] and reading.unplaced.empty
    assert (sparrow["species"], sparrow["common_name"], sparrow["recording_id"]) == ("Petronia petronia", "Rock Sparrow", "XC567435")
    assert sparrow["group_id"] == "Ana Lopes @ 45.15,1.85 2020-06-10" and sparrow["group_by"] == "recordist, place and date of the metadata"
    assert (sparrow["licence"], bunting["licence"]) == ("CC BY-NC-SA 4.0", "CC BY-SA 4.0")
    assert sparrow["attribution"] == "Ana Lopes" and sparrow["source"] == "Xeno-Canto https://xeno-canto.org/567435"
    assert bunting["secondary_species"] == "Pipilo maculatus;Vireo gilvus" and bunting["group_id"] == "Ben Hu @ 43.66,-103.41 2015-06-23"
    assert by_path(registry.read(tmp_path, names="common"))["dataset/audio/RockSparrow/567435.mp3"]["species"] == "Rock Sparrow"


def test_sounds_named_by_the_website_beside_one_answer(tmp_path):
    write(tmp_path, "xc.json", answer(V2, V3))
    touch(tmp_path, "XC567435 - Rock Sparrow - Petronia petronia.mp3", "XC254462-LABU.mp3")
    rows = by_path(registry.read(tmp_path))
    assert {row["species"] for row in rows.values()} == {"Petronia petronia", "Passerina amoena"}


def test_a_record_for_each_sound(tmp_path):
    """As ``XC567435.json`` beside ``XC567435.mp3``, and cuts of one recording stay together."""
    write(tmp_path, "XC567435.json", V2)
    write(tmp_path, "XC254462.json", V3)
    touch(tmp_path, "XC567435_1.wav", "XC567435_2.wav", "PasserinaAmoena254462.mp3")
    rows = by_path(registry.read(tmp_path))
    assert rows["XC567435_1.wav"]["group_id"] == rows["XC567435_2.wav"]["group_id"]
    assert rows["XC567435_1.wav"]["recording_id"] != rows["XC567435_2.wav"]["recording_id"]
    assert rows["PasserinaAmoena254462.mp3"]["species"] == "Passerina amoena"


def test_a_list_of_records_and_a_table(tmp_path):
    write(tmp_path, "list/all.json", [V2])
    touch(tmp_path, "list/XC567435.mp3", "table/254462.mp3")
    pd.DataFrame([V3]).to_csv(tmp_path / "table" / "records.csv", index=False)
    rows = by_path(registry.read(tmp_path))
    assert rows["list/XC567435.mp3"]["species"] == "Petronia petronia"
    assert rows["table/254462.mp3"]["species"] == "Passerina amoena" and rows["table/254462.mp3"]["secondary_species"] == "Pipilo maculatus;Vireo gilvus"


def test_the_table_of_warbler(tmp_path):
    """query_xc names columns ``Recording_ID, Genus, Specific_epithet, ...`` and files ``Petronia-petronia-567435.mp3``."""
    header = "Recording_ID,Genus,Specific_epithet,English_name,Recordist,Country,Locality,Latitude,Longitude,Date\n"
    write(tmp_path, "meta.csv", f"{header}567435,Petronia,petronia,Rock Sparrow,Ana,France,Albussac,45.1,1.8,2020-06-10\n")
    touch(tmp_path, "Petronia-petronia-567435.mp3")
    row = by_path(registry.read(tmp_path))["Petronia-petronia-567435.mp3"]
    assert (row["species"], row["group_id"]) == ("Petronia petronia", "Ana @ 45.10,1.80 2020-06-10")


def test_names_of_the_website_without_records(tmp_path):
    touch(tmp_path, "XC123456 - Common Blackbird - Turdus merula.mp3", "XC7 - Great Tit - Parus major major.wav", "mine.mp3")
    reading = registry.read(tmp_path)
    rows = by_path(reading)
    assert rows["XC123456 - Common Blackbird - Turdus merula.mp3"]["species"] == "Turdus merula"
    assert rows["XC7 - Great Tit - Parus major major.wav"]["species"] == "Parus major"
    assert rows["XC123456 - Common Blackbird - Turdus merula.mp3"]["group_id"] == "XC123456"
    assert "tells no species" in reasons(reading)["mine.mp3"]


def test_what_is_listed_or_there_alone_is_unplaced(tmp_path):
    write(tmp_path, "page.json", answer(V2, V3, {**V2, "id": "1", "gen": "Mystery", "sp": "mystery"}, {**V2, "id": "22", "gen": "Sonus", "sp": "naturalis"}))
    touch(tmp_path, "XC567435.mp3", "XC1.mp3", "XC22.mp3", "XC999.mp3")
    reading = registry.read(tmp_path)
    found = reasons(reading)
    assert list(by_path(reading)) == ["XC567435.mp3"]
    assert found["XC254462"] == "listed in page.json, but not there: download it, or remove the row"
    assert "unknown" in found["XC1.mp3"] and "soundscape" in found["XC22.mp3"] and "no record lists it" in found["XC999.mp3"]


def test_metadata_without_its_downloads_is_one_line(tmp_path):
    write(tmp_path, "metadata/page1.json", answer(*({**V2, "id": str(n)} for n in range(100, 600))))
    touch(tmp_path, "audio/robin/a.wav")
    with pytest.raises(LayoutError, match="none of the 500 files that it lists is there"):
        registry.read(tmp_path)


def test_an_unknown_place_or_date_leaves_what_is_known(tmp_path):
    touch(tmp_path, "XC1.mp3", "XC2.mp3", "XC3.mp3")
    unknown = {"lat": None, "lng": None}
    records = {**V2, **unknown, "id": "1", "date": "2020-00-00"}, {**V2, **unknown, "id": "2", "date": "", "loc": "", "cnt": ""}, {**V2, "id": "3", "rec": ""}
    write(tmp_path, "page.json", answer(*records))
    groups = [row["group_id"] for row in by_path(registry.read(tmp_path)).values()]
    assert groups == ["Ana Lopes @ Albussac, France 2020-00-00", "Ana Lopes", "45.15,1.85 2020-06-10"]
