import numpy as np
import pandas as pd
import pytest

from birdlib.species import classifiers, pseudolabel_plots, pseudolabels, self_training, students

CENTRES = np.eye(3, 6, dtype=np.float32)


def sounds(n, shift, seed, spread=0.25):
    """Recordings of three birds; ``shift`` is how the soundscapes' recorder sounds different."""
    rng = np.random.default_rng(seed)
    birds = np.arange(n) % 3
    features = CENTRES[birds] + shift + spread * rng.normal(size=(n, 6)).astype(np.float32)
    return features.astype(np.float32), np.eye(3, dtype=np.float32)[birds]


class Head:
    """In place of a network: how near the mean of what a bird's rows are."""

    def __init__(self, lesson):
        features, truth, weight = lesson
        mass = truth * weight[:, None]
        self.centres = (mass.T @ features) / mass.sum(axis=0)[:, None]

    def predict(self, features, batch_size, verbose):
        distance = np.linalg.norm(features[:, None] - self.centres, axis=2)
        scores = np.exp(-4 * distance)
        return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def teach(**options):
    """Rounds on recordings without wind and windows with it; gives what was taught and the heads."""
    features, truth = sounds(30, 0.0, 0)
    lesson = features, truth, np.ones(30, np.float32)
    wind = np.array([0, 0, 0, 0.5, 0.5, -0.5], np.float32)
    windows, _ = sounds(90, wind, 1)
    validation = sounds(30, 0.0, 2)
    train, heads = students.trainer(
        Head(lesson), lesson, windows, validation, lambda taught, _: Head(taught), share=0.5, rng=np.random.default_rng(0)
    )
    names = [f"S_{n}" for n in range(90)]
    options = {"n_rounds": 2, "power": 1.0, "mix_ratio": 0.5, "confidence": 0.5, "patience": 2, "rng": np.random.default_rng(0)} | options
    return self_training.run(train, names, list("abc"), n_recordings=30, **options), heads, windows, wind


def test_a_student_of_windows_knows_the_wind_in_which_they_were_heard():
    """The centres of a student lie nearer to the birds in the wind than those of the head that learnt from recordings alone."""
    (_, history, _), heads, _, wind = teach()
    assert len(heads) == len(history) == 3 and history["windows"].tolist()[0] == 0 and history["windows"].iloc[1] > 10
    far = [np.linalg.norm(head.centres - (CENTRES + wind)) for head in heads]
    assert far[1] < far[0] and far[2] < far[0]


def test_round_0_is_the_first_classifier_itself():
    (table, history, _), heads, windows, _ = teach(n_rounds=0)
    assert len(heads) == 1 and len(history) == 1 and not len(table)
    assert 0.8 < history["figure"][0] <= 1.0


def test_an_unknown_bird_in_a_window_counts_neither_for_a_head_nor_against_it():
    """Two heads differ only in how surely they hear the bird of the window, which is in all rows that are compared."""

    class Rows:
        def __init__(self, hears):
            self.hears = hears

        def predict(self, features, batch_size, verbose):
            return features[:, :3] + self.hears * features[:, 3:]

    recordings, truth = np.pad(np.eye(3, dtype=np.float32), ((0, 0), (0, 3))), np.eye(3, dtype=np.float32)
    windows = np.array([[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 3, 0]], np.float32)
    assert students.examine(Rows(0.0), (recordings, truth), windows) == students.examine(Rows(9.0), (recordings, truth), windows) == 1.0
    backwards = recordings[[1, 2, 0]], truth
    assert students.examine(Rows(9.0), backwards, windows) < 0.5 and students.examine(Rows(0.0), (recordings, truth), windows[:0]) == 1.0


def test_without_a_readable_soundscape_the_recordings_are_what_there_is():
    features, truth = sounds(6, 0.0, 0)
    lesson = features, truth, np.ones(6, np.float32)
    train, heads = students.trainer(Head(lesson), lesson, features[:0], (features, truth), lambda taught, _: Head(taught), rng=np.random.default_rng(0))
    table, _, best = self_training.run(train, [], list("abc"), n_recordings=6, n_rounds=2, power=1.0, mix_ratio=0.4, rng=np.random.default_rng(0))
    assert best == 0 and table.empty and len(heads) == 2


