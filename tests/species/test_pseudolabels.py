import numpy as np
import pytest

from birdlib import runtime
from birdlib.species import pseudolabels

ROWS = ["S_5", "S_10", "S_15"]
WHO = {"teacher": "birdnet"}


def cells(table):
    return {(row.row_id, row.label): row.target for row in table.itertuples()}


def test_windows_are_kept_above_the_confidence_not_at_it():
    assert pseudolabels.is_kept([[0.6, 0.1], [0.61, 0.0], [0.0, 0.9]]).tolist() == [False, True, True]
    assert not pseudolabels.is_kept(np.zeros((2, 0))).any()  # a teacher without labels keeps no window


def test_hard_labels_leave_out_the_lower_quartile_of_each_species():
    """Of .65, .7, .8 and .9 the lower quartile is .6875, of .95 to .98 it is .9575: each species has its own level."""
    scores = np.array([[0.65, 0.95], [0.7, 0.96], [0.8, 0.97], [0.9, 0.98], [0.1, 0.2]])
    assert pseudolabels.lower_quartiles(scores, scores > 0.6) == pytest.approx([0.6875, 0.9575])
    table = pseudolabels.hard(scores, list("abcde"), ["low", "high"], **WHO)
    assert cells(table) == {(row, label): 1.0 for row in "bcd" for label in ("low", "high")}


def test_three_of_four_windows_stay_at_any_score_level():
    rng = np.random.default_rng(0)
    for level in (0.61, 0.8, 0.99):
        scores = np.full((400, 1), level) + rng.uniform(0, 0.009, (400, 1))
        assert len(pseudolabels.hard(scores, [str(n) for n in range(400)], ["a"], **WHO)) == 300


def test_rare_species_have_no_quartile_and_lose_no_label():
    scores = np.array([[0.7], [0.8], [0.9]])
    assert pseudolabels.lower_quartiles(scores, scores > 0.6).tolist() == [0.0]
    assert len(pseudolabels.hard(scores, ROWS, ["rare"], **WHO)) == 3


def test_quartiles_of_recordings_whose_species_is_known_can_be_used():
    """The teacher gave .7 or more to three of four recordings of this bird, so .65 is too little."""
    known = pseudolabels.lower_quartiles([[0.7], [0.7], [0.9], [0.9], [0.0]], np.array([[1], [1], [1], [1], [0]]))
    assert known.tolist() == [0.7]
    table = pseudolabels.hard([[0.65], [0.71], [0.2]], ROWS, ["a"], quartiles=known, **WHO)
    assert table["row_id"].tolist() == ["S_10"]


def test_every_label_has_its_provenance():
    table = pseudolabels.hard([[0.9], [0.0], [0.0]], ROWS, ["a"], teacher="perch", round=2, origin="student")
    assert table.columns.tolist() == pseudolabels.COLUMNS
    [row] = table.to_dict("records")
    assert row == {"row_id": "S_5", "label": "a", "target": 1, "kind": "hard", "origin": "student", "teacher": "perch", "round": 2, "confidence": pytest.approx(0.9)}  # fmt: skip


def test_soft_labels_are_the_scores_of_kept_windows_only():
    table = pseudolabels.soft([[0.9, 0.3], [0.5, 0.5], [0.7, 0.0]], ROWS, ["a", "b"], power=2.0, **WHO)
    assert cells(table) == pytest.approx({("S_5", "a"): 0.81, ("S_5", "b"): 0.09, ("S_15", "a"): 0.49})
    assert table["confidence"].tolist() == pytest.approx([0.9, 0.3, 0.7])


def test_an_engine_without_birds_is_a_negative_window():
    scores, others = [[0.05, 0.0], [0.05, 0.2], [0.0, 0.0]], [0.9, 0.9, 0.3]
    table = pseudolabels.negatives(scores, others, ROWS, ["a", "b"], **WHO)
    assert cells(table) == {("S_5", "a"): 0.0, ("S_5", "b"): 0.0}  # the second may have a bird, the third has no engine
    assert set(table["kind"]) == {"negative"} and table["confidence"].tolist() == pytest.approx([0.9, 0.9])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
@pytest.mark.parametrize("rule", [pseudolabels.hard, pseudolabels.soft])
def test_scores_outside_0_to_1_are_rejected_with_teacher_window_and_label(bad, rule):
    scores = np.full((3, 2), 0.7)
    scores[1, 1] = bad
    with pytest.raises(pseudolabels.ScoreError, match="birdnet: the score of wren in S_10 is"):
        rule(scores, ROWS, ["tit", "wren"], **WHO)


def test_invalid_scores_are_counted_and_other_sounds_are_validated_too():
    with pytest.raises(pseudolabels.ScoreError, match="nan and 5 more"):
        pseudolabels.require_scores(np.full((3, 2), np.nan), ROWS, ["a", "b"], "perch")
    with pytest.raises(pseudolabels.ScoreError, match="other sounds"):
        pseudolabels.negatives(np.zeros((3, 1)), [0.0, np.nan, 0.0], ROWS, ["a"], **WHO)
    with pytest.raises(pseudolabels.ScoreError, match="3 windows by 1 labels"):
        pseudolabels.require_scores(np.zeros((2, 1)), ROWS, ["a"], "perch")


