import numpy as np
import pytest

from birdlib.species import pseudolabels, self_training

LABELS = ["a", "b"]
ROWS = [f"S_{5 * (n + 1)}" for n in range(20)]


def test_doubts_shrink_faster_than_certainties():
    scores = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    powered = self_training.power_transform(scores, 2.0)
    assert powered == pytest.approx([0.0, 0.01, 0.25, 0.81, 1.0])
    assert np.all(np.diff(powered) > 0) and np.array_equal(self_training.power_transform(scores, 1.0), scores)
    with pytest.raises(self_training.StudentError, match="above 0"):
        self_training.power_transform(scores, 0.0)


def test_the_mix_ratio_is_the_share_of_soundscape_windows():
    """60 recordings and 40 windows: 40 %; more windows than there are cannot be drawn."""
    assert self_training.n_drawn(60, 1000, 0.4) == 40
    assert self_training.n_drawn(60, 1000, 0.0) == 0
    assert self_training.n_drawn(60, 10, 0.5) == 10
    with pytest.raises(self_training.StudentError, match="below 1"):
        self_training.n_drawn(60, 10, 1.0)


def test_surer_windows_are_drawn_more_often_and_unsure_ones_never():
    rng = np.random.default_rng(0)
    confidences = np.array([0.0, 0.3, 0.9, 0.0, 0.3, 0.9])
    counts = np.bincount(np.concatenate([self_training.draw(confidences, 2, rng) for _ in range(500)]), minlength=6)
    assert counts[0] == counts[3] == 0 and min(counts[2], counts[5]) > 1.5 * max(counts[1], counts[4])
    assert self_training.draw(confidences, 10, rng).tolist() == [1, 2, 4, 5]  # all there are, each once
    assert not len(self_training.draw(np.zeros(3), 2, rng))


def test_what_is_blended_holds_both_birds():
    inputs, targets = self_training.blend(
        np.ones((1, 4), np.float32), np.array([[1.0, 0.0]]), np.full((1, 4), 3.0, np.float32), np.array([[0.2, 0.7]]), share=0.25
    )
    assert inputs.tolist() == [[1.5] * 4] and targets.tolist() == [[1.0, 0.7]] and inputs.dtype == np.float32


def test_nothing_blended_in_changes_no_sound():
    sounds = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    inputs, targets = self_training.blend(sounds, np.eye(2), sounds[::-1], np.zeros((2, 2)), share=0.0)
    assert np.array_equal(inputs, sounds) and np.array_equal(targets, np.eye(2))


def test_what_is_settled_is_not_overruled():
    settled = np.array([[np.nan, 0.0], [1.0, np.nan]])
    assert self_training.settle(np.full((2, 2), 0.5), settled).tolist() == [[0.5, 0.0], [1.0, 0.5]]


@pytest.mark.parametrize(
    ("figures", "is_over"),
    [([0.8], False), ([0.8, 0.9], False), ([0.8, 0.8], True), ([0.8, 0.9, 0.85], True), ([np.nan, 0.5], False), ([0.5, np.nan], True)],
)
def test_it_is_over_when_a_round_gains_nothing(figures, is_over):
    assert self_training.is_over(figures) is is_over


def test_patience_waits_and_small_gains_do_not_count():
    assert not self_training.is_over([0.8, 0.7], patience=2) and not self_training.is_over([0.8, 0.7, 0.81], patience=2)
    assert self_training.is_over([0.8, 0.7, 0.8], patience=2)
    assert self_training.is_over([0.8, 0.805], least_gain=0.01)


def test_the_best_round_is_the_earliest_of_equals():
    assert self_training.best_round([0.8, 0.9, 0.9, np.nan]) == 1


def test_where_nothing_can_be_judged_recordings_alone_are_kept_and_the_table_says_why():
    """Validation has no bird of ours: no student is known to be better than another."""
    table, history, best = teach(School([np.nan] * 4), patience=2)
    assert best == 0 and not len(table) and history["is_best"].tolist() == [True, False, False]
    assert set(history["note"]) == {self_training.UNJUDGED} and set(teach(School([0.8, np.nan, 0.7]))[1]["note"]) == {""}


