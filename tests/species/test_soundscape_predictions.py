import numpy as np
import pandas as pd
import pytest
import soundfile

from birdlib import runtime, store
from birdlib.audio import io as audio_io
from birdlib.data import submissions
from birdlib.species import settings_comparison, smoothing, soundscape_predictions, time_budget
from birdlib.species.members import OpenFile

RATE_HZ = 8000
CLASSES = ["crow", "tit", "wren"]
PRIOR = [0.5, 0.3, 0.2]
TOP = smoothing.Postprocessing(n_top=1)
CONFIG = {"rule": "mean", "kept": {}, "members": [".", "members/slow"], "classes": CLASSES, "prior": PRIOR}


class Member:
    """In place of a member: scores are proportional to the loudness of the span; it may fail."""

    certificate, preprocessing = {}, {}

    def __init__(self, name, member_id, fault=None):
        self.name, self.member_id, self.fault, self.opened = name, member_id, fault, []

    def certify(self, path, spans, n_files):
        pass

    def open(self, path, denoise=True):
        waveform, rate_hz = audio_io.read(path)
        self.opened.append(path.stem)

        def predict(spans):
            if isinstance(self.fault, Exception):
                raise self.fault
            levels = [np.abs(waveform[round(start_s * rate_hz) : round(end_s * rate_hz)]).mean() for start_s, end_s in spans]
            found = np.outer(levels, [1.0, 0.5, 0.0]).astype(np.float32)
            if self.fault == "NaN":
                found[-1, 1] = np.nan
            return found

        return OpenFile(len(waveform) / rate_hz, predict)


