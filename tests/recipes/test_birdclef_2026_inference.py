"""The recipe birdclef-2026, stages 06 and 08: the layout of 2026, and every number of their tables in what was really called."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import spying
import tone_recordings

from birdlib import runtime
from birdlib.data import submissions
from birdlib.models import weights
from birdlib.species import classifiers, mel_models, site_hour, teachers

RECIPE = "birdclef-2026"
CLASSES = ["low", "high"]
QUICK = {"epochs": 1, "n_networks": 1}
NIGHT, DAY = "20250606_030007", "20250606_090007"
HERTZ = {"low": 1000, "high": 4000}
WINDOWS = 3  # of a soundscape
ANNOTATED = [f"BC2026_Train_{i:04d}_S{8 + i % 2:02d}_{(NIGHT, DAY)[i % 2]}" for i in range(6)]  # low at S08 by night, high at S09 by day
UNLABELLED = [f"BC2026_Train_{i:04d}_S08_{NIGHT}" for i in (6, 7)]
TEST = ["BC2026_Test_0001_S08_20250607_030007", "BC2026_Test_0002_S09_20250607_090007"]
WATCHED = [
    "birdlib.species.soundscape_windows.sample", "birdlib.species.soundscape_annotations.human_labels", "birdlib.species.self_training.run",
    "birdlib.species.site_hour.fit", "birdlib.species.site_hour.apply", "birdlib.species.smoothing.spans", "birdlib.species.smoothing.smooth",
    "birdlib.species.smoothing.top_n", "birdlib.species.inference.load", "birdlib.species.workers.Workers.__init__",
]  # fmt: skip


def make_layout(root):
    """Soundscapes of 15 s in the layout of 2026: a tone per window, labels as rows of a window, twice, with an unknown code, and of a test soundscape."""
    rng = np.random.default_rng(0)
    for folder, names in (("train_soundscapes", [*ANNOTATED, *UNLABELLED]), ("test_soundscapes", TEST)):
        for path in (root / folder).glob("*.flac"):
            path.unlink()
        for name in names:
            tone = np.sin(2 * np.pi * HERTZ["low" if "S08" in name else "high"] * np.arange(5 * WINDOWS * 32_000) / 32_000)
            soundfile.write(root / folder / f"{name}.ogg", 0.2 * tone + 0.01 * rng.standard_normal(len(tone)), 32_000)
    rows = ["filename,start,end,primary_label"]
    for name in [*ANNOTATED, TEST[0]]:
        label = "low" if "S08" in name else "high"
        rows += [f"{name}.ogg,00:00:00,00:00:05,{label};1161364son01", f"{name}.ogg,00:00:00,00:00:05,{label};1161364son01", f"{name}.ogg,00:00:05,00:00:10,"]
    (root / "train_soundscapes_labels.csv").write_text("\n".join(rows))


def make_classifier(folder, prior):
    """Two mel models with one front end, and the prior of 06 beside them, as 07 leaves it."""
    names = ["members/a", "members/b"]
    for name in names:
        model, _ = mel_models.build(len(CLASSES), mode="multi")
        classifiers.save(folder / name, model, CLASSES, {"kind": "waveform", "sample_rate_hz": 32_000, "window_s": 5.0, "prior": [0.5, 0.5]})
    classifiers.save(folder, classifiers.build_head(2, 2, hidden=()), CLASSES, {"prior": [0.5, 0.5]})
    runtime.write_json({"rule": "mean", "members": names, "thresholds": [0.5, 0.5], "calibration": {}, "prior": [0.5, 0.5]}, folder / "ensemble.json")
    site_hour.save(prior, folder)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(spy, receipts, outputs) of 06, without teachers, and of 08, on two cores."""
    outputs = tone_recordings.make(tmp_path_factory.mktemp("outputs"))
    make_layout(outputs / "recordings")
    requested = []

    def missing(name):
        def build(*arguments):
            requested.append(name)
            raise weights.MissingWeightsError(f"{name} is nowhere")

        return build

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(teachers, "BUILDERS", {name: missing(name) for name in ("birdnet", "perch_v2", "yamnet")})
        monkeypatch.setattr("birdlib.species.classifiers.require_same_embedder", lambda *_: None)  # the patches of 03 are made
        monkeypatch.setattr("joblib.cpu_count", lambda: 2)
        spy = spying.Spy(monkeypatch)
        spy.watch(*WATCHED)
        with pytest.warns(UserWarning, match="1 labels are no species of the recordings and are dropped: 1161364son01"):
            receipts = spying.run(monkeypatch, RECIPE, outputs, only=("06",), **QUICK)
        prior = site_hour.load(outputs / "06_pseudolabel", CLASSES)
        make_classifier(outputs / "classifier", prior)
        given = {"data_dir": outputs / "recordings", "classifier_dir": outputs / "classifier"}
        receipts |= spying.run(monkeypatch, RECIPE, outputs, only=("08",), **given)
    assert requested == ["perch_v2", "birdnet", "yamnet"]
    return spy, receipts, outputs


