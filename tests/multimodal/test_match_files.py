"""Any two files are matched, or the error states the reason."""

import functools

import numpy as np
import pandas as pd
import pytest
from made_scenes import ONE, birds, library, media, results, rng, small_matcher
from media import backbone, by_second, recording, tone
from media import film as write_film
from PIL import Image

from birdlib import __main__, runtime, stages
from birdlib.multimodal import match_experiments, match_files, match_training, scene_encoders, scene_pairs, scenes
from birdlib.video import kinds

opened = functools.cache(scene_encoders.load)


def test_examples_are_the_most_confident_and_no_picture_is_shown_twice(monkeypatch):
    whole, generator = birds(4, n=2, splits=("test",)), rng(3)
    monkeypatch.setattr(match_training, "scores", lambda model, library, table: (generator.random(len(table)), None))
    shown = match_files.examples(None, whole, (whole.pictures, whole.sounds), rng(), n=2)
    assert shown["picture"].is_unique and list(shown) == ["picture", "sound", "match", "probability", "is_right"]
    kinds = list(zip(shown["match"], shown["is_right"], strict=True))
    assert kinds == [(1, True)] * 2 + [(0, False)] * 2 + [(1, False)] * 2
    assert (shown["is_right"] == ((shown["probability"] >= 0.5) == (shown["match"] == 1))).all()
    card = match_files.card(whole, next(shown.itertuples()))
    assert card["is_right"] and card["frames"].shape == card["spectrogram"].shape == (2, 8) and card["title"].startswith("picture of s")


