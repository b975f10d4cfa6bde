"""The JSON files of the iNaturalist competitions, as the READMEs of github.com/visipedia/inat_comp describe them."""

from made_layouts import by_path, reasons, touch, write

from birdlib.data.layouts import registry

ROBIN = {
    "id": 4, "name": "Erithacus rubecula", "common_name": "European Robin", "supercategory": "Birds", "kingdom": "Animalia", "class": "Aves",
    "genus": "Erithacus", "specific_epithet": "rubecula", "image_dir_name": "04_Animalia_Chordata_Aves_Erithacus_rubecula",
}  # fmt: skip
WREN = {"id": 7, "name": "Troglodytes troglodytes", "common_name": "Eurasian Wren", "supercategory": "Birds", "image_dir_name": "07_wren"}
LICENCES = [
    {"id": 1, "name": "Attribution-NonCommercial License", "url": "http://creativecommons.org/licenses/by-nc/4.0/"},
    {"id": 0, "name": "No known copyright restrictions", "url": "http://flickr.com/commons/usage/"},
]
PHOTOS = "train_mini/04_robin/a.jpg", "train_mini/07_wren/b.jpg"


def content(paths=PHOTOS):
    image = {"width": 500, "height": 400, "license": 1, "rights_holder": "Ana", "date": "2014-07-16 00:00:00+00:00", "latitude": 43.83486, "longitude": -71.22231}
    return {
        "info": {"year": 2021}, "images": [{"id": n, "file_name": path, **image} for n, path in enumerate(paths)], "categories": [ROBIN, WREN],
        "annotations": [{"id": 10 + n, "image_id": n, "category_id": category} for n, category in enumerate((4, 7)[: len(paths)])], "licenses": LICENCES,
    }  # fmt: skip


def test_the_files_of_2021(tmp_path):
    """``train_mini.json`` beside ``train_mini/``."""
    write(tmp_path, "train_mini.json", content())
    reading = registry.read(touch(tmp_path, *PHOTOS))
    rows = by_path(reading)
    robin = rows[PHOTOS[0]]
    assert list(reading.layouts["layout"]) == ["inaturalist-competition"] and reading.unplaced.empty
    assert (robin["species"], robin["common_name"], rows[PHOTOS[1]]["species"]) == ("Erithacus rubecula", "European Robin", "Troglodytes troglodytes")
    assert robin["group_id"] == "Ana @ 43.83,-71.22 2014-07-16" and robin["licence"] == "CC BY-NC 4.0"
    assert robin["original_split"] == "train"


def test_the_files_of_2018_in_a_folder_of_their_own(tmp_path):
    """``annotations/train2018.json`` beside ``images/train_val2018/``; without place and licence, with boxes as in 2017."""
    table = content(("train_val2018/Aves/2820/x.jpg", "train_val2018/Aves/2820/gone.jpg"))
    table["images"] = [{"id": image["id"], "file_name": image["file_name"], "width": 1, "height": 1} for image in table["images"]]
    table["annotations"][0]["bbox"] = [10, 20, 30.5, 40]
    table["licenses"] = []
    write(tmp_path, "inat/annotations/train2018.json", table)
    touch(tmp_path, "inat/images/train_val2018/Aves/2820/x.jpg", "inat/images/train_val2018/Aves/2820/other.jpg")
    reading = registry.read(tmp_path)
    row = by_path(reading)["inat/images/train_val2018/Aves/2820/x.jpg"]
    assert row["species"] == "Erithacus rubecula" and [row[f"box_{name}"] for name in ("x", "y", "width", "height")] == ["10", "20", "30.5", "40"]
    assert "not there" in reasons(reading)["train_val2018/Aves/2820/gone.jpg"]
    assert "not listed in train2018.json" in reasons(reading)["inat/images/train_val2018/Aves/2820/other.jpg"]


def test_several_species_in_one_photo(tmp_path):
    table = content()
    table["annotations"].append({"id": 99, "image_id": 0, "category_id": 7})
    write(tmp_path, "val.json", table)
    row = by_path(registry.read(touch(tmp_path, *PHOTOS)))[PHOTOS[0]]
    assert (row["species"], row["secondary_species"], row["original_split"]) == ("Erithacus rubecula", "Troglodytes troglodytes", "val")
