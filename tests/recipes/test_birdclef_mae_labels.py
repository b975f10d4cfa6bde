"""The recipe birdclef-mae, stage 06: every number of its table is used by the teachers, rules and trainings of a run on tones (``tone_recordings``)."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import spying
import tone_recordings

from birdlib import runtime, stages
from birdlib.models import embedders, weights
from birdlib.pipeline import recipes
from birdlib.species import mel_models, teachers

RECIPE, STAGE = "birdclef-mae", "06_pseudolabel"
QUICK = {"teacher_steps": 1, "teacher_epochs": 1, "detector_steps": 1, "detector_epochs": 1, "epochs": 1, "n_networks": 1}
SCORES = [0.95, 0.9, 0.85, 0.8, 0.62, 0.61, 0.55, 0.0]  # of BirdNET, which knows one of the two species, in the windows of a soundscape
WATCHED = ["birdlib.species.pseudolabels.hard", "birdlib.species.pseudolabels.negatives", "birdlib.species.teacher_selection.rare_species"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(spy, models that were built, receipt, folder) of stage 06; Google's classifier cannot be had."""
    outputs = tone_recordings.make(tmp_path_factory.mktemp("outputs"))
    soundscapes, seconds = outputs / "recordings" / "train_soundscapes", 5 * len(SCORES)
    soundfile.write(soundscapes / "scape.flac", 0.1 * np.random.default_rng(0).standard_normal(seconds * tone_recordings.RATE_HZ), tone_recordings.RATE_HZ)
    receipt = runtime.read_json(outputs / "03_embed" / stages.RECEIPT)
    receipt["results"]["key"] = embedders.load("yamnet", "", octave_down=False).key  # soundscapes are embedded by the true one
    runtime.write_json(receipt, outputs / "03_embed" / stages.RECEIPT)
    requested, built = [], []

    def birdnet(names, weights_dir, window_s, location):
        requested.append("birdnet")
        predict = lambda path: (np.float32(SCORES)[:, None], np.zeros(len(SCORES), np.float32))  # noqa: E731
        return teachers.Teacher("birdnet", ["low"], predict, window_s, "b" * 64, {}, names.assign(column=[0, -1], matched_by="", matched_name="")), ""

    def perch(*arguments):
        requested.append("perch")
        raise weights.MissingWeightsError("perch is nowhere")

    with pytest.MonkeyPatch.context() as monkeypatch:
        build = mel_models.build
        monkeypatch.setattr(teachers, "BUILDERS", teachers.BUILDERS | {"birdnet": birdnet, "perch": perch})
        monkeypatch.setattr(mel_models, "build", lambda *arguments, **options: built.append((arguments, options)) or build(*arguments, **options, is_trained=False))
        spy = spying.Spy(monkeypatch)
        spy.watch(*WATCHED)
        receipts = spying.run(monkeypatch, RECIPE, outputs, only=("06",), **QUICK)
    assert requested == ["birdnet", "perch"]
    return spy, built, receipts[STAGE], outputs / STAGE


@pytest.mark.slow
def test_the_teachers_are_those_of_the_recipe(ran):
    _, _, receipt, folder = ran
    assert receipt["results"]["teachers"] == ["birdnet", "perch", "classifier", "mobilenetv2", "detectors"]
    assert receipt["results"]["teachers without labels"] == ["perch: missing, so its labels are absent: perch is nowhere"]
    labels = pd.read_csv(folder / "teachers.csv").set_index("teacher")["labels"]
    assert labels.to_dict() == {"birdnet": 1, "perch": 0, "classifier": 2, "mobilenetv2": 1, "detectors": 1}


@pytest.mark.slow
def test_a_mobilenetv2_with_softmax_and_a_binary_detector_were_trained(ran):
    """The detector is for the one species that BirdNET does not know, of at most five."""
    spy, built, _, _ = ran
    (n_species,), species_model = built[0]
    (n_outputs,), detector = built[1]
    assert len(built) == 2 and (n_species, species_model["backbone"], species_model["mode"]) == (2, "mobilenetv2", "single") and (n_outputs, detector["mode"]) == (1, "multi")
    losses = [loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__) for _, _, loss in spy.compiled]
    assert losses.count("categorical_crossentropy") == losses.count("binary_crossentropy") == 1
    [((n, _, known), _)] = spy.calls["birdlib.species.teacher_selection.rare_species"]
    assert n == 5 and known == {"low"}


@pytest.mark.slow
def test_labels_are_above_the_confidence_and_the_lower_quartile(ran):
    """Six of BirdNET's scores are above .6, and the lower quartile of these is .665."""
    spy, _, _, folder = ran
    assert {options["confidence"] for _, options in spy.calls["birdlib.species.pseudolabels.hard"]} == {0.6}
    assert {(options["confidence"], options["quiet"]) for _, options in spy.calls["birdlib.species.pseudolabels.negatives"]} == {(0.6, 0.1)}
    labels = pd.read_parquet(folder / "labels.parquet")
    of_birdnet = labels[labels["teacher"] == "birdnet"]
    assert of_birdnet["row_id"].tolist() == ["scape_10", "scape_15", "scape_20", "scape_5"] and set(of_birdnet["kind"]) == {"hard"}


@pytest.mark.slow
def test_labels_of_teachers_are_handed_over_without_rounds_of_students(ran):
    _, _, receipt, folder = ran
    labels = pd.read_parquet(folder / "labels.parquet")
    assert set(labels["origin"]) == {"teacher"} and set(labels["round"]) == {0}
    assert len(pd.read_parquet(folder / "rounds.parquet")) == 1 and receipt["results"]["labels by kind"]["hard"] >= 4


def test_the_table_covers_the_published_parts():
    values = recipes.load(RECIPE).values(STAGE)
    assert {"teachers", "n_detectors", "confidence", "quiet", "hand_over", "n_rounds"} <= set(values)
