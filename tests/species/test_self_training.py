import numpy as np
import pandas as pd
import pytest

from birdlib.models import pooling
from birdlib.species import classifiers, fit_heads, pseudolabels, self_training, students
from birdlib.species import plots as species_plots

LABELS = ["a", "b"]
ROWS = [f"S_{5 * (n + 1)}" for n in range(20)]


def test_a_power_above_1_shrinks_low_scores_more():
    scores = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    powered = self_training.power_transform(scores, 2.0)
    assert powered == pytest.approx([0.0, 0.01, 0.25, 0.81, 1.0])
    assert np.all(np.diff(powered) > 0) and np.array_equal(self_training.power_transform(scores, 1.0), scores)
    with pytest.raises(self_training.StudentError, match="above 0"):
        self_training.power_transform(scores, 0.0)


def test_the_mix_ratio_is_the_share_of_soundscape_windows():
    """60 recordings and 40 windows: 40 %; there cannot be more windows than there are."""
    assert self_training.n_sampled(60, 1000, 0.4) == 40
    assert self_training.n_sampled(60, 1000, 0.0) == 0
    assert self_training.n_sampled(60, 10, 0.5) == 10
    with pytest.raises(self_training.StudentError, match="below 1"):
        self_training.n_sampled(60, 10, 1.0)


def test_windows_are_sampled_in_proportion_to_confidence():
    rng = np.random.default_rng(0)
    confidences = np.array([0.0, 0.3, 0.9, 0.0, 0.3, 0.9])
    counts = np.bincount(np.concatenate([self_training.sample_windows(confidences, 2, rng) for _ in range(500)]), minlength=6)
    assert counts[0] == counts[3] == 0 and min(counts[2], counts[5]) > 1.5 * max(counts[1], counts[4])
    assert self_training.sample_windows(confidences, 10, rng).tolist() == [1, 2, 4, 5]  # all there are, each once
    assert not len(self_training.sample_windows(np.zeros(3), 2, rng))


def test_mixtures_have_the_targets_of_both():
    inputs, targets = students.mix(
        np.ones((1, 4), np.float32), np.array([[1.0, 0.0]]), np.full((1, 4), 3.0, np.float32), np.array([[0.2, 0.7]]), share=0.25
    )
    assert inputs.tolist() == [[1.5] * 4] and targets.tolist() == [[1.0, 0.7]] and inputs.dtype == np.float32


def test_a_share_of_0_mixes_nothing():
    sounds = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    inputs, targets = students.mix(sounds, np.eye(2), sounds[::-1], np.zeros((2, 2)), share=0.0)
    assert np.array_equal(inputs, sounds) and np.array_equal(targets, np.eye(2))


@pytest.mark.parametrize(
    ("figures", "is_over"),
    [([0.8], False), ([0.8, 0.9], False), ([0.8, 0.8], True), ([0.8, 0.9, 0.85], True), ([np.nan, 0.5], False), ([0.5, np.nan], True)],
)
def test_rounds_stop_when_the_last_gained_nothing(figures, is_over):
    assert self_training.is_over(figures) is is_over


def test_patience_and_min_gain_of_the_stop_rule():
    assert not self_training.is_over([0.8, 0.7], patience=2) and not self_training.is_over([0.8, 0.7, 0.81], patience=2)
    assert self_training.is_over([0.8, 0.7, 0.8], patience=2)
    assert self_training.is_over([0.8, 0.805], min_gain=0.01)


def test_the_best_round_is_the_earliest_of_equals():
    assert run(School([0.8, 0.9, 0.9, np.nan]), patience=9)[2] == 1


def test_without_a_validation_figure_round_0_is_kept_with_a_note():
    """Validation has no positives, so no student is known to be better than another."""
    table, history, best = run(School([np.nan] * 4), patience=2)
    assert best == 0 and not len(table) and history["is_best"].tolist() == [True, False, False]
    assert set(history["note"]) == {self_training.NOT_EVALUATED} and set(run(School([0.8, np.nan, 0.7]))[1]["note"]) == {""}