def test_no_pairs_give_no_examples():
    whole = library(media("wren"), [])
    assert match_files.examples(small_matcher(), whole, (whole.pictures, whole.sounds), rng()).empty


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A finished stage 05 with an untrained matcher."""
    folder = tmp_path_factory.mktemp("outputs")
    runtime.set_seed(0)
    stage = folder / "05_match"
    stage.mkdir()
    match_experiments.build(ONE).save(stage / match_experiments.MATCHER)
    runtime.write_json(match_experiments.best(results({("bce", 0): {"validation": 0.9}})), stage / "best.json")
    figures = {"validation": 0.9, "unseen media": 0.8, "unseen species": 0.7, "unseen films": np.nan}
    runtime.write_table(results({("bce", 0): figures, ("bce", 1): {"unseen media": 0.1}}), stage / "results.parquet")
    runtime.write_json({name: kind() for name, kind in stages.FIELDS.items()}, stage / stages.RECEIPT)
    return folder


@pytest.fixture
def match(outputs, tmp_path, monkeypatch):
    """Matches two files of a folder; the matcher is loaded once."""
    monkeypatch.setattr(scene_encoders, "load", opened)
    monkeypatch.setattr(scenes, "load_backbone", lambda weights_dir="": backbone())
    return lambda picture, sound: match_files.match(tmp_path / picture, tmp_path / sound, outputs)


def photo(folder, name="a.png"):
    Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(folder / name)
    return name


def test_film_and_sound_are_matched_by_their_scenes(tmp_path, match):
    seen, heard = write_film(tmp_path / "a.mp4", by_second(8)), recording(tmp_path / "a.wav", tone(9.5))
    probability, table, basis = match(seen, heard)
    assert list(table) == ["picture_s", "sound_s", "probability", "cosine"] and 0 < probability < 1
    assert table["probability"].is_monotonic_decreasing and table["probability"].mean() == pytest.approx(probability)
    assert sorted(zip(table["picture_s"], table["sound_s"], strict=True)) == [
        (p, s) for p in (0, 2, 4) for s in (0, 4, 5.5)
    ]
    assert table["cosine"].between(-1.001, 1.001).all()
    matcher = "matcher: cnn (sound) and cnn_average (picture), trained with bce"
    assert basis == f"{matcher}; ROC-AUC 0.80 on unseen media, 0.70 on unseen species"
    assert match(seen, heard)[0] == probability


@pytest.mark.parametrize(
    ("film_s", "sound"),
    [
        (12, tone(5)),
        (5, tone(30)),
        (6, np.stack([tone(6), 0.5 * tone(6)])),
        (0.1, tone(6)),  # one frame
        (6, tone(0.5)),
    ],
    ids=["shorter", "longer", "stereo", "one frame", "half a second"],
)
def test_sound_and_film_of_any_length_are_matched(tmp_path, match, film_s, sound):
    seen, heard = write_film(tmp_path / "a.mkv", by_second(film_s)), recording(tmp_path / "a.wav", sound)
    own = write_film(tmp_path / "b.mkv", by_second(film_s), sound=sound)
    for other in (heard, own):
        probability, table, _ = match(seen, other)
        assert 0 < probability < 1 and len(table) and np.isfinite(table).all(axis=None)


def test_photo_is_matched_with_the_soundtrack_of_a_film(tmp_path, match):
    _, table, _ = match(photo(tmp_path), write_film(tmp_path / "a.mkv", by_second(4), sound=tone(4)))
    assert table[["picture_s", "sound_s"]].to_numpy().tolist() == [[0, 0]]


def damaged(folder, case):
    """(picture, sound) of which one is bad."""
    picture, sound = photo(folder), recording(folder / "a.wav", tone(4))
    if case == "no picture":
        return "none.png", sound
    if case == "no film":
        return "none.mp4", sound
    if case == "no sound":
        return picture, "none.wav"
    if case == "silent":
        return picture, recording(folder / "b.wav", np.zeros(100_000, np.float32))
    if case == "silent film":
        return picture, write_film(folder / "b.mkv", by_second(4))
    if case == "corrupt picture":
        (folder / "b.png").write_bytes((folder / picture).read_bytes()[:40])
        return "b.png", sound
    if case == "corrupt film":
        (folder / "b.mp4").write_bytes(b"this is no film" * 99)
        return "b.mp4", sound
    (folder / "b.wav").write_text("no sound")
    return picture, "b.wav"


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no picture", "none.png: there is no such file"),
        ("no film", "none.mp4: there is no such file"),
        ("no sound", "none.wav: there is no such file"),
        ("silent", "b.wav: is silent"),
        ("silent film", "b.mkv: has no sound"),
        ("corrupt picture", "b.png: "),
        ("corrupt film", "b.mp4: "),
        ("corrupt sound", "b.wav: "),
    ],
)
def test_error_names_the_file_that_cannot_be_used(tmp_path, match, case, words):
    with pytest.raises((scene_pairs.CorrespondenceError, kinds.MediaError)) as caught:
        match(*damaged(tmp_path, case))
    assert words in str(caught.value) and str(caught.value).split(": ", 1)[1]


def test_files_the_wrong_way_round_are_named(tmp_path, match):
    sound, photo = recording(tmp_path / "a.wav", tone(4)), tmp_path / "a.png"
    Image.new("RGB", (64, 48)).save(photo)
    with pytest.raises(scene_pairs.CorrespondenceError, match="a.wav: is a sound: give a film or photo first"):
        match(tmp_path / sound, tmp_path / sound)
    with pytest.raises(scene_pairs.CorrespondenceError, match="a.png: is a picture: give a film or photo first"):
        match(photo, photo)


def test_unfinished_stage_is_named(tmp_path):
    with pytest.raises(stages.MissingStageError, match="05_match.ipynb first"):
        match_files.match("a.png", "a.wav", tmp_path)


def test_match_command_prints_probability_and_scenes(tmp_path, outputs, match, capsys):
    picture, sound = photo(tmp_path), recording(tmp_path / "a.wav", tone(4))
    arguments = [str(tmp_path / sound), "--outputs", str(outputs)]
    assert __main__.main(["match", str(tmp_path / picture), *arguments]) == 0
    printed = capsys.readouterr().out
    assert "probability that they match: 0." in printed and "matcher: cnn" in printed and "picture_s" in printed
    assert __main__.main(["match", str(tmp_path / "none.png"), *arguments]) == 1
    assert "none.png: there is no such file" in capsys.readouterr().err


def test_match_command_needs_a_picture_and_a_sound(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        __main__.main(["match", "a.mp4"])
    assert "AUDIO" in capsys.readouterr().err
    error = scene_pairs.CorrespondenceError
    monkeypatch.setattr(match_files, "match", lambda *given: (_ for _ in ()).throw(error(str(given))))
    assert __main__.main(["match", "a.mp4", "a.wav"]) == 1
    assert "('a.mp4', 'a.wav', 'outputs')" in capsys.readouterr().err


def test_true_species_of_films(tmp_path):
    assert match_files.true_species(tmp_path) is None
    (tmp_path / "truth").mkdir()
    rows = [("videos/a_1.mp4", "wren"), ("videos/a_1.mp4", "tit"), ("videos/a_1.mp4", "wren"), ("videos/b.mp4", "tit")]
    pd.DataFrame(rows, columns=["video", "label"]).to_csv(tmp_path / "truth" / "video_tracks.csv", index=False)
    assert match_files.true_species(tmp_path) == {"video-a_1": {"wren", "tit"}, "video-b": {"tit"}}
