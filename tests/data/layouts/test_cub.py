"""CUB-200-2011 and NABirds, whose READMEs describe the same tables: ``<image_id> <value>``, separated by a blank."""

from made_layouts import by_path, reasons, touch, write

from birdlib.data.layouts import registry

ALBATROSS, BLACKBIRD = "001.Black_footed_Albatross", "009.Brewer_Blackbird"
CUB = {
    "images.txt": f"1 {ALBATROSS}/Black_Footed_Albatross_0046_18.jpg\n2 {ALBATROSS}/Black_Footed_Albatross_0009_34.jpg\n3 {BLACKBIRD}/Brewer_Blackbird_0001_1.jpg\n",
    "image_class_labels.txt": "1 1\n2 1\n3 9\n",
    "classes.txt": f"1 {ALBATROSS}\n9 {BLACKBIRD}\n",
    "train_test_split.txt": "1 0\n2 1\n3 1\n",
    "bounding_boxes.txt": "1 60.0 27.0 325.0 304.0\n2 139.0 30.0 153.0 264.0\n3 14.0 112.0 388.0 186.0\n",
}


def made(root, tables=CUB):
    for name, content in tables.items():
        write(root, name, content)
    return root


def test_photos_boxes_and_split_of_cub(tmp_path):
    paths = [f"CUB_200_2011/images/{line.split()[1]}" for line in CUB["images.txt"].splitlines()]
    made(tmp_path / "CUB_200_2011")
    touch(tmp_path, *paths, "CUB_200_2011/README", "CUB_200_2011/parts/parts.txt")
    reading = registry.read(tmp_path)
    rows = by_path(reading)
    assert list(reading.layouts["folder"]) == ["CUB_200_2011"] and list(rows) == paths and reading.unplaced.empty
    first, last = rows[paths[0]], rows[paths[2]]
    assert (first["species"], last["species"]) == ("Black footed Albatross", "Brewer Blackbird")
    assert [first[name] for name in ("box_x", "box_y", "box_width", "box_height", "original_split")] == ["60.0", "27.0", "325.0", "304.0", "test"]
    assert first["recording_id"] == "Black_Footed_Albatross_0046_18" and first["source"] == "CUB-200-2011"
    assert set(reading.table["group_by"]) == {"each file alone"}


def test_nabirds_tells_the_photographers(tmp_path):
    ids = "0000139e-21dc-4d0c-bfe1-4cae3c85c829", "0000d9fc-4e02-4c06-a0af-a55cfb16b12b"
    made(
        tmp_path,
        {
            "images.txt": f"{ids[0]} 0817/0000139e21dc4d0cbfe14cae3c85c829.jpg\n{ids[1]} 0860/0000d9fc4e024c06a0afa55cfb16b12b.jpg\n",
            "image_class_labels.txt": f"{ids[0]} 817\n{ids[1]} 860\n", "classes.txt": "817 Oak Titmouse\n860 Bushtit\n",
            "photographers.txt": f"{ids[0]} Mark Eden\n{ids[1]} Mark Eden\n", "hierarchy.txt": "817 1\n860 1\n",
        },
    )  # fmt: skip
    touch(tmp_path, "images/0817/0000139e21dc4d0cbfe14cae3c85c829.jpg", "images/0860/0000d9fc4e024c06a0afa55cfb16b12b.jpg")
    rows = list(by_path(registry.read(tmp_path)).values())
    assert [row["species"] for row in rows] == ["Oak Titmouse", "Bushtit"]
    assert {row["group_id"] for row in rows} == {"Mark Eden"} and {row["source"] for row in rows} == {"NABirds"}


def test_photos_that_are_missing_or_not_listed(tmp_path):
    made(tmp_path)
    touch(tmp_path, f"images/{ALBATROSS}/Black_Footed_Albatross_0046_18.jpg", f"images/{ALBATROSS}/mine.jpg")
    reading = registry.read(tmp_path)
    assert len(reading.table) == 1
    assert reasons(reading)[f"images/{ALBATROSS}/mine.jpg"].startswith("not listed in images.txt")
    assert "listed in images.txt, but not there" in reasons(reading)[f"images/{BLACKBIRD}/Brewer_Blackbird_0001_1.jpg"]