class School:
    """Students with a given figure per round; it records the training windows of each."""

    def __init__(self, figures, scores=None):
        rng = np.random.default_rng(3)
        self.figures, self.trained = figures, []
        self.scores = rng.uniform(0, 1, (len(figures), len(ROWS), 2)) if scores is None else scores

    def train(self, targets, rows, number):
        self.trained.append((targets, rows))
        return self.scores[number], self.figures[number]


def run(school, **options):
    options = {"n_recordings": 10, "n_rounds": 3, "power": 2.0, "mix_ratio": 0.5, "rng": np.random.default_rng(0)} | options
    return self_training.run(school.train, ROWS, LABELS, **options)


def test_each_round_is_trained_on_confident_windows_of_the_student_before():
    school = School([0.8, 0.85, 0.9, 0.95])
    table, history, best = run(school)
    assert best == 3 and history["figure"].tolist() == school.figures and history["is_best"].tolist() == [False] * 3 + [True]
    assert [len(rows) for _, rows in school.trained] == history["windows"].tolist() == [0, 10, 10, 10]
    for number in (1, 2, 3):
        targets, rows = school.trained[number]
        assert targets == pytest.approx(school.scores[number - 1][rows] ** 2, abs=1e-6)
        assert pseudolabels.is_kept(school.scores[number - 1])[rows].all()  # only windows in which it was confident
    assert set(table["teacher"]) == {"student 2"} and set(table["origin"]) == {"student"} and set(table["round"]) == {3}
    assert set(table["row_id"]) == {ROWS[row] for row in school.trained[3][1]}


def test_rounds_stop_without_gain_and_return_the_best():
    school = School([0.8, 0.9, 0.85, 0.99])
    table, history, best = run(school)
    assert best == 1 and len(school.trained) == len(history) == 3 and set(table["teacher"]) == {"student 0"}


def test_no_labels_are_returned_where_recordings_alone_are_best():
    table, history, best = run(School([0.9, 0.8, 0.95]))
    assert best == 0 and not len(table) and len(history) == 2


def test_fixed_labels_are_in_every_training_set_unchanged():
    """A negative window is in every training set, though no student is confident in it."""
    fixed = pseudolabels.merge(
        [
            pseudolabels.from_annotations([[0.0, 1.0]], [ROWS[0]], LABELS),
            pseudolabels.negatives([[0.0, 0.0]], [0.9], [ROWS[1]], LABELS, teacher="birdnet"),
        ]
    )
    school = School([0.8, 0.9], np.full((2, len(ROWS), 2), 0.5))  # students without confidence
    table, history, best = run(school, n_rounds=1, fixed=fixed)
    targets, rows = school.trained[1]
    assert rows.tolist() == [0, 1] and targets.tolist() == [[0, 1], [0, 0]]
    assert set(table["origin"]) == {"human", "teacher"} and len(table) == 4


def test_powers_may_differ_by_round():
    school = School([0.8, 0.85, 0.9])
    run(school, n_rounds=2, power=[1.0, 3.0])
    for number, power in ((1, 1.0), (2, 3.0)):
        targets, rows = school.trained[number]
        assert targets == pytest.approx(school.scores[number - 1][rows] ** power, abs=1e-6)
    with pytest.raises(self_training.StudentError, match="1 powers for 2 rounds"):
        run(school, n_rounds=2, power=[1.0])


def test_nan_scores_of_a_student_are_rejected_with_round_window_and_label():
    school = School([0.8, 0.85])
    school.scores[1, 4, 1] = np.nan
    with pytest.raises(pseudolabels.ScoreError, match="the student of round 1: the score of b in S_25 is nan"):
        run(school)


def test_changed_is_the_share_of_confident_labels_that_differ():
    confident = np.tile([[0.9, 0.1]], (len(ROWS), 1))
    _, history, _ = run(School([0.8, 0.85, 0.9], np.stack([confident, confident, confident[:, ::-1]])), n_rounds=2)
    assert np.isnan(history["changed"][0]) and history["changed"].tolist()[1:] == [0.0, 1.0]


def test_the_same_seed_samples_the_same_windows():
    first, second = School([0.8, 0.9, 0.95, 0.97]), School([0.8, 0.9, 0.95, 0.97])
    assert run(first)[0].equals(run(second)[0])


