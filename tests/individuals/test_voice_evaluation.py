import numpy as np
import pandas as pd
import pytest
import soundfile

from birdlib import runtime, stages
from birdlib.individuals import plots as individual_plots
from birdlib.individuals import voice_evaluation, voice_models, voices
from birdlib.models import embedders

RATE_HZ = 24_000


def splits(*rows):
    """Rows of (species, individual_id, recordings), as stage 01 gives them."""
    table = pd.DataFrame([(species, bird) for species, bird, n in rows for _ in range(n)], columns=["species", "individual_id"], dtype=str)
    table.insert(0, "recording_id", np.array([f"r{number:02d}" for number in range(len(table))], dtype=object))
    return table.assign(audio_path=table["recording_id"] + ".wav", group_id=table["individual_id"], is_repeated=False)


WRENS = [("wren", f"wren {number}", 4) for number in range(5)]


def test_the_species_with_most_named_birds_is_selected():
    """More recordings of fewer tits do not count; nor do birds without a name."""
    found = voice_evaluation.select_singers(splits(*[("tit", f"tit {number}", 9) for number in range(4)], *WRENS, ("owl", "", 50)))
    assert set(found["species"]) == {"wren"} and len(found) == 20 and found.index.tolist() == list(range(20))


def test_birds_with_one_recording_are_left_out():
    assert "once" not in set(voice_evaluation.select_singers(splits(*WRENS, ("wren", "once", 1)))["individual_id"])


def test_a_name_in_two_species_is_two_birds():
    """As where birds are numbered: wren 7 and tit 7 were recorded once each."""
    found = voice_evaluation.select_singers(splits(*WRENS, ("wren", "7", 1), ("tit", "7", 1)))
    assert "7" not in set(found["individual_id"])


@pytest.mark.parametrize("rows", [[], WRENS[:3], [("wren", "", 20)], [("wren", f"wren {number}", 1) for number in range(9)]])
def test_too_few_birds_give_an_empty_table(rows):
    found = voice_evaluation.select_singers(splits(*rows))
    assert len(found) == 0 and "individual_id" in found


def test_recordings_without_sound_and_repeated_ones_are_left_out():
    table = splits(*WRENS[:4])
    assert len(voice_evaluation.select_singers(table)) == 16
    assert len(voice_evaluation.select_singers(table.assign(is_repeated=table["individual_id"] == "wren 0"))) == 0
    assert len(voice_evaluation.select_singers(table.assign(audio_path=np.where(table["individual_id"] == "wren 0", "", "x.wav")))) == 0


# evaluate


def song(bird, number, rng):
    """Half a second of its own note in a whisper of a background, then nothing but that."""
    at = np.arange(RATE_HZ) / RATE_HZ
    note = np.sin(2 * np.pi * (2000 + 700 * bird) * at) * (at < 0.5) * (0.3 + 0.1 * number)
    return (note + 0.002 * rng.standard_normal(RATE_HZ)).astype(np.float32)


class Embedder:
    """Embeds the energy in five bands: two equal patches of a waveform."""

    sample_rate_hz, resampler = RATE_HZ, "soxr_hq"

    def embed(self, waveform):
        power, hz = np.abs(np.fft.rfft(waveform, RATE_HZ)), np.fft.rfftfreq(RATE_HZ, 1 / RATE_HZ)
        bands = np.log([part.mean() + 1e-2 for part in np.array_split(power[(hz > 1700) & (hz < 5200)], 5)])
        return np.tile(np.pad(bands, (0, 1024 - len(bands))), (2, 1)).astype(np.float32), np.ones(2, np.float32)


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """Stages 02 and 03 of five wrens, whose notes differ: (folder, singers)."""
    monkeypatch.setattr(embedders, "load", lambda *_, **__: Embedder())
    singers, rng = voice_evaluation.select_singers(splits(*WRENS)), np.random.default_rng(0)
    stages.finish(stages.start("01_split", tmp_path), {"root": "."})
    cleaned = stages.start("02_clean", tmp_path)
    for number, row in singers.iterrows():
        waveform = song(int(row["individual_id"][-1]), number % 4, rng)
        soundfile.write(cleaned.folder / f"{row['recording_id']}.wav", waveform, RATE_HZ, subtype="FLOAT")
    singers[["recording_id", "audio_path"]].to_parquet(cleaned.folder / "recordings.parquet")
    stages.finish(cleaned, {})
    embedded = stages.start("03_embed", tmp_path, embedder="yamnet", octave_down=True, resampler="soxr_hq", backend="auto")
    stages.finish(embedded, {})
    return tmp_path, singers


