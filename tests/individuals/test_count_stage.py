"""Stage 09 as a user runs it, on films of which most are odd. Slow: a minute or two."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from birdlib import __main__, stages
from birdlib.analysis import films as films_of_analysis
from birdlib.data.synthetic import films, sample
from birdlib.video import io as video_io

pytestmark = pytest.mark.slow
SOUND = 0.1 * np.sin(np.arange(4 * 32_000) / 3).astype(np.float32)


def make_films(folder):
    """Small films, most with birds of the sample in them; their names."""
    source = sample.ensure() / "videos" / "aviary_01.mp4"
    shown = [image for _, image in itertools.islice(video_io.frames(source, 5.0, 5.0), 20)]
    sky = [np.full_like(shown[0], 200 + k % 2) for k in range(20)]
    folder.mkdir()
    write_film(shown, SOUND, folder / "whole.mp4", fps=5)
    write_film(sky, SOUND, folder / "sky.mp4", fps=5)
    write_film(shown, (), folder / "mute.mp4", fps=5)
    write_film(shown, np.zeros_like(SOUND), folder / "hush.mp4", fps=5)
    write_film([np.ascontiguousarray(np.rot90(image)) for image in shown], SOUND, folder / "upright.mp4", fps=5)
    write_film(shown[:1], (), folder / "moment.mp4", fps=5)
    cv2.imwrite(str(folder / "still.png"), shown[0][..., ::-1])
    whole = (folder / "whole.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "page.mp4").write_text("<html>not found</html>")
    (folder / "zero.mp4").write_bytes(b"")
    return [path.name for path in sorted(folder.iterdir())]


def write_film(images, sound, path, **options):
    films.write_film([image[..., ::-1] for image in images], sound, path, **options)  # it takes BGR


def run(folder, table, n_aviary=0):
    table.to_csv(folder / "manifest.csv", index=False)
    common = ["run", "--manifest", str(folder / "manifest.csv"), "--outputs", str(folder / "out")]
    small = [f"n_aviary={n_aviary}", "epochs=1", "n_draws=10", "n_annotated=9"]
    for number in ("01", "09"):
        assert __main__.main([*common, "--only", number, *itertools.chain(*(("-p", one) for one in small))]) == 0
    counts = pd.read_csv(folder / "out" / "09_count" / "counts.csv").set_index("recording_id")
    skipped = pd.read_parquet(folder / "out" / "09_count" / "skipped.parquet").set_index("path")["reason"]
    return counts, skipped


def test_unusual_films_are_counted_and_unreadable_ones_are_reported(tmp_path):
    names = make_films(tmp_path / "films")
    table = pd.DataFrame({"recording_id": [name.split(".")[0] for name in names], "species": ""})
    counts, skipped = run(tmp_path, table.assign(video_path=[f"films/{name}" for name in names]))
    assert set(skipped.index) == {"films/cut.mp4", "films/page.mp4", "films/zero.mp4"} and (skipped != "").all()
    assert set(counts.index) == set(table["recording_id"])
    for nobody in ("sky", "cut", "page", "zero"):
        assert counts.loc[nobody, ["n", "low", "high"]].tolist() == [0, 0, 0]
    assert (counts.loc[["whole", "mute", "hush"], "n"] >= 1).all()
    assert counts.loc["mute", "n"] == counts.loc["hush", "n"]  # silence is no sound
    for path in (tmp_path / "out" / "09_count" / "annotated").iterdir():
        assert len(list(video_io.frames(path))) > 0
    table, _, unread, _ = films_of_analysis.count([tmp_path / "films" / name for name in names], tmp_path / "analysis", tmp_path / "out")
    analysed = table.assign(film=[Path(path).stem for path in table["path"]]).set_index("film")
    assert set(analysed.index) == set(counts.index) - {"cut", "page", "zero", "still"} and len(unread) == 3 + ("still.png" in names)
    for column in ("n", "at_once"):
        assert analysed[column].to_dict() == counts.loc[analysed.index, column].to_dict()
    receipt = stages.receipt(tmp_path / "out", "09_count")["results"]
    assert receipt["films"] == len(names) and receipt["skipped"] == 3


def test_films_without_birds_give_no_encoder(tmp_path, capsys):
    """Nor do birds that are invented; so no bird can be compared with those of the stage."""
    (tmp_path / "films").mkdir()
    names = [f"sky{k}.mp4" for k in range(6)]
    for k, name in enumerate(names):
        write_film([np.full((96, 128, 3), 100 + 20 * k, np.uint8)] * 10, (), tmp_path / "films" / name, fps=5)
    table = pd.DataFrame({"recording_id": [name[:-4] for name in names], "species": "", "video_path": [f"films/{name}" for name in names]})
    counts, skipped = run(tmp_path, table, n_aviary=8)
    assert (counts[["n", "low", "high"]] == 0).all(axis=None) and len(skipped) == 0
    assert "resnet50" not in stages.receipt(tmp_path / "out", "09_count")["weights"]
    assert __main__.main(["gallery", "add", "Anna", str(tmp_path / "films" / names[0]), "--outputs", str(tmp_path / "out")]) == 1
    assert "no bird was detected" in capsys.readouterr().err