def test_self_training_adapts_to_a_shift_between_recordings_and_soundscapes():
    """Nearest centres in a plane: soundscapes are shifted against the recordings, and self-training follows the shift."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 150)
    recordings = rng.normal(0, 0.6, (300, 2)) + np.stack([truth * 2.0 - 1.0, np.zeros(300)], 1)
    shifted = rng.normal(0, 0.6, (300, 2)) + np.stack([truth * 2.0 - 1.0 + 0.9, truth * 3.0], 1)
    held_out = rng.normal(0, 0.6, (300, 2)) + np.stack([truth * 2.0 - 1.0 + 0.9, truth * 3.0], 1)
    row_ids = [str(n) for n in range(300)]

    def train(targets, rows, number):
        points, weights = np.concatenate([recordings, shifted[rows]]), np.concatenate([np.eye(2)[truth], targets])
        centres = [np.average(points, axis=0, weights=weights[:, k]) for k in (0, 1)]

        def scores(points):
            nearer = np.exp(-np.stack([((points - centre) ** 2).sum(axis=1) for centre in centres], axis=1))
            return nearer / (nearer.sum(axis=1, keepdims=True) + 1e-12)

        return scores(shifted), float((scores(held_out).argmax(axis=1) == truth).mean())

    options = {"n_recordings": 300, "n_rounds": 4, "power": 1.5, "mix_ratio": 0.5, "rng": rng}
    _, history, best = self_training.run(train, row_ids, LABELS, **options)
    assert best > 0 and history["figure"].max() > history["figure"][0] + 0.02


# Heads as students


def test_recordings_become_training_and_validation_sets():
    """Recordings of 12 patches are in training whole and as windows of ten patches, in validation whole; a repeated one is in neither evaluation."""
    rng = np.random.default_rng(0)
    splits = pd.DataFrame({"recording_id": list("abcd"), "species": ["tit", "owl", "tit", "owl"], "secondary_species": ["owl", "", "", ""]})
    splits = splits.assign(split=["train", "train", "validation", "validation"], is_repeated=[False, False, False, True])
    patches = pd.DataFrame({"recording_id": np.repeat(list("abcd"), 12), "bird_score": 1.0})
    embeddings, layer = rng.normal(size=(48, 2)).astype(np.float32), pooling.build_pooling(2, "mean")
    train, (features, truth) = students.recording_sets(embeddings, patches, splits, ["owl", "tit"], layer, np.random.default_rng(1))
    expected = fit_heads.training_set(embeddings, patches, layer, splits[:2], np.array([[1.0, 1.0], [1.0, 0.0]], np.float32), 10, 0.5, np.random.default_rng(1))
    assert all(np.array_equal(*arrays) for arrays in zip(train, expected, strict=True)) and len(train[0]) == 6
    assert truth.tolist() == [[0, 1]] and features[0] == pytest.approx(embeddings[24:36].mean(axis=0) / np.linalg.norm(embeddings[24:36].mean(axis=0)), abs=1e-5)


def test_the_head_trainer_trains_networks_with_an_output_per_species():
    features, truth = sounds(30, 0.0, 0)
    train_head = students.head_trainer(3, "8,", n_networks=2, epochs=2)
    head = train_head((features, truth, np.ones(30, np.float32)), (features, truth))
    assert classifiers.predict(head, features).shape == (30, 3)


def test_results_of_rounds_are_described():
    rounds = pd.DataFrame({"figure": [0.8, 0.9], "note": ""})
    assert "Round 1 is best on validation: 0.900, round 0 0.800." in self_training.describe(rounds, 1, None)
    assert "self-training helps" in self_training.describe(rounds, 1, [0.1, 0.02, 0.2])
    assert "no clear difference" in self_training.describe(rounds, 1, [0.1, -0.02, 0.2]) and "hurts" in self_training.describe(rounds, 1, [-0.1, -0.2, -0.05])
    assert "No student exceeds round 0" in self_training.describe(rounds, 0, [0.0, 0.0, 0.0])
    assert self_training.describe(rounds.assign(note=self_training.NOT_EVALUATED), 0, None) == self_training.NOT_EVALUATED + "."


CENTRES = np.eye(3, 6, dtype=np.float32)


def sounds(n, shift, seed, spread=0.25):
    """Recordings of three species; ``shift`` is the effect of the soundscapes' recorder."""
    rng = np.random.default_rng(seed)
    birds = np.arange(n) % 3
    features = CENTRES[birds] + shift + spread * rng.normal(size=(n, 6)).astype(np.float32)
    return features.astype(np.float32), np.eye(3, dtype=np.float32)[birds]


