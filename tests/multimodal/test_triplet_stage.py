"""Stage 04 as a user runs it, on recordings and photos of which some are bad. Slow: a minute or two."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from birdlib import __main__, stages
from birdlib.data.synthetic import sample

pytestmark = pytest.mark.slow
SPECIES = ["cobflu1", "grebuz1", "grywag1", "redcha1", "ruflut1"]


def make_manifest(folder, n_sounds=6, n_photos=5):
    """A manifest of a few recordings and photos of the sample: its path and table."""
    taken = sample.ensure()
    train = pd.read_csv(taken / "train.csv", dtype=str)
    rows = []
    for species in SPECIES:
        sounds = [taken / "train_audio" / name for name in train.loc[train["primary_label"] == species, "filename"]]
        photos = sorted((taken / "images" / species).iterdir())
        rows += [(species, "audio_path", path) for path in sounds[:n_sounds]]
        rows += [(species, "image_path", path) for path in photos[:n_photos]]
    folder.mkdir()
    for _, _, path in rows:
        shutil.copy(path, folder)
    table = pd.DataFrame(
        [{"recording_id": path.stem, "species": species, column: path.name} for species, column, path in rows]
    )
    return folder / "manifest.csv", table


def run(manifest, table, outputs):
    """The stages up to 04; two epochs."""
    table.to_csv(manifest, index=False)
    common = ["run", "--manifest", str(manifest), "--outputs", str(outputs), "-p", "epochs=2"]
    for number in ("01", "02", "03", "04"):
        assert __main__.main([*common, "--only", number]) == 0
    folder = outputs / "04_triplet"
    return stages.receipt(outputs, "04_triplet")["results"], folder


def find(query, outputs, capsys):
    """The first row that the command prints, as words."""
    capsys.readouterr()
    assert __main__.main(["nearest", str(query), "--outputs", str(outputs)]) == 0
    return capsys.readouterr().out.splitlines()[1].split()


def add_photos(folder, table):
    """Photos that cannot be read, and photos of rare kinds that can; two species with one file each."""
    whole = Image.open(folder / table["image_path"].dropna().iloc[0])
    data = (folder / table["image_path"].dropna().iloc[1]).read_bytes()
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "page.jpg").write_text("<html>not found</html>")
    (folder / "cut.jpg").write_bytes(data[: len(data) // 2])
    whole.convert("L").save(folder / "grey.png")
    whole.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(np.asarray(whole.convert("L")).astype(np.uint16) * 257).save(folder / "deep.png")
    shutil.copy(folder / table["image_path"].dropna().iloc[2], folder / "jay.jpg")
    shutil.copy(folder / table["audio_path"].dropna().iloc[0], folder / "owl.ogg")
    names = ["zero.jpg", "page.jpg", "cut.jpg", "grey.png", "cmyk.jpg", "deep.png"]
    rows = [{"recording_id": name[:-4], "species": SPECIES[0], "image_path": name} for name in names]
    rows.append({"recording_id": "jay", "species": "jay", "image_path": "jay.jpg"})
    rows.append({"recording_id": "owl", "species": "owl", "audio_path": "owl.ogg"})
    return pd.concat([table, pd.DataFrame(rows)], ignore_index=True)


def test_bad_photos_and_species_with_too_little_are_listed_and_the_stage_finishes(tmp_path, capsys):
    manifest, table = make_manifest(tmp_path / "data")
    results, folder = run(manifest, add_photos(tmp_path / "data", table), tmp_path / "out")
    skipped = pd.read_parquet(folder / "skipped.parquet")
    assert set(skipped["path"]) == {"zero.jpg", "page.jpg", "cut.jpg", "species jay", "species owl"}
    assert set(skipped["stage"]) == {"04_triplet"} and (skipped["reason"] != "").all() and results["skipped"] == 3
    index = pd.read_parquet(folder / "index.parquet")
    assert {"grey", "cmyk", "deep", "jay", "owl"} < set(index["recording_id"])
    assert set(pd.read_parquet(folder / "results.parquet")["modality"]) >= {"sound only", "photo only", "early fusion"}
    cosine, kind, *_ = find(tmp_path / "data" / "deep.png", tmp_path / "out", capsys)
    assert float(cosine) == pytest.approx(1, abs=2e-3) and kind == "photo"


def test_stage_without_photos_trains_on_sound_only(tmp_path, capsys):
    manifest, table = make_manifest(tmp_path / "data", n_photos=0)
    results, folder = run(manifest, table, tmp_path / "out")
    assert results["photos"] == 0 and set(pd.read_parquet(folder / "results.parquet")["modality"]) == {"sound only"}
    assert len(pd.read_parquet(folder / "history.parquet")) == 2
    found = find(tmp_path / "data" / table["audio_path"].iloc[0], tmp_path / "out", capsys)
    assert found[1] == "sound" and found[2] in SPECIES
    photo = tmp_path / "photo.png"
    Image.new("RGB", (300, 300)).save(photo)
    assert __main__.main(["nearest", str(photo), "--outputs", str(tmp_path / "out")]) == 1
    assert "no photos to train on" in capsys.readouterr().err
