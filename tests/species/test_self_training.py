import numpy as np
import pandas as pd
import pytest

from birdlib.species import pseudolabels, self_training

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


def test_results_of_rounds_are_described():
    rounds = pd.DataFrame({"figure": [0.8, 0.9], "note": ""})
    assert "Round 1 is best on validation: 0.900, round 0 0.800." in self_training.describe(rounds, 1, None)
    assert "self-training helps" in self_training.describe(rounds, 1, [0.1, 0.02, 0.2])
    assert "no clear difference" in self_training.describe(rounds, 1, [0.1, -0.02, 0.2]) and "hurts" in self_training.describe(rounds, 1, [-0.1, -0.2, -0.05])
    assert "No student exceeds round 0" in self_training.describe(rounds, 0, [0.0, 0.0, 0.0])
    assert self_training.describe(rounds.assign(note=self_training.NOT_EVALUATED), 0, None) == self_training.NOT_EVALUATED + "."