class Head:
    """In place of a network: the distance to the mean of each species' rows."""

    def __init__(self, training_set):
        features, truth, weight = training_set
        mass = truth * weight[:, None]
        self.centres = (mass.T @ features) / mass.sum(axis=0)[:, None]

    def predict(self, features, batch_size, verbose):
        distance = np.linalg.norm(features[:, None] - self.centres, axis=2)
        scores = np.exp(-4 * distance)
        return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def run_heads(**options):
    """Rounds on recordings without wind and windows with it: the results, the heads, the windows and the shift by wind."""
    features, truth = sounds(30, 0.0, 0)
    recordings = features, truth, np.ones(30, np.float32)
    wind = np.array([0, 0, 0, 0.5, 0.5, -0.5], np.float32)
    windows, _ = sounds(90, wind, 1)
    validation = sounds(30, 0.0, 2)
    train, heads = students.student_trainer(
        Head(recordings), recordings, windows, validation, lambda train_set, _: Head(train_set), share=0.5, rng=np.random.default_rng(0)
    )
    names = [f"S_{n}" for n in range(90)]
    options = {"n_rounds": 2, "power": 1.0, "mix_ratio": 0.5, "confidence": 0.5, "patience": 2, "rng": np.random.default_rng(0)} | options
    return self_training.run(train, names, list("abc"), n_recordings=30, **options), heads, windows, wind


def test_students_adapt_to_the_wind_of_soundscapes():
    """The centres of students are nearer to the species' in wind than those of the head trained on recordings alone."""
    (_, history, _), heads, _, wind = run_heads()
    assert len(heads) == len(history) == 3 and history["windows"].tolist()[0] == 0 and history["windows"].iloc[1] > 10
    far = [np.linalg.norm(head.centres - (CENTRES + wind)) for head in heads]
    assert far[1] < far[0] and far[2] < far[0]


def test_round_0_is_the_first_classifier_itself():
    (table, history, _), heads, windows, _ = run_heads(n_rounds=0)
    assert len(heads) == 1 and len(history) == 1 and not len(table)
    assert 0.8 < history["figure"][0] <= 1.0


def test_species_in_the_mixed_window_do_not_change_the_evaluation():
    """Two heads differ only in their score of the window's species, which is in all rows that are compared."""

    class Rows:
        def __init__(self, gain):
            self.gain = gain

        def predict(self, features, batch_size, verbose):
            return features[:, :3] + self.gain * features[:, 3:]

    recordings, truth = np.pad(np.eye(3, dtype=np.float32), ((0, 0), (0, 3))), np.eye(3, dtype=np.float32)
    windows = np.array([[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 3, 0]], np.float32)
    assert students.evaluate_head(Rows(0.0), (recordings, truth), windows) == students.evaluate_head(Rows(9.0), (recordings, truth), windows) == 1.0
    backwards = recordings[[1, 2, 0]], truth
    assert students.evaluate_head(Rows(9.0), backwards, windows) < 0.5 and students.evaluate_head(Rows(0.0), (recordings, truth), windows[:0]) == 1.0


def test_without_soundscapes_round_0_is_best():
    features, truth = sounds(6, 0.0, 0)
    recordings = features, truth, np.ones(6, np.float32)
    train, heads = students.student_trainer(Head(recordings), recordings, features[:0], (features, truth), lambda train_set, _: Head(train_set), rng=np.random.default_rng(0))
    table, _, best = self_training.run(train, [], list("abc"), n_recordings=6, n_rounds=2, power=1.0, mix_ratio=0.4, rng=np.random.default_rng(0))
    assert best == 0 and table.empty and len(heads) == 2


