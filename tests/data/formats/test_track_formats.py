"""Tracks and boxes for the MOT challenge, CVAT and COCO."""

import json
from xml.etree import ElementTree

import films_made
import numpy as np
import pandas as pd
import pytest
import supervision
from made_tables import films, tracks

from birdlib import runtime
from birdlib.data import formats
from birdlib.data.formats import reading

BOX = ["x", "y", "width", "height"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def film(here):
    """Ten images a second, two seconds."""
    return films_made.steady(here / "film.mp4")


def write(name, given=None, sizes=None):
    return formats.write({"tracks": tracks() if given is None else given, "films": films() if sizes is None else sizes}, name, name).written


def as_sorted(table):
    return table[["track", "time_s", *BOX, "score"]].sort_values(["track", "time_s"], ignore_index=True)


def test_mot_counts_frames_from_1_and_is_read_by_columns(here):
    """motchallenge.net: frame, id, left, top, width, height, confidence, x, y, z."""
    path, info = write("mot")
    table = pd.read_csv(path, header=None)
    assert table.shape == (8, 10) and table[0].tolist() == [1, 1, 2, 2, 3, 4, 7, 8]
    assert table.iloc[1].tolist() == [1, 3, 30.0, 20.5, 30.0, 40.25, 0.8, -1, -1, -1]
    assert info.read_text().splitlines()[:2] == ["[Sequence]", "name=film"] and "frameRate=5" in info.read_text().splitlines()


def test_mot_is_read_back_at_the_rate_of_its_sequence(here):
    path = write("mot")[0]
    pd.testing.assert_frame_equal(as_sorted(formats.read(path)), as_sorted(tracks()), check_dtype=False)


def test_a_mot_sequence_of_ground_truth_is_read(here):
    """MOT17: NAME/seqinfo.ini, NAME/gt/gt.txt with a flag that is 0 for boxes to be ignored, class and visibility."""
    (here / "MOT17-02/gt").mkdir(parents=True)
    (here / "MOT17-02/seqinfo.ini").write_text("[Sequence]\nname=MOT17-02\nimDir=img1\nframeRate=30\nseqLength=600\nimWidth=1920\nimHeight=1080\nimExt=.jpg\n")
    path = here / "MOT17-02/gt/gt.txt"
    path.write_text("1,1,912,484,97,109,0,7,1\n31,2,912,484,97,109,1,1,1\n")
    table = formats.read(path)
    assert table[["track", "time_s", "x", "path"]].to_numpy().tolist() == [[2, 1.0, 912.0, "MOT17-02"]]


def test_mot_without_a_frame_rate_says_what_to_do(here):
    path = here / "x.txt"
    path.write_text("1,1,912,484,97,109,1\n")
    with pytest.raises(reading.FormatError, match="x.txt: counts frames, and its film x cannot be read .* put the film beside it"):
        formats.read(path)


def test_frames_are_those_of_the_film_that_is_there(here, film):
    """Sampled five times a second of a film of ten images a second: every second frame."""
    path = formats.write({"tracks": tracks()}, "mot", "mot").written[0]
    assert sorted(set(pd.read_csv(path, header=None)[0])) == [1, 3, 5, 7, 13, 15]


def test_a_film_that_is_gone_is_taken_to_have_the_rate_of_its_boxes(here):
    with pytest.warns(runtime.FileWarning, match="film.mp4: frames are counted at 5 a second"):
        path = formats.write({"tracks": tracks()}, "mot", "mot").written[0]
    assert sorted(set(pd.read_csv(path, header=None)[0])) == [1, 2, 3, 4, 7, 8]


def test_cvat_has_the_structure_of_its_documentation(here):
    """docs.cvat.ai, "XML annotation format", version 1.1, interpolation."""
    root = ElementTree.parse(write("cvat")[0]).getroot()
    assert root.tag == "annotations" and root.findtext("version") == "1.1"
    task = {element.tag: element.text for element in root.find("meta/task")}
    assert (task["name"], task["size"], task["mode"], task["start_frame"], task["stop_frame"]) == ("film.mp4", "8", "interpolation", "0", "7")
    assert [root.findtext(f"meta/task/original_size/{side}") for side in ("width", "height")] == ["640", "480"]
    assert [label.findtext("name") for label in root.findall("meta/task/labels/label")] == ["bird"]
    assert [item.findtext("name") for item in root.findall("meta/task/labels/label/attributes/attribute")] == ["identity", "score"]
    assert (root.findtext("meta/task/segments/segment/start"), root.findtext("meta/task/segments/segment/stop")) == ("0", "7")
    found = root.findall("track")
    assert [(track.get("id"), track.get("label"), track.get("group_id")) for track in found] == [("0", "bird", "1"), ("1", "bird", "1"), ("2", "bird", "2")]
    needed = {"frame", "keyframe", "outside", "occluded", "xtl", "ytl", "xbr", "ybr", "z_order"}
    assert all(set(box.attrib) == needed for track in found for box in track)


def test_a_track_in_cvat_is_outside_where_the_bird_was_not_detected(here):
    """Track 1 has frames 0, 1 and 3: outside at 2, and after its end at 4. Track 2 ends with the film."""
    found = ElementTree.parse(write("cvat")[0]).getroot().findall("track")
    flags = [[(int(box.get("frame")), box.get("outside")) for box in track] for track in found]
    assert flags[0] == [(0, "0"), (1, "0"), (2, "1"), (3, "0"), (4, "1")]
    assert flags[1] == [(6, "0"), (7, "0")]
    assert found[0][0].get("xbr") == "40.00" and found[0][0].findtext("attribute") == "0"


def test_cvat_is_read_back_with_individuals(here, film):
    path = formats.write({"tracks": tracks()}, "cvat", "cvat").written[0]
    table = formats.read(path, media=here)
    pd.testing.assert_frame_equal(as_sorted(table), as_sorted(tracks()), check_dtype=False)
    assert table.groupby("track")["identity"].first().tolist() == [0, 0, 1] and set(table["path"]) == {"film.mp4"}


def test_what_cvat_exports_itself_is_read(here, film):
    """The dump of ``dump_as_cvat_interpolation``: boxes between the key frames, shapes that are no boxes, other labels."""
    path = here / "annotations.xml"
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <job>\n      <id>5</id>\n      <mode>interpolation</mode>\n'
        "      <source>film.mp4</source>\n    </job>\n    <dumped>2026-05-30 16:05:07.134046+00:00</dumped>\n  </meta>\n"
        '  <track id="0" label="robin" source="manual">\n'
        '    <box frame="5" keyframe="1" outside="0" occluded="0" xtl="1.00" ytl="2.00" xbr="11.00" ybr="22.00" z_order="0">\n    </box>\n'
        '    <box frame="6" keyframe="0" outside="0" occluded="0" xtl="2.00" ytl="2.00" xbr="12.00" ybr="22.00" z_order="0">\n    </box>\n'
        '    <box frame="7" keyframe="1" outside="1" occluded="0" xtl="3.00" ytl="2.00" xbr="13.00" ybr="22.00" z_order="0">\n    </box>\n  </track>\n'
        '  <track id="1" label="car" source="manual">\n    <polygon frame="0" points="324.79,213.16;323.74,227.90" outside="0" occluded="0" keyframe="1">\n    </polygon>\n  </track>\n'
        "</annotations>\n"
    )
    table = formats.read(path)
    assert table[["path", "species", "track", "time_s", *BOX]].to_numpy().tolist() == [
        ["film.mp4", "robin", 1, 0.5, 1.0, 2.0, 10.0, 20.0],
        ["film.mp4", "robin", 1, 0.6, 2.0, 2.0, 10.0, 20.0],
    ]
    assert table["identity"].tolist() == [-1, -1]


