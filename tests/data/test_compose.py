import dataclasses
import hashlib
import types

import numpy as np
import pandas as pd
import pytest
from sounds import RATE_HZ, hiss

from birdlib import recording_names
from birdlib.__main__ import main
from birdlib.audio import activity
from birdlib.audio import io as audio_io
from birdlib.data import birdclef, compose, composition_plan, manifest, mixtures
from birdlib.species import soundscape_annotations

TONES_HZ = {"wren": 2000, "crow": 4000, "owl": 7000}
MINUTES = ["--minutes", "1.5", "--soundscape-s", "10", "--test", "0.4", "--labelled", "0.5", "--format", "flac", "--snr", "10", "20"]


def trill(hz, seed):
    """Five seconds of faint hiss with two trills, at random times."""
    rng, waveform = np.random.default_rng(seed), hiss(5.0, level=0.001, seed=seed)
    for start_s in (rng.uniform(0.2, 1.5), rng.uniform(2.8, 3.9)):
        time_s = np.arange(RATE_HZ) / RATE_HZ
        note = 0.2 * np.sin(2 * np.pi * hz * time_s) * np.square(np.sin(np.pi * time_s / 0.2))  # five notes a second, without clicks
        waveform[round(start_s * RATE_HZ) :][:RATE_HZ] += note.astype(np.float32)
    return waveform


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Three species with eight recordings of eight groups each; one recording is there twice, under another name, and one has two species."""
    root, rows = tmp_path_factory.mktemp("recordings"), []
    for number, (species, hz) in enumerate(TONES_HZ.items()):
        for n in range(8):
            name = f"{species}{n}"
            audio_io.write(root / f"{name}.flac", trill(hz, 10 * number + n), RATE_HZ)
            rows.append({"recording_id": name, "species": species, "group_id": f"{name}-g", "audio_path": f"{name}.flac", "licence": "CC0", "attribution": "me"})
    audio_io.write(root / "again.wav", audio_io.read(root / "wren3.flac")[0], RATE_HZ)
    rows.append({**rows[3], "recording_id": "again", "group_id": "other-g", "audio_path": "again.wav"})
    (root / "broken.wav").write_bytes(b"RIFF")
    rows.append({**rows[0], "recording_id": "broken", "group_id": "broken-g", "audio_path": "broken.wav"})
    table = pd.DataFrame(rows).assign(secondary_species="", start_s="", end_s="")
    table.loc[table["recording_id"] == "owl7", ["start_s", "end_s"]] = ["0.1", "4.9"]
    table.to_csv(root / "manifest.csv", index=False)
    audio_io.write(root / "rain.flac", hiss(20.0, level=0.05, seed=99), RATE_HZ)
    return root


@pytest.fixture(scope="module")
def composed(recordings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("composed") / "out"
    assert main(["compose", "--manifest", str(recordings / "manifest.csv"), "--output", str(folder), "--noise", str(recordings / "rain.flac"), *MINUTES]) == 0
    return folder


def truth_of(folder):
    return pd.read_csv(folder / "truth" / "soundscape_labels.csv", keep_default_na=False).set_index("row_id")["birds"]


def test_it_is_a_birdclef_folder_of_2026(composed):
    table, root = birdclef.read(composed)
    train, test = birdclef.soundscapes(root, "train"), birdclef.soundscapes(root, "test")
    assert len(train) == 5 and len(test) == 4 and birdclef.submission_classes(root) == sorted(TONES_HZ)
    name = recording_names.parse(train[0])
    assert train[0].name.startswith(f"BC2026_Train_0001_{name.site}_") and name.moment.time and name.site[:2] == "S0"
    assert {round(audio_io.duration(path), 3) for path in train + test} == {10.0} and audio_io.sample_rate(train[0]) == 32_000
    assert len(truth_of(composed)) == 18 and set(table["licence"]) == {"CC0"}
    owl = table[table["audio_path"].str.contains("owl7")]
    assert all(round(audio_io.duration(root / path), 2) == 4.8 for path in owl["audio_path"])


def test_windows_with_a_species_have_the_energy_of_its_song(composed):
    """Each species has its own band. A song is at least 10 dB above the rain there; windows with a song of less than 0.25 s are left out."""
    truth, events = truth_of(composed), pd.read_csv(composed / "truth" / "events.csv")
    for species, hz in TONES_HZ.items():
        songs, levels = events[events["species"] == species], {True: [], False: []}
        for path in birdclef.soundscapes(composed, "train") + birdclef.soundscapes(composed, "test"):
            frames = audio_io.read(path)[0].reshape(-1, 3200)  # 0.1 s each
            band = np.square(np.abs(np.fft.rfft(frames * np.hanning(3200))))[:, (hz - 200) // 10 : (hz + 200) // 10].sum(axis=1)
            for start_s, end_s in birdclef.windows(10.0):
                own, row_id = songs[songs["soundscape"] == path.stem], birdclef.row_id(path, end_s)
                overlap_s = np.minimum(own["end_s"], end_s + 0.1) - np.maximum(own["start_s"], start_s - 0.1)
                is_present = species in truth[row_id].split(";")
                if is_present or not (overlap_s > 0).any():
                    levels[is_present].append(band[round(start_s * 10) : round(end_s * 10)].max() / np.quantile(band, 0.1))
        assert len(levels[True]) > 1 and len(levels[False]) > 1 and min(levels[True]) > 6 > 4 > max(levels[False])


def test_groups_never_cross(composed, recordings):
    events = pd.read_csv(composed / "truth" / "events.csv")
    group = pd.read_csv(recordings / "manifest.csv").set_index("recording_id")["group_id"]
    of_train, of_test = (set(group[events.loc[events["soundscape"].str.contains(f"_{role}_"), "recording_id"]]) for role in ("Train", "Test"))
    alone = set(pd.read_csv(composed / "train.csv")["group_id"])
    assert of_train and of_test and of_train.isdisjoint(of_test) and alone.isdisjoint(of_train | of_test)


def test_a_recording_that_was_uploaded_twice_is_on_one_side(recordings):
    table, root = manifest_of(recordings)
    table = table[table["recording_id"].isin(["wren1", "wren2", "wren3", "again"])]
    for seed in range(3):
        roles = compose._assign_roles(table, root, seed, 1)[0].set_index("recording_id")["role"]
        assert roles["again"] == roles["wren3"] and set(roles) == {"train_audio", "train", "test"}


def manifest_of(recordings):
    return manifest.load(recordings / "manifest.csv")


def test_the_labelled_share_is_read_by_stage_06(composed):
    labels = pd.read_csv(composed / "train_soundscapes_labels.csv", keep_default_na=False)
    assert labels["filename"].nunique() == 2 and list(labels.columns) == ["filename", "start", "end", "primary_label"]
    truth = truth_of(composed)
    read = soundscape_annotations.read_annotations(composed / "train_soundscapes_labels.csv", truth.index, sorted(TONES_HZ))
    is_labelled = ~np.isnan(read).any(axis=1)
    assert is_labelled.sum() == 4
    np.testing.assert_array_equal(read[is_labelled], soundscape_annotations.read_truth(composed / "truth" / "soundscape_labels.csv", truth.index[is_labelled], sorted(TONES_HZ)))


def test_the_same_seed_gives_the_same_bytes(composed, recordings, tmp_path):
    """On any number of processes; another seed does not."""
    table, root = manifest_of(recordings)
    options = composition_plan.Options(minutes=1.5, soundscape_s=10.0, test_share=0.4, labelled_share=0.5, suffix="flac", snr_db=(10.0, 20.0))
    compose.compose(compose.Inputs(table, root, [recordings / "rain.flac"]), tmp_path / "again", options, n_jobs=1)
    assert digest(tmp_path / "again") == digest(composed)
    names = [[item.name for item in composition_plan.plan(dataclasses.replace(options, seed=seed), made_sounds())] for seed in (0, 1, 0)]
    assert names[0] == names[2] != names[1]


def test_of_few_soundscapes_one_is_labelled_where_any_share_is_asked():
    options = composition_plan.Options(minutes=1.0, soundscape_s=10.0, test_share=0.5)
    for share, n in ((0.1, 1), (0.0, 0), (1.0, 3)):
        assert sum(item.is_labelled for item in composition_plan.plan(dataclasses.replace(options, labelled_share=share), made_sounds())) == n


def digest(folder):
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_was_left_out_and_made_is_listed(composed):
    skipped = pd.read_csv(composed / "skipped.csv")
    assert skipped["path"].tolist() == ["broken.wav"]
    readme = (composed / "README.md").read_text()
    assert "CC0: 25" in readme and "rain.flac" in readme and "soundscapes: train: 5, test: 4" in readme


def test_recordings_of_several_species_are_in_no_soundscape(recordings):
    """Their groups are for training; if a soundscape has another recording of the group, they are left out."""
    table, root = manifest_of(recordings)
    table = table.head(4).assign(secondary_species=["crow", "crow", "", ""])
    roles, skipped = compose._assign_roles(table.assign(group_id=["a", "a", "b", "c"]), root, 0, 1)
    assert set(roles.set_index("recording_id")["role"][["wren0", "wren1"]]) == {"train_audio"} and skipped == []
    roles, skipped = compose._assign_roles(table.assign(group_id=["a", "b", "b", "a"]), root, 0, 1)
    kept = roles.set_index("recording_id")["role"]
    assert ("wren0" in kept) == (kept["wren3"] == "train_audio") and ("wren1" in kept) == (kept["wren2"] == "train_audio")
    assert len(skipped) == 4 - len(kept) > 0 and {reason for _, reason in skipped} == {compose._SEVERAL}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--minutes", "0.2", "--soundscape-s", "10"], "are not two soundscapes"),
        (["--snr", "9", "3"], "give the lowest level first"),
        (["--noise", "nowhere.wav"], "--noise: there is no"),
        (["--noise", "broken.wav"], "none of the 1 noise files can be read"),
        (["--speech", "broken.wav"], "none of the 1 speech files can be read"),
        (["--noise", "."], "is one of the recordings"),
        (["--output", "."], "exists and is kept"),
        (["--output", "manifest.csv/out"], "cannot be written into"),
        (["--minutes", "inf"], "minutes is inf: choose"),
        (["--snr", "0", "inf"], "choose levels of"),
        (["--species", "inf"], "n_species is inf: choose"),
        (["--sites", "1000000000000"], "n_sites is 1e+12: choose"),
    ],
)
def test_bad_options_are_refused(options, message, recordings, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(recordings)
    assert main(["compose", "--manifest", "manifest.csv", "--output", str(tmp_path / "out"), *options]) == 1
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_more_minutes_than_the_drive_holds_are_refused(recordings, tmp_path, monkeypatch):
    """60 minutes of ogg are 3,600 s of 5 kB or more: 18 MB."""
    monkeypatch.setattr(compose.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=17e6))
    with pytest.raises(compose.ComposeError, match="60 minutes take 0.0 GB or more"):
        compose.compose(compose.Inputs(*manifest_of(recordings)), tmp_path / "out", composition_plan.Options(minutes=60), 1)


def test_too_few_groups_are_refused(recordings, tmp_path):
    table, root = manifest_of(recordings)
    with pytest.raises(compose.ComposeError, match="no recording is left for train soundscapes: give more recordings"):
        compose.compose(compose.Inputs(table.head(1), root), tmp_path / "out", composition_plan.Options(minutes=2), 1)


def made_sounds(n=20):
    active = activity.Activity([(0.0, 1.0)], np.ones(513, bool), 1.0)
    birds = [mixtures.Source("", f"r{n}", f"s{n}", 0.0, 2.0, active) for n in range(n)]
    return composition_plan.Sounds({"train": birds, "test": birds}, {}, {})


def test_priors_can_be_learnt():
    """A site has species of its own, and hours at which they sing; train and test agree."""
    plan = composition_plan.plan(composition_plan.Options(minutes=2000, test_share=0.5, n_sites=4), made_sounds())
    rows = [(item.role, item.name.split("_")[3], item.name[-10:-8], bout.source.species) for item in plan for bout in item.bouts]
    table = pd.DataFrame(rows, columns=["role", "site", "hour", "species"])
    for column in ("site", "hour"):
        shares = [pd.crosstab(rows[column], rows["species"], normalize="index").to_numpy().ravel() for _, rows in table.groupby("role")]
        assert np.corrcoef(*shares)[0, 1] > 0.8
    assert 0.05 < np.mean([not item.bouts for item in plan]) < 0.15


def test_birds_and_voices_of_train_and_test_have_different_parts_of_a_file(recordings):
    parts, skipped = compose._parts([recordings / "rain.flac", recordings / "broken.wav"], 0.25)
    assert [(part.start_s, part.end_s) for part in (parts["train"][0], parts["test"][0])] == [(0.0, 15.0), (15.0, 20.0)]
    assert [path.name for path, _ in skipped] == ["broken.wav"]
