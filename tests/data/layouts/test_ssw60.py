"""Sapsucker Woods 60, with the columns and folders that the README of github.com/visipedia/ssw60 shows."""

from made_layouts import by_path, reasons, touch, write

from birdlib.data.layouts import registry

TAXA = """label,species_code,inat_taxon_id,inat2021_label,nabirds_labels,common_name,scientific_name,family,order
0,cangoo,7089,3226,57 457,Canada Goose,Branta canadensis,"Anatidae (Ducks, Geese, and Waterfowl)",Anseriformes
1,wooduc,7107,3188,81 314 613,Wood Duck,Aix sponsa,"Anatidae (Ducks, Geese, and Waterfowl)",Anseriformes
"""
VIDEO = """asset_id,label,split,fps,frame_count,duration_seconds,frame_height,frame_width,frame_channels,orginal_video_start_second,original_video_end_second,original_video_target_second,target_second,reliable_audio
483821,0,train,25,327,9.96,1080,1920,3,63,73,68,5,1
483326,1,test,25,320,9.96,1080,1920,3,35,45,40,5,1
"""
AUDIO = """asset_id,label,split,samplerate,channels,samples,duration_seconds
45516191,0,train,22050,1,220500,10
292755661,1,test,22050,1,220500,10
"""
NABIRDS = """asset_id,label,split,height,width,channels,photographer
0233251e10054daa99e6b68369e143fb,0,train,1024,683,3,David Mozzoni
0a1e090d2db54cd088cb99e56bdb6cea,0,train,1024,820,3,David Mozzoni
"""
INAT = "asset_id,label,split,height,width,channels,rights_holder,license_id\n73542,1,val,500,333,3,Kent Miller,5\n"
FILES = (
    "video_ml/483821.mp4", "video_ml/483326.mp4", "audio_ml/45516191.wav", "audio_ml/292755661.wav",
    "images_nabirds/0233251e10054daa99e6b68369e143fb.jpg", "images_nabirds/0a1e090d2db54cd088cb99e56bdb6cea.jpg", "images_inat/73542.jpg",
)  # fmt: skip


def made(root):
    for name, content in (("taxa", TAXA), ("video_ml", VIDEO), ("audio_ml", AUDIO), ("images_nabirds", NABIRDS), ("images_inat", INAT)):
        write(root, f"{name}.csv", content)
    return touch(root, *FILES)


def test_all_four_parts(tmp_path):
    reading = registry.read(made(tmp_path))
    rows = by_path(reading)
    assert list(reading.layouts["layout"]) == ["ssw60"] and set(rows) == set(FILES) and reading.unplaced.empty
    film, sound, photo = rows["video_ml/483326.mp4"], rows["audio_ml/45516191.wav"], rows["images_inat/73542.jpg"]
    assert (film["species"], film["common_name"], film["original_split"], film["group_id"]) == ("Aix sponsa", "Wood Duck", "test", "ML483326")
    assert (sound["species"], sound["recording_id"], sound["group_by"]) == ("Branta canadensis", "ML45516191", "asset of the Macaulay Library")
    assert (photo["species"], photo["attribution"], photo["original_split"]) == ("Aix sponsa", "Kent Miller", "val")
    assert rows[FILES[4]]["group_id"] == rows[FILES[5]]["group_id"] == "David Mozzoni"
    assert all(row["licence"].startswith("SSW60 terms of use") for row in rows.values())


def test_a_part_alone_in_a_folder_below(tmp_path):
    """Films only, with English names; what is missing or not listed is named."""
    root = tmp_path / "data" / "ssw60"
    write(root, "taxa.csv", TAXA)
    write(root, "video_ml.csv", VIDEO)
    touch(root, "video_ml/483821.mp4", "video_ml/1.mp4")
    reading = registry.read(tmp_path, names="common")
    assert {path: row["species"] for path, row in by_path(reading).items()} == {"data/ssw60/video_ml/483821.mp4": "Canada Goose"}
    assert "listed in data/ssw60/video_ml.csv" in reasons(reading)["data/ssw60/video_ml/483326.mp4"]
    assert "not listed" in reasons(reading)["data/ssw60/video_ml/1.mp4"]