def test_cut_off_xml_says_so(here):
    path = write("cvat")[0]
    path.write_text(path.read_text()[:-40])
    with pytest.raises(reading.FormatError, match="is not complete XML"):
        formats.read(path)


def test_supervision_reads_the_boxes_of_films_in_coco(here):
    """Another reader of the format, with the bounding boxes as corners."""
    path = write("coco")[0]
    content = json.loads(path.read_text())
    dataset = supervision.DetectionDataset.from_coco("images", str(path))
    assert dataset.classes == ["bird"] and len(content["images"]) == 6
    boxes = next(found for path, found in dataset.annotations.items() if path.endswith("frame_000000.jpg")).xyxy
    np.testing.assert_allclose(sorted(boxes.tolist()), [[10.0, 20.5, 40.0, 60.75], [30.0, 20.5, 60.0, 60.75]])


def test_cocos_ids_belong_together(here):
    """cocodataset.org: annotations name an image and a category; area and iscrowd are there; ids are unique."""
    content = json.loads(write("coco")[0].read_text())
    images = {image["id"]: image for image in content["images"]}
    assert len(images) == len(content["images"]) and {category["id"] for category in content["categories"]} == {1}
    assert len({item["id"] for item in content["annotations"]}) == 8
    for item in content["annotations"]:
        assert item["area"] == pytest.approx(30.0 * 40.25) and item["iscrowd"] == 0 and item["category_id"] == 1
        assert images[item["image_id"]]["width"] == 640 and images[item["image_id"]]["video_id"] == 1