@pytest.mark.slow
def test_annotations_of_training_soundscapes_alone_are_used(ran):
    """Of two annotated windows a soundscape, the second is of no species; the third is not annotated. All soundscapes are read, up to 6,000."""
    spy, receipts, outputs = ran
    [((paths, n, _, annotated), _)] = spy.calls["birdlib.species.soundscape_windows.sample"]
    assert n == 6000 and {path.stem for path in paths} == {*ANNOTATED, *UNLABELLED} and annotated == {*ANNOTATED, TEST[0]}
    assert spy.calls["birdlib.species.soundscape_annotations.human_labels"][0][0][0] == outputs / "recordings" / "train_soundscapes_labels.csv"
    labels = pd.read_parquet(outputs / "06_pseudolabel" / "labels.parquet")
    human = labels[labels["kind"] == "human"].set_index(["row_id", "label"])["target"]
    assert human[f"{ANNOTATED[0]}_5", "low"] == 1 and human[f"{ANNOTATED[0]}_5", "high"] == human[f"{ANNOTATED[0]}_10", "low"] == 0
    assert receipts["06_pseudolabel"]["results"]["annotated windows"] == 2 * len(ANNOTATED)
    assert not labels["row_id"].str.contains("Test").any() and f"{ANNOTATED[0]}_15" not in human.index.get_level_values("row_id")


@pytest.mark.slow
def test_students_are_trained_in_four_rounds_with_a_power_transform(ran):
    spy, _, _ = ran
    [(_, options)] = spy.calls["birdlib.species.self_training.run"]
    assert options["n_rounds"] == 4 and options["power"] == 1.5


@pytest.mark.slow
def test_the_prior_is_of_eight_windows_and_has_the_cross_validated_weight(ran):
    spy, receipts, outputs = ran
    strengths = [options.get("strength", arguments[3] if len(arguments) > 3 else None) for arguments, options in spy.calls["birdlib.species.site_hour.fit"]]
    assert set(strengths) == {8.0}
    prior = site_hour.load(outputs / "06_pseudolabel", CLASSES)
    assert prior.strength == 8.0 and prior.cells["n_windows"].sum() == 2 * len(ANNOTATED)
    assert prior.cells[["site", "hour"]].to_numpy().tolist() == [["S08", 3], ["S09", 9]]
    weight = receipts["08_submit"]["results"]["weight of site and hour"]
    assert weight == prior.weight == receipts["06_pseudolabel"]["results"]["weight of site and hour"]
    assert {arguments[3] for arguments, _ in spy.calls["birdlib.species.site_hour.apply"][-2:]} == {weight}


@pytest.mark.slow
def test_windows_are_shifted_smoothed_and_scaled_as_published(ran):
    spy, _, _ = ran
    assert {arguments[1:] for arguments, _ in spy.calls["birdlib.species.smoothing.spans"]} >= {(0.0, (2.5,))}
    assert {arguments[1] for arguments, _ in spy.calls["birdlib.species.smoothing.smooth"]} == {(0.1, 0.8, 0.1)}
    assert {arguments[1:] for arguments, _ in spy.calls["birdlib.species.smoothing.top_n"]} == {(2, 1.0)}


@pytest.mark.slow
def test_two_workers_of_one_thread_write_a_valid_submission(ran):
    spy, receipts, outputs = ran
    [(arguments, _)] = spy.calls["birdlib.species.workers.Workers.__init__"]
    assert arguments[1] == 2
    (loaded, options), *_ = spy.calls["birdlib.species.inference.load"]
    assert loaded[2] == "litert" and options["n_threads"] == 1
    table = pd.read_csv(outputs / "08_submit" / "submission.csv")
    submissions.require_valid(table, CLASSES, [f"{name}_{5 * end}" for name in TEST for end in range(1, WINDOWS + 1)])
    assert receipts["08_submit"]["results"]["skipped"] == receipts["08_submit"]["results"]["scores refused"] == 0