def soundscape(folder, name, loudness):
    """A wav whose seconds have the given loudness."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.repeat(np.asarray(loudness, np.float32), RATE_HZ), RATE_HZ, subtype="FLOAT")
    return path


def predict(paths, members, folder=None, seconds=1.0, budget_min=90, **options):
    """Predict files on a machine that takes so many seconds for each."""
    clock = [0.0]

    def now():  # is called several times per file, so a part of the seconds passes each time
        clock[0] += seconds / 4
        return clock[0]

    files = soundscape_predictions.open_files(paths)
    configs = time_budget.plan({member.member_id: member.name for member in members}, **options)
    budget = time_budget.TimeBudget(configs, files["minutes"].sum(), budget_min, now=now)
    return files, budget, *soundscape_predictions.predict_all(files, members, CONFIG, budget, folder)


@pytest.fixture
def both():
    return [Member("fast", "."), Member("slow", "members/slow")]


# Windows


@pytest.mark.parametrize(("duration_s", "n_windows"), [(1, 1), (10, 2), (61, 13)])
def test_files_of_any_length_get_a_row_for_each_window(tmp_path, both, duration_s, n_windows):
    path = soundscape(tmp_path, "H1.wav", [0.1] * duration_s)
    files, _, scores, timings, skipped, _ = predict([path], both)
    assert soundscape_predictions.row_ids(files) == ([f"H1_{5 * (i + 1)}" for i in range(n_windows)], ["H1"] * n_windows)
    assert scores.shape == (n_windows, 3) and skipped.empty
    assert timings["minutes"].tolist() == pytest.approx([duration_s / 60]) and not timings["is_prior"].any()


def test_overlapping_spans_count_in_the_windows_scores(tmp_path, both):
    """Loud in [5, 10) only: the window after it has 1/4 of the span that begins at 7.5 s, half of which is loud."""
    path = soundscape(tmp_path, "H1.wav", [0.0] * 5 + [0.8] * 5 + [0.0] * 10)
    plain, overlapping = predict([path], both)[2], predict([path], both, hop_s=2.5)[2]
    assert plain[:, 0] == pytest.approx([0.0, 0.8, 0.0, 0.0])
    assert overlapping[2, 0] == pytest.approx(0.8 / 2 / 4) and overlapping[3, 0] == 0.0


# Broken files and members


def test_a_corrupt_file_gets_the_prior_in_twelve_rows_and_is_reported(tmp_path, both):
    good, bad = soundscape(tmp_path, "H1.wav", [0.1] * 10), tmp_path / "H2.ogg"
    bad.write_bytes(b"")
    files, _, scores, timings, skipped, _ = predict([bad, good], both)
    row_ids, _ = soundscape_predictions.row_ids(files)
    assert row_ids == [f"H2_{5 * (i + 1)}" for i in range(12)] + ["H1_5", "H1_10"]
    assert np.allclose(scores[:12], PRIOR) and not np.allclose(scores[12:], PRIOR)
    assert skipped.to_numpy().tolist() == [["H2.ogg", "08_submit", "is empty (0 bytes): copy it again, or remove it"]]
    submissions.require_valid(submissions.table(row_ids, scores, CLASSES), CLASSES, row_ids)
    assert timings["seconds"].isna().tolist() == [True, False]  # a file that was not predicted has no time


@pytest.mark.parametrize("fault", ["NaN", RuntimeError("out of memory")])
def test_a_member_without_finite_scores_is_left_out_and_reported(tmp_path, fault):
    path = soundscape(tmp_path, "H1.wav", [0.1] * 10)
    members = [Member("fast", "."), Member("slow", "members/slow", fault)]
    _, _, scores, _, skipped, refused = predict([path], members)
    assert np.array_equal(scores, predict([path], members[:1])[2]) and skipped.empty
    assert refused[["soundscape", "member"]].to_numpy().tolist() == [["H1", "slow"]]
    reason = refused["reason"][0]
    assert "score of tit in H1 from 5 s is nan" in reason if fault == "NaN" else reason == "RuntimeError: out of memory"


def test_a_file_without_scores_of_any_member_gets_the_prior(tmp_path):
    path = soundscape(tmp_path, "H1.wav", [0.1] * 10)
    _, _, scores, timings, skipped, refused = predict([path], [Member("fast", ".", "NaN")])
    assert np.allclose(scores, PRIOR) and timings["is_prior"].all() and len(refused) == 1
    assert skipped["path"].tolist() == ["H1.wav"] and "fast: the score of tit" in skipped["reason"][0]


def test_without_soundscapes_the_submission_is_empty_and_valid(tmp_path, both):
    files, _, scores, timings, skipped, _ = predict([], both)
    row_ids, _ = soundscape_predictions.row_ids(files)
    assert row_ids == [] and scores.shape == (0, 3) and skipped.empty
    assert soundscape_predictions.projection(timings) == "no soundscape was timed"
    columns = [*CLASSES, "zander"]
    submissions.table(row_ids, scores, CLASSES, columns, fill=0.1).to_csv(tmp_path / "s.csv", index=False)
    written = pd.read_csv(tmp_path / "s.csv")
    assert list(written) == ["row_id", *columns] and len(written) == 0
    submissions.require_valid(written, columns, row_ids)


# In time


def test_every_file_has_rows_on_a_slow_machine(tmp_path, both):
    """A minute a file and four minutes in all: the slow member goes, then the last files get the prior."""
    paths = [soundscape(tmp_path, f"H{i}.wav", [0.1] * 5) for i in range(10)]
    files, budget, scores, timings, _, _ = predict(paths, both, seconds=60.0, budget_min=4)
    assert len(scores) == len(soundscape_predictions.row_ids(files)[0]) == 10 and np.isfinite(scores).all()
    assert timings["config"].iloc[0] == "everything" and "without slow" in timings["config"].tolist()
    assert timings["is_prior"].iloc[-1] and np.allclose(scores[-1], PRIOR)
    assert 0 < len(both[1].opened) < len(both[0].opened)
    assert budget.steps()[-1] == f"the prior: {timings['is_prior'].sum()} files for which there was no time"


def test_an_interrupted_run_continues(tmp_path, both):
    paths = [soundscape(tmp_path, f"H{i}.wav", [0.1 * i] * 10) for i in range(3)]
    undisturbed = predict(paths, both)[2]

    class Killed(BaseException):
        pass

    broken = [Member("fast", "."), Member("slow", "members/slow")]
    broken[0].open = lambda path, denoise: (_ for _ in ()).throw(Killed) if path == paths[2] else both[0].open(path, denoise)
    with pytest.raises(Killed):
        predict(paths, broken, tmp_path / "parts")
    again = [Member("fast", "."), Member("slow", "members/slow")]
    _, _, scores, timings, _, _ = predict(paths, again, tmp_path / "parts")
    assert np.array_equal(scores, undisturbed) and again[0].opened == ["H2"]
    assert timings["seconds"].isna().tolist() == [True, True, False]


def test_a_file_that_vanishes_during_the_run_gets_the_prior(tmp_path, both):
    paths = [soundscape(tmp_path, f"H{i}.wav", [0.1 * i] * 10) for i in range(3)]
    whole = predict(paths, both)[2]
    first = Member("fast", ".")

    def vanish(path, denoise):
        paths[2].unlink(missing_ok=True)
        return both[0].open(path, denoise)

    first.open = vanish
    _, _, scores, timings, skipped, _ = predict(paths, [first, Member("slow", "members/slow")])
    assert skipped["path"].tolist() == ["H2.wav"] and "there is no such file" in skipped["reason"][0]
    assert timings["is_prior"].tolist() == [False, False, True]
    assert np.array_equal(scores[:-2], whole[:-2]) and np.allclose(scores[-2:], PRIOR)


def test_failures_of_a_member_are_reported_by_the_next_run_too(tmp_path):
    path = soundscape(tmp_path, "H1.wav", [0.1] * 10)
    for _ in range(2):
        refused = predict([path], [Member("fast", "."), Member("slow", "members/slow", "NaN")], tmp_path / "parts")[-1]
        assert refused["member"].tolist() == ["slow"]


def test_a_full_disk_does_not_stop_predictions(tmp_path, both, monkeypatch):
    def full(*_):
        raise runtime.FullDiskError("the disk is full")

    paths = [soundscape(tmp_path, f"H{i}.wav", [0.1] * 10) for i in range(2)]
    monkeypatch.setattr(store.EmbeddingStore, "put", full)
    with pytest.warns(UserWarning, match="no longer kept.*the disk is full"):
        _, _, scores, timings, _, _ = predict(paths, both, tmp_path / "parts")
    assert not timings["is_prior"].any() and np.array_equal(scores, predict(paths, both)[2])


def test_the_fastest_member_comes_first_and_a_failing_one_last(tmp_path):
    files = soundscape_predictions.open_files([tmp_path / "none.wav", soundscape(tmp_path, "H1.wav", [0.1] * 10)])
    members = [Member("broken", "b", RuntimeError("no")), Member("whole", "w")]
    config = time_budget.plan({"b": "broken", "w": "whole"})[0]
    ready = soundscape_predictions.prepare(members, files, CONFIG, config)
    assert ready["member"].tolist() == ["whole", "broken"] and np.isfinite(ready["seconds"]).tolist() == [True, False]
    assert soundscape_predictions.prepare(members, files[:1], CONFIG, config)["seconds"].tolist() == [np.inf, np.inf]


def test_a_poor_fast_member_is_dropped_before_a_good_slow_one(tmp_path, monkeypatch):
    """Seconds are 0.1, 0.2 and 0.3: the first is fast and poor, the others are as good as each other."""
    files = soundscape_predictions.open_files([soundscape(tmp_path, "H1.wav", [0.1] * 60)])
    members = [Member(name, name) for name in ("poor", "good", "best")]
    validated = CONFIG | {"validation": {"poor": 0.7, "good": 0.89, "best": 0.9}}
    ticks = iter([0.0, 0.1, 1.0, 1.2, 2.0, 2.3] * 2)
    monkeypatch.setattr(soundscape_predictions.time, "perf_counter", lambda: next(ticks))
    config = time_budget.plan({name: name for name in ("poor", "good", "best")})[0]
    assert soundscape_predictions.prepare(members, files, validated, config)["member_id"].tolist() == ["good", "best", "poor"]
    assert soundscape_predictions.prepare(members, files, CONFIG, config)["member_id"].tolist() == ["poor", "good", "best"]


# What the settings do


def test_each_setting_is_compared_with_plain_windows(tmp_path, both):
    """The crow is where it is loud. Smoothing is off, so it is tried with its default; TopN alone is set."""
    rng = np.random.default_rng(0)
    levels = rng.random((6, 4))
    files = soundscape_predictions.open_files([soundscape(tmp_path, f"H{i}.wav", np.repeat(row, 5)) for i, row in enumerate(levels)])
    truth = np.stack([levels.ravel() > 0.5, rng.random(24) > 0.5, np.zeros(24)], axis=1).astype(float)
    config = time_budget.plan({".": "fast", "members/slow": "slow"})[0]
    table = settings_comparison.compare(files, both, CONFIG, truth, config, TOP, rng).set_index("windows")
    assert table.index.tolist() == ["plain", "+ overlap", "+ shifts", "+ smoothing", "+ TopN", "as set"]
    assert table.loc["plain", "change"] == [0.0, 0.0, 0.0] and table.loc["plain", "verdict"] == ""
    assert table.loc["as set", "macro_auc"][0] == table.loc["+ TopN", "macro_auc"][0]
    for row in table.itertuples():
        assert row.change[0] == pytest.approx(row.macro_auc[0] - table.loc["plain", "macro_auc"][0])
    assert table["verdict"].astype(bool).tolist() == [False] + [True] * 5  # the first is the baseline

    (tmp_path / "H0.wav").write_bytes(b"")  # it was readable when its windows were counted
    fewer = settings_comparison.compare(files, both, CONFIG, truth, config, TOP, rng).set_index("windows")
    others = settings_comparison.compare(files.iloc[1:], both, CONFIG, truth[4:], config, TOP, rng).set_index("windows")
    assert [figure[0] for figure in fewer["macro_auc"]] == [figure[0] for figure in others["macro_auc"]]
    assert settings_comparison.compare(files.iloc[:1], both, CONFIG, truth[:4], config, TOP, rng).empty


# Projection


def test_the_projection_is_the_median_for_seven_hundred_minutes():
    """6 s a minute, whatever the slow first file: 700 minutes take 70 minutes."""
    timings = pd.DataFrame({"soundscape": list("abc"), "minutes": [1.0, 2.0, 1.0], "seconds": [90.0, 12.0, 6.0]})
    sentence = "6.00 s per minute of audio: 700 one-minute files would take 70 of 90 minutes"
    assert soundscape_predictions.projection(timings) == sentence


def test_settings_are_described_by_their_verdicts():
    table = pd.DataFrame({"windows": ["plain", "+ shifts", "+ TopN"], "verdict": ["", "no difference seen", "helps"]})
    assert settings_comparison.describe(table) == "Against plain windows, no difference seen: + shifts; helps: + TopN."
    assert "too few soundscapes" in settings_comparison.describe(table.assign(verdict=""))
    assert "not known" in settings_comparison.describe(table[:0])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"data_dir": "nowhere"}, "data_dir is nowhere"), ({"window_s": 0.0}, "window_s is 0"), ({"window_s": float("nan")}, "window_s is nan"),
        ({"budget_min": 0.0}, "budget_min is 0"), ({"n_rehearse": 0}, "n_rehearse 0"),
    ],
)  # fmt: skip
def test_parameters_that_nothing_can_be_predicted_with_are_named(tmp_path, wrong, named):
    given = {"data_dir": str(tmp_path), "window_s": 5.0, "budget_min": 90.0, "n_rehearse": 8}
    soundscape_predictions.require(**given)
    soundscape_predictions.require(**given | {"data_dir": ""})
    with pytest.raises(runtime.ParameterError, match=named):
        soundscape_predictions.require(**given | wrong)