@pytest.mark.parametrize(("old", "new"), [('"file_name": "film/', '"name": "film/'), ('"image_id": 1', '"image_id": 99'), ('"fps": 5.0', '"fps": "x"'), ('"bbox": [10.0', '"bbox": ["x"')])
def test_coco_without_what_belongs_together_says_so(here, old, new):
    path = write("coco")[0]
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(reading.FormatError, match="is not complete"):
        formats.read(path)


def test_xml_that_declares_another_encoding_is_read_as_it_is_encoded(here, film):
    path = write("cvat")[0]
    path.write_bytes(path.read_text().replace('encoding="utf-8"', 'encoding="utf-16"').encode("utf-16"))
    assert len(formats.read(path, media=here)) == 8


def test_coco_is_read_back(here):
    table = formats.read(write("coco")[0])
    pd.testing.assert_frame_equal(as_sorted(table), as_sorted(tracks()), check_dtype=False)
    assert table["path"].unique().tolist() == ["film.mp4"]


def test_boxes_of_photos_have_species_as_categories(here):
    boxes = pd.DataFrame(
        [("photos/a/x.jpg", "robin", 1, 2, 3, 4), ("photos/b/x.jpg", "wren", 5, 6, 7, 8), ("photos/b/x.jpg", "robin", 0, 0, 2, 2)], columns=["path", "species", *BOX]
    ).assign(image_width=640, image_height=480)
    path = formats.write({"boxes": boxes}, "coco", "out").written[0]
    content = json.loads(path.read_text())
    assert [image["file_name"] for image in content["images"]] == ["a/x.jpg", "b/x.jpg"]
    assert {category["id"]: category["name"] for category in content["categories"]} == {1: "robin", 2: "wren"}
    table = formats.read(path)
    assert table.groupby("path")["species"].agg(set).to_dict() == {"a/x.jpg": {"robin"}, "b/x.jpg": {"wren", "robin"}}
    assert table["time_s"].isna().all() and table["image_width"].tolist() == [640] * 3


@pytest.mark.parametrize("name", ["mot", "cvat", "coco"])
def test_a_film_without_birds_is_listed_without_boxes(here, name):
    given = {"tracks": tracks().iloc[:0], "films": films()}
    if name == "coco":
        assert json.loads(formats.write(given, name, name).written[0].read_text())["annotations"] == []
        return
    path = formats.write(given, name, name).written[0]
    assert path.stem == "film" and len(formats.read(path, name)) == 0


def test_names_that_xml_cannot_hold_are_written_without_those_characters(here):
    name = 'a&b<c>"\x01é.mp4'
    root = ElementTree.parse(write("cvat", tracks(name), films(name))[0]).getroot()
    assert root.findtext("meta/task/name") == 'a&b<c>"é.mp4'
