import numpy as np
import pandas as pd
import pytest

from birdlib.species import classifiers, label_rules, pseudolabels, teacher_assignment

CLASSES = ["robin", "tit"]
LABELS_OF = {"birdnet": ["robin", "tit"], "yamnet": []}
N = 24
WINDOWS = pd.DataFrame({"row_id": [f"S{n // 6}_{n}" for n in range(N)], "soundscape": [f"S{n // 6}" for n in range(N)]})


@pytest.fixture
def setting():
    """Robins in the first 12 windows; BirdNET finds 8 of them and 2 that are none, with the lowest scores. An engine runs in 6 windows, in 1 of them with a robin."""
    truth = np.zeros((N, 2), np.float32)
    truth[:12, 0] = 1
    robin = np.zeros(N)
    robin[:8], robin[12:14] = np.linspace(0.8, 0.95, 8), 0.61
    engine = np.zeros(N)
    engine[[11, 15, 16, 17, 18, 19]] = 0.9
    scores = {"birdnet": np.column_stack([robin, np.zeros(N)]), "yamnet": np.zeros((N, 0))}
    others = {"birdnet": np.zeros(N), "yamnet": engine}
    assignment = teacher_assignment.assign(LABELS_OF, CLASSES, ("birdnet",))
    return truth, scores, others, assignment


def rules_of(setting, **options):
    truth, scores, others, assignment = setting
    return label_rules.apply(WINDOWS, scores, others, LABELS_OF, assignment, confidence=0.6, quiet=0.1, **options)


def test_precision_and_recall_of_each_rule(setting):
    """Ten labels, eight right, of twelve robins. The lower quartile drops three of ten: two wrong ones and the faintest right one. Five of six negatives have no bird."""
    rules = rules_of(setting)
    table = label_rules.evaluate(rules, setting[0], WINDOWS, CLASSES, setting[3], np.random.default_rng(0)).set_index(["teacher", "rule"])
    together = table.loc["all"]
    assert together["labels"].to_dict() == {label_rules.NAMES["confidence"]: 10, label_rules.NAMES["quartile"]: 7, label_rules.NAMES["negatives"]: 6}
    assert together["precision"].tolist() == pytest.approx([0.8, 1.0, 5 / 6]) and together["recall"].tolist() == pytest.approx([8 / 12, 7 / 12, 5 / 12])
    assert (together["precision_low"] <= together["precision"]).all() and (together["recall_high"] >= together["recall"]).all()
    assert table.loc["birdnet", "labels"].tolist() == [10, 7]  # BirdNET alone finds no engine


def test_recall_of_a_teacher_counts_the_species_assigned_to_it(setting):
    truth = setting[0].copy()
    truth[20:, 1] = 1  # tits, which are the classifier's
    assignment = pd.DataFrame({"label": CLASSES, "teachers": ["birdnet", "classifier"]})
    rules = {("birdnet", "confidence"): rules_of(setting)["birdnet", label_rules.NAMES["confidence"]]}
    rules["all", "confidence"] = rules["birdnet", "confidence"]
    table = label_rules.evaluate(rules, truth, WINDOWS, CLASSES, assignment, np.random.default_rng(0))
    assert table["recall"].tolist() == pytest.approx([8 / 12, 8 / 16])


def test_annotators_are_the_last_rule(setting):
    annotated = pseudolabels.from_annotations(setting[0][:3], WINDOWS["row_id"][:3].tolist(), CLASSES)
    assert list(rules_of(setting, annotated=annotated))[-1] == ("all", label_rules.ANNOTATED)


def student_data(train_head, held_out):
    recordings = np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), np.ones(2, np.float32)
    return label_rules.StudentData("first", recordings, recordings[:2], np.zeros((N, 2), np.float32), held_out, train_head, 0.0)


def test_students_are_trained_on_the_windows_that_a_rule_labels(setting, monkeypatch):
    """A student here is perfect on held-out soundscapes if it was trained on negative windows; else it scores all windows alike."""
    seen = []

    def train_head(training_set, validation):
        seen.append(len(training_set[0]))
        return "with negatives" if (training_set[1].sum(axis=1) == 0).any() else "without"

    held_out = (np.eye(2, dtype=np.float32)[np.arange(8) % 2], np.eye(2)[np.arange(8) % 2], np.repeat(list("abcd"), 2))
    monkeypatch.setattr(classifiers, "predict", lambda head, features: features if head == "with negatives" else np.full(features.shape, 0.5))
    rules = rules_of(setting)
    table = label_rules.table(rules, setting[0], WINDOWS, CLASSES, setting[3], student_data(train_head, held_out), 0)
    assert seen == [2 + 10, 2 + 7, 2 + 7 + 6]  # recordings, and windows with labels
    together = table[table["teacher"] == "all"].set_index("rule")
    assert together["held_out_auc"].tolist() == [0.5, 0.5, 0.5, 1.0] and together.index[0] == "recordings alone"
    assert together["gain"].tolist()[1:] == [0.0, 0.0, 0.5] and "negative windows helps (+0.500 [+0.500, +0.500])" in label_rules.describe(table)
    assert label_rules.as_text(table).loc[("all", label_rules.NAMES["negatives"]), "gain"] == "0.500 [0.500, 0.500]"


def test_without_truth_there_is_no_table(setting):
    data = student_data(None, None)
    assert label_rules.table(rules_of(setting), None, WINDOWS, CLASSES, setting[3], data, 0).empty
    table = label_rules.table(rules_of(setting), setting[0], WINDOWS, CLASSES, setting[3], data, 0)
    assert len(table) == 6 and table["gain"].isna().all() and "no gain is known" in label_rules.describe(table)
    assert label_rules.as_text(table).shape == (6, 5)


def test_labels_of_no_teacher_have_no_rules(setting):
    nothing = {"birdnet": np.zeros((N, 2)), "yamnet": np.zeros((N, 0))}
    assert label_rules.apply(WINDOWS, nothing, dict.fromkeys(nothing, np.zeros(N)), LABELS_OF, setting[3], confidence=0.6, quiet=0.1) == {}