class School:
    """Students that become better by a given figure a round; remembers what each was taught."""

    def __init__(self, figures, scores=None):
        rng = np.random.default_rng(3)
        self.figures, self.taught = figures, []
        self.scores = rng.uniform(0, 1, (len(figures), len(ROWS), 2)) if scores is None else scores

    def train(self, targets, rows, number):
        self.taught.append((targets, rows))
        return self.scores[number], self.figures[number]


def teach(school, **options):
    options = {"n_recordings": 10, "n_rounds": 3, "power": 2.0, "mix_ratio": 0.5, "rng": np.random.default_rng(0)} | options
    return self_training.run(school.train, ROWS, LABELS, **options)


def test_round_0_learns_from_recordings_alone_and_each_further_one_from_the_student_before():
    school = School([0.8, 0.85, 0.9, 0.95])
    table, history, best = teach(school)
    assert best == 3 and history["figure"].tolist() == school.figures and history["is_best"].tolist() == [False] * 3 + [True]
    assert [len(rows) for _, rows in school.taught] == history["windows"].tolist() == [0, 10, 10, 10]
    for number in (1, 2, 3):
        targets, rows = school.taught[number]
        assert targets == pytest.approx(school.scores[number - 1][rows] ** 2, abs=1e-6)
        assert pseudolabels.is_kept(school.scores[number - 1])[rows].all()  # only windows it was sure of
    assert set(table["teacher"]) == {"student 2"} and set(table["origin"]) == {"student"} and set(table["round"]) == {3}
    assert set(table["row_id"]) == {ROWS[row] for row in school.taught[3][1]}


def test_it_stops_when_nothing_is_gained_and_goes_back_to_the_best():
    school = School([0.8, 0.9, 0.85, 0.99])
    table, history, best = teach(school)
    assert best == 1 and len(school.taught) == len(history) == 3 and set(table["teacher"]) == {"student 0"}


def test_where_recordings_alone_are_best_no_label_is_kept():
    table, history, best = teach(School([0.9, 0.8, 0.95]))
    assert best == 0 and not len(table) and len(history) == 2


def test_what_people_and_better_teachers_said_is_taught_in_every_round():
    """A window in which somebody heard nothing at all is drawn as well, though no student is sure of it."""
    settled = pseudolabels.merge(
        [
            pseudolabels.from_people([[0.0, 1.0]], [ROWS[0]], LABELS),
            pseudolabels.negatives([[0.0, 0.0]], [0.9], [ROWS[1]], LABELS, teacher="birdnet"),
        ]
    )
    school = School([0.8, 0.9], np.full((2, len(ROWS), 2), 0.5))  # a school that is sure of nothing
    table, history, best = teach(school, n_rounds=1, settled=settled)
    targets, rows = school.taught[1]
    assert rows.tolist() == [0, 1] and targets.tolist() == [[0, 1], [0, 0]]
    assert set(table["origin"]) == {"human", "teacher"} and len(table) == 4


def test_the_powers_may_differ_by_round():
    school = School([0.8, 0.85, 0.9])
    teach(school, n_rounds=2, power=[1.0, 3.0])
    for number, power in ((1, 1.0), (2, 3.0)):
        targets, rows = school.taught[number]
        assert targets == pytest.approx(school.scores[number - 1][rows] ** power, abs=1e-6)
    with pytest.raises(self_training.StudentError, match="1 powers for 2 rounds"):
        teach(school, n_rounds=2, power=[1.0])


def test_a_student_that_gives_nan_is_refused_by_name():
    school = School([0.8, 0.85])
    school.scores[1, 4, 1] = np.nan
    with pytest.raises(pseudolabels.ScoreError, match="the student of round 1: the score of b in S_25 is nan"):
        teach(school)


def test_students_that_agree_changed_nothing():
    sure = np.tile([[0.9, 0.1]], (len(ROWS), 1))
    _, history, _ = teach(School([0.8, 0.85, 0.9], np.stack([sure, sure, sure[:, ::-1]])), n_rounds=2)
    assert np.isnan(history["changed"][0]) and history["changed"].tolist()[1:] == [0.0, 1.0]


def test_the_same_seed_draws_the_same_windows():
    first, second = School([0.8, 0.9, 0.95, 0.97]), School([0.8, 0.9, 0.95, 0.97])
    assert teach(first)[0].equals(teach(second)[0])


def test_a_student_may_learn_from_soundscapes_what_recordings_do_not_tell():
    """Nearest centres in a plane: soundscapes lie to the side of the recordings, and self-training follows them there."""
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