def test_a_lesson_holds_recordings_windows_and_both_at_once():
    recordings = np.zeros((2, 3), np.float32), np.array([[1, 0], [0, 1]], np.float32), np.array([2.0, 1.0], np.float32)
    features, truth, weight = students.lesson(recordings, np.ones((1, 3)), np.array([[0.0, 0.8]]), share=0.25, rng=np.random.default_rng(0))
    assert features[:, 0].tolist() == [0, 0, 1, 0.25, 0.25] and weight.tolist() == [2, 1, 1, 2, 1]
    assert truth[3:] == pytest.approx(np.array([[1, 0.8], [0, 1]]))
    assert len(students.lesson(recordings, np.ones((1, 3)), np.zeros((1, 2)), share=0.0, rng=np.random.default_rng(0))[0]) == 3
    assert students.lesson(recordings, np.ones((0, 3)), np.zeros((0, 2)), rng=np.random.default_rng(0)) is recordings


def test_scores_that_are_no_numbers_are_refused_with_round_window_and_label():
    class Broken(Head):
        def predict(self, features, batch_size, verbose):
            return super().predict(features, batch_size, verbose) * np.where(np.arange(3) == 1, np.nan, 1).astype(np.float32)

    features, truth = sounds(6, 0.0, 0)
    lesson = features, truth, np.ones(6, np.float32)
    train, _ = students.trainer(Head(lesson), lesson, features, (features, truth), lambda taught, _: Broken(taught), rng=np.random.default_rng(0))
    names = [f"S_{n}" for n in range(6)]
    with pytest.raises(pseudolabels.ScoreError, match="student of round 1: the score of b in S_0 is nan"):
        self_training.run(train, names, list("abc"), n_recordings=6, n_rounds=1, power=1.0, mix_ratio=0.4, rng=np.random.default_rng(0))


def test_a_gain_is_measured_on_the_same_draws():
    """The same head gains exactly nothing, however wide its interval is; a better one gains the difference."""
    features, truth = sounds(60, 0.0, 5, spread=1.2)
    groups = np.repeat(np.arange(6), 10)
    good, bad = (Head((CENTRES[order], np.eye(3), np.ones(3))) for order in ([0, 1, 2], [1, 0, 2]))
    rounds, gain = students.judge([bad, good], features, truth, groups, best=1, rng=np.random.default_rng(0))
    assert gain[0] == pytest.approx(rounds["held_out_auc"][1] - rounds["held_out_auc"][0]) and gain[1] > 0
    assert (rounds["held_out_high"] - rounds["held_out_low"] > 0.02).all()
    assert students.judge([bad, good], features, truth, groups, best=0, rng=np.random.default_rng(0))[1] == (0, 0, 0)
    assert classifiers.predict(good, features).shape == (60, 3)


def test_figures_of_rounds_are_drawn_with_and_without_a_truth(drawn):
    table = pd.DataFrame({"round": [0, 1], "figure": [0.8, 0.9], "is_best": [False, True]})
    nothing = dict.fromkeys(["held_out_auc", "held_out_low", "held_out_high"], np.nan)
    ax = pseudolabel_plots.rounds(table.assign(**nothing))
    assert len(ax.get_legend_handles_labels()[1]) == 2
    ax = pseudolabel_plots.rounds(table.assign(held_out_auc=[0.7, 0.8], held_out_low=[0.6, np.nan], held_out_high=[0.8, np.nan]))
    assert "held-out soundscapes, 90 % interval" in ax.get_legend_handles_labels()[1]


def test_labels_of_each_species_are_drawn_by_the_rule_that_gave_them(drawn):
    tables = [
        pseudolabels.hard(np.array([[0.9, 0.1], [0.8, 0.7]]), ["S_5", "S_10"], ["wren", "crow"], teacher="birdnet"),
        pseudolabels.from_people(np.array([[1.0]]), ["S_15"], ["crow"]),
    ]
    ax = pseudolabel_plots.provenance(pseudolabels.summary(pseudolabels.merge(tables)))
    widths = {tick.get_text(): 0 for tick in ax.get_yticklabels()}
    assert set(widths) == {"wren", "crow"} and sum(patch.get_width() for patch in ax.patches) == 4
    assert not pseudolabel_plots.provenance(pseudolabels.summary(pseudolabels.merge([]))).patches