def judge(outputs, singers, n_swapped=0, seed=0, **options):
    return voice_evaluation.evaluate(singers, outputs, false_accept=0.25, n_swapped=n_swapped, rng=np.random.default_rng(seed), **options)


def test_birds_with_distinct_notes_are_identified(outputs):
    folder, singers = outputs
    figures, shares, is_confounded = judge(folder, singers)
    values = figures.set_index("figure")["value"]
    assert values["closed set, accuracy"] == 1.0 and values["open set, BAKS"] > 0.5
    assert len(shares) == 0 and "taken_for" in shares
    assert is_confounded, "every bird has one session"
    assert not judge(folder, singers.assign(group_id=[f"day {number % 4}" for number in range(20)]))[2]


@pytest.mark.parametrize("voice_features", ["songs", "embedding"])
def test_each_feature_alone_identifies_the_notes(outputs, voice_features):
    folder, singers = outputs
    figures = judge(folder, singers, voice_features=voice_features)[0].set_index("figure")["value"]
    assert figures["closed set, accuracy"] > 0.9


def test_sessions_and_days_are_reported_apart(outputs):
    """Two sessions on the first day and two on the second; with both days known, every test is of another session."""
    folder, singers = outputs
    at = np.arange(20) % 4
    named = singers.assign(group_id=[f"{bird} {n}" for bird, n in zip(singers["individual_id"], at, strict=True)])
    figures = judge(folder, named)[0].set_index("figure")["value"]
    assert figures["closed set, another day"] == 1.0 and "closed set, another session" not in figures  # no date in the names
    dated = named.assign(audio_path=[f"r{row}_2025-04-{1 + n // 2:02d}.wav" for row, n in enumerate(at)])
    figures = judge(folder, dated)[0].set_index("figure")["value"]
    assert figures["closed set, another session"] == 1.0 and "closed set, another day" not in figures


def test_predictions_follow_the_note_over_another_background(outputs):
    """All backgrounds are the same noise. A bird sings once in each fold, so that none has a second background of its own."""
    folder, singers = outputs
    _, shares, _ = judge(folder, singers, n_swapped=6)
    assert set(shares["kind"]) == {"as recorded", "other background"} and (shares["n"] == 6).all()
    own = shares[shares["taken_for"] == "the bird"].set_index("kind")["share"]
    assert own["as recorded"] == 1.0 and own["other background"] > 0.6


def test_recordings_skipped_by_earlier_stages_are_left_out(outputs):
    """Stages 02 and 03 skip what they cannot read: a bird is judged by the rest, and too few birds are not judged."""
    folder, singers = outputs
    more = pd.concat([singers, singers[:1].assign(recording_id="lost")], ignore_index=True)
    assert judge(folder, more)[0]["n"][0] == len(singers)
    lost = singers.assign(recording_id=np.where(singers["individual_id"] < "wren 2", "lost", singers["recording_id"]))
    figures, shares, _ = judge(folder, lost, n_swapped=6)
    assert len(figures) == len(shares) == 0 and "figure" in figures


def test_evaluation_needs_stage_03(tmp_path):
    with pytest.raises(stages.MissingStageError, match="03_embed"):
        judge(tmp_path, splits(*WRENS))


def test_bars_are_drawn(outputs, drawn):
    folder, singers = outputs
    individual_plots.background_shares(judge(folder, singers, n_swapped=3)[1], 5)


def test_description_states_whether_identity_follows_the_voice_or_the_background():
    figures = pd.DataFrame({"figure": ["accuracy"], "value": [0.9]})
    kinds = {"kind": "other background", "taken_for": ["the bird", "the background's bird"]}
    voice, background = (pd.DataFrame({**kinds, "share": shares}) for shares in ([0.7, 0.1], [0.2, 0.6]))
    assert "70% of recordings are taken for the bird and 10%" in voice_evaluation.describe(figures, voice, False)
    assert voice_evaluation.describe(figures, voice, False).endswith("identity follows the voice.")
    text = voice_evaluation.describe(figures, background, True)
    assert text.startswith("Every bird was recorded in one session") and text.endswith("identity follows the background.")
    assert "voices are not evaluated" in voice_evaluation.describe(figures[:0], voice[:0], False)