def test_human_labels_win_over_teachers():
    annotated = pseudolabels.from_annotations([[0.0, np.nan], [1.0, np.nan], [np.nan, np.nan]], ROWS, ["a", "b"])
    teacher = pseudolabels.hard([[0.99, 0.9], [0.99, 0.0], [0.9, 0.0]], ROWS, ["a", "b"], **WHO)
    merged = pseudolabels.merge([teacher, annotated])
    assert cells(merged) == {("S_5", "a"): 0, ("S_5", "b"): 1, ("S_10", "a"): 1, ("S_15", "a"): 1}
    origins = dict(zip(zip(merged["row_id"], merged["label"], strict=True), merged["origin"], strict=True))
    assert origins == {("S_5", "a"): "human", ("S_5", "b"): "teacher", ("S_10", "a"): "human", ("S_15", "a"): "teacher"}


def test_agreeing_teachers_are_both_named_and_the_higher_confidence_counts():
    first = pseudolabels.hard([[0.7], [0.0], [0.0]], ROWS, ["a"], teacher="birdnet")
    second = pseudolabels.hard([[0.9], [0.8], [0.0]], ROWS, ["a"], teacher="perch")
    merged = pseudolabels.merge([first, second]).set_index("row_id")
    assert merged.loc["S_5", "teacher"] == "perch+birdnet" and merged.loc["S_5", "confidence"] == pytest.approx(0.9)
    assert merged.loc["S_10", "teacher"] == "perch"


def test_a_hard_label_of_one_teacher_wins_over_a_negative_of_another():
    bird = pseudolabels.hard([[0.9], [0.0], [0.0]], ROWS, ["a"], teacher="perch")
    engine = pseudolabels.negatives([[0.0], [0.0], [0.0]], [0.9, 0.9, 0.0], ROWS, ["a"], teacher="birdnet")
    merged = pseudolabels.merge([engine, bird])
    assert cells(merged) == {("S_5", "a"): 1, ("S_10", "a"): 0}
    assert dict(zip(merged["row_id"], merged["teacher"], strict=True)) == {"S_5": "perch", "S_10": "birdnet"}


def test_merging_does_not_depend_on_the_order_of_teachers():
    rng = np.random.default_rng(1)
    tables = [
        pseudolabels.hard(rng.uniform(0, 1, (3, 2)), ROWS, ["a", "b"], teacher=name) for name in ("one", "two", "three")
    ]
    assert pseudolabels.merge(tables).equals(pseudolabels.merge(tables[::-1]))
    again = pseudolabels.merge([pseudolabels.merge(tables), *tables])
    assert cells(again) == cells(pseudolabels.merge(tables))


def test_merging_nothing_gives_an_empty_table_with_columns():
    empty = pseudolabels.merge([])
    assert empty.columns.tolist() == pseudolabels.COLUMNS and not len(empty)
    targets, confidences, is_labelled = pseudolabels.as_arrays(empty, ROWS, ["a"])
    assert targets.shape == (3, 1) and not is_labelled.any() and not confidences.any()


def test_labelled_windows_have_a_target_for_every_label():
    table = pseudolabels.merge(
        [
            pseudolabels.hard([[0.9, 0.0], [0.0, 0.0], [0.0, 0.0]], ROWS, ["a", "b"], **WHO),
            pseudolabels.negatives(np.zeros((3, 2)), [0.0, 0.0, 0.7], ROWS, ["a", "b"], **WHO),
        ]
    )
    targets, confidences, is_labelled = pseudolabels.as_arrays(table, ROWS, ["a", "b"])
    assert targets.tolist() == [[1, 0], [0, 0], [0, 0]]
    assert is_labelled.tolist() == [True, False, True] and confidences == pytest.approx([0.9, 0.0, 0.7])
    targets = pseudolabels.as_targets(table, [*ROWS, "elsewhere_5"], ["b", "a"])
    assert targets[0, 1] == 1 and np.isnan(targets[0, 0]) and (targets[2] == 0).all() and np.isnan(targets[3]).all()


def test_labels_are_described_with_the_species_that_have_none():
    table = pseudolabels.hard([[0.9, 0.0], [0.0, 0.0], [0.8, 0.0]], ROWS, ["robin", "frog"], **WHO)
    assert pseudolabels.describe(table, ["robin"]) == "2 windows have labels; 1 of 1 species are labelled as present."
    assert "1 of 2 species are labelled as present, not frog:" in pseudolabels.describe(table, ["robin", "frog"])
    soft = pseudolabels.soft([[0.9, 0.3], [0.0, 0.0], [0.0, 0.0]], ROWS, ["robin", "frog"], **WHO)
    engine = pseudolabels.negatives(np.zeros((3, 1)), [0.0, 0.9, 0.0], ROWS, ["robin"], **WHO)
    assert cells(pseudolabels.confident(pseudolabels.merge([soft, engine]))) == pytest.approx({("S_5", "robin"): 0.9, ("S_10", "robin"): 0.0})


NUMBERS = {"confidence": 0.6, "quiet": 0.1, "mixed_share": 0.5, "mix_ratio": 0.4, "power": 1.0, "prior_strength": 0.0, "window_s": 5.0, "n_soundscapes": 0, "n_rounds": 0, "epochs": 1}


@pytest.mark.parametrize(
    "wrong", [{"confidence": 5.0}, {"quiet": float("nan")}, {"mix_ratio": 1.0}, {"power": 0.0}, {"prior_strength": -1.0}, {"window_s": 0.0}, {"epochs": 0}]
)
def test_numbers_out_of_range_are_refused_by_their_name(wrong):
    pseudolabels.require_numbers(NUMBERS)
    with pytest.raises(runtime.ParameterError, match=f"{next(iter(wrong))} is .*: choose"):
        pseudolabels.require_numbers(NUMBERS | wrong)