def test_the_training_set_has_recordings_windows_and_mixtures():
    recordings = np.zeros((2, 3), np.float32), np.array([[1, 0], [0, 1]], np.float32), np.array([2.0, 1.0], np.float32)
    features, truth, weight = students.training_set(recordings, np.ones((1, 3)), np.array([[0.0, 0.8]]), share=0.25, rng=np.random.default_rng(0))
    assert features[:, 0].tolist() == [0, 0, 1, 0.25, 0.25] and weight.tolist() == [2, 1, 1, 2, 1]
    assert truth[3:] == pytest.approx(np.array([[1, 0.8], [0, 1]]))
    assert len(students.training_set(recordings, np.ones((1, 3)), np.zeros((1, 2)), share=0.0, rng=np.random.default_rng(0))[0]) == 3
    assert students.training_set(recordings, np.ones((0, 3)), np.zeros((0, 2)), rng=np.random.default_rng(0)) is recordings


def test_nan_scores_of_a_head_are_rejected_with_round_window_and_label():
    class Broken(Head):
        def predict(self, features, batch_size, verbose):
            return super().predict(features, batch_size, verbose) * np.where(np.arange(3) == 1, np.nan, 1).astype(np.float32)

    features, truth = sounds(6, 0.0, 0)
    recordings = features, truth, np.ones(6, np.float32)
    train, _ = students.student_trainer(Head(recordings), recordings, features, (features, truth), lambda train_set, _: Broken(train_set), rng=np.random.default_rng(0))
    names = [f"S_{n}" for n in range(6)]
    with pytest.raises(pseudolabels.ScoreError, match="student of round 1: the score of b in S_0 is nan"):
        self_training.run(train, names, list("abc"), n_recordings=6, n_rounds=1, power=1.0, mix_ratio=0.4, rng=np.random.default_rng(0))


def test_the_gain_is_measured_on_the_same_bootstrap_draws():
    """The same head gains exactly 0, however wide its interval is; a better one gains the difference."""
    features, truth = sounds(60, 0.0, 5, spread=1.2)
    groups = np.repeat(np.arange(6), 10)
    good, bad = (Head((CENTRES[order], np.eye(3), np.ones(3))) for order in ([0, 1, 2], [1, 0, 2]))
    table, held_out = pd.DataFrame({"round": [0, 1]}), (features, truth, groups)
    rounds, gain = self_training.evaluate_rounds(table, [bad, good], held_out, best=1, rng=np.random.default_rng(0))
    assert gain[0] == pytest.approx(rounds["held_out_auc"][1] - rounds["held_out_auc"][0]) and gain[1] > 0
    assert (rounds["held_out_high"] - rounds["held_out_low"] > 0.02).all()
    assert self_training.evaluate_rounds(table, [bad, good], held_out, best=0, rng=np.random.default_rng(0))[1] == [0, 0, 0]
    rounds, gain = self_training.evaluate_rounds(table, [bad, good], None, best=1, rng=np.random.default_rng(0))
    assert gain is None and rounds[["held_out_auc", "held_out_low", "held_out_high"]].isna().all(axis=None)
    assert classifiers.predict(good, features).shape == (60, 3)


def test_rounds_are_plotted_with_and_without_held_out_figures(drawn):
    table = pd.DataFrame({"round": [0, 1], "figure": [0.8, 0.9], "is_best": [False, True]})
    nothing = dict.fromkeys(["held_out_auc", "held_out_low", "held_out_high"], np.nan)
    ax = species_plots.self_training_rounds(table.assign(**nothing))
    assert len(ax.get_legend_handles_labels()[1]) == 2
    ax = species_plots.self_training_rounds(table.assign(held_out_auc=[0.7, 0.8], held_out_low=[0.6, np.nan], held_out_high=[0.8, np.nan]))
    assert "held-out soundscapes, 90 % interval" in ax.get_legend_handles_labels()[1]


def test_label_provenance_is_plotted_by_species_and_rule(drawn):
    tables = [
        pseudolabels.hard(np.array([[0.9, 0.1], [0.8, 0.7]]), ["S_5", "S_10"], ["wren", "crow"], teacher="birdnet"),
        pseudolabels.from_annotations(np.array([[1.0]]), ["S_15"], ["crow"]),
    ]
    ax = species_plots.label_provenance(pseudolabels.summary(pseudolabels.merge(tables)))
    widths = {tick.get_text(): 0 for tick in ax.get_yticklabels()}
    assert set(widths) == {"wren", "crow"} and sum(patch.get_width() for patch in ax.patches) == 4
    assert not species_plots.label_provenance(pseudolabels.summary(pseudolabels.merge([]))).patches