def test_without_singers_nothing_is_read_or_evaluated(tmp_path):
    figures, shares, _ = voice_evaluation.evaluate(pd.DataFrame(), tmp_path, false_accept=0.1, n_swapped=5, rng=None)
    assert figures.empty and shares.empty


def test_of_many_recordings_some_of_each_bird_are_used(monkeypatch):
    monkeypatch.setattr(voice_evaluation, "_MAX_RECORDINGS", 20)
    found = voice_evaluation._thinned(splits(("wren", "often", 50), ("wren", "seldom", 3), ("wren", "sometimes", 9)))
    assert found["individual_id"].value_counts().to_dict() == {"often": 8, "sometimes": 8, "seldom": 3}


# Experiments


N_BIRDS, N_EACH = 8, 12


def vectors_of(distance):
    """(vectors, birds, sessions) of birds that are ``distance`` apart."""
    rng = np.random.default_rng(0)
    birds = np.repeat([f"bird{i}" for i in range(N_BIRDS)], N_EACH)
    own = np.repeat(distance * rng.standard_normal((N_BIRDS, 20)), N_EACH, axis=0)
    table = pd.DataFrame({"individual_id": birds, "group_id": [f"{bird}-{i % 3}" for i, bird in enumerate(birds)]})
    return own + 0.2 * rng.standard_normal((len(birds), 20)), birds, voices.sessions(table)


def test_distinct_voices_are_clustered_without_labels():
    found = voice_evaluation.cluster_unknown(*vectors_of(1.0), n_rounds=2, rng=np.random.default_rng(0))
    assert sorted(found.index) == list(range(N_BIRDS * N_EACH))
    assert found.groupby("bird")["predicted"].nunique().max() == found.groupby("predicted")["bird"].nunique().max() == 1


def test_few_birds_are_not_clustered():
    few = [x[: 3 * N_EACH] for x in vectors_of(1.0)]
    assert len(voice_evaluation.cluster_unknown(*few, rng=np.random.default_rng(0))) == 0


@pytest.mark.parametrize("distance", [0.0, 1.0])
def test_figures_lie_in_their_intervals(distance):
    vectors, birds, sessions = vectors_of(distance)
    view = voice_models.View(vectors, np.zeros((len(birds), len(birds))), birds.astype(object))
    data = voice_models.Voices(birds, sessions, view, features=("embedding",))
    closed, opened = voice_models.closed_set(data), voice_models.open_set(data, rng=np.random.default_rng(0))
    grouped = voice_evaluation.cluster_unknown(vectors, birds, sessions, rng=np.random.default_rng(0))
    table = voice_evaluation.figures(closed, opened, grouped, n_draws=50, rng=np.random.default_rng(0)).set_index("figure")
    assert (table.loc["no bird known, F1 of pairs", "value"] == 1) == (distance == 1.0)
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
    taken = table.loc["open set, unknown birds identified as a known bird", "value"]
    assert table.loc["open set, BAUS", "value"] == pytest.approx(1.0 - taken)  # as all birds sing equally often
    assert table.loc["open set, AUROC", "value"] > 0.95 if distance else abs(table.loc["open set, AUROC", "value"] - 0.5) < 0.15


def test_auroc_is_that_of_the_margin():
    """Of four pairs of a known and a new recording, three are in order."""
    assert voice_evaluation.known_or_new_auroc(np.array([True, False, True, False]), np.array([3.0, 1.0, 0.5, -2.0])) == 0.75
    assert np.isnan(voice_evaluation.known_or_new_auroc(np.array([True]), np.array([1.0])))


@pytest.mark.parametrize(("wrong", "named"), [((0.0, 400, "auto"), "false_accept is 0"), ((0.1, -1, "auto"), "n_swapped -1"), ((0.1, 0, "words"), "voice_features is 'words'")])
def test_parameters_that_no_voice_can_be_evaluated_with_are_named(wrong, named):
    voice_evaluation.require(0.1, 0, "auto")
    with pytest.raises(runtime.ParameterError, match=named):
        voice_evaluation.require(*wrong)
