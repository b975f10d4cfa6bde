"""The synthetic sample: the competition's layout, deterministic by seed, consistent with its truth."""

import ast
import filecmp

import numpy as np
import pandas as pd
import pytest

from birdlib import runtime
from birdlib.data.synthetic import acoustics, drawing, films, generator, sample, songs, world

SMALL = {"n_recordings": 2, "n_outings": 12, "n_photos": 2, "n_films": 1, "n_train_soundscapes": 1,
         "n_test_soundscapes": 2, "soundscape_s": 15}  # fmt: skip


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    return sample.generate(tmp_path_factory.mktemp("aviary") / "sample", **SMALL)


def table(folder, name):
    return pd.read_csv(folder / name, dtype=str, keep_default_na=False)


def files(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_the_same_seed_gives_the_same_bytes(small, tmp_path):
    """Ogg serial numbers and x264 included."""
    again = sample.generate(tmp_path / "again", **SMALL)
    assert files(small) == files(again)
    _, differing, missing = filecmp.cmpfiles(small, again, files(small), shallow=False)
    assert not differing and not missing


def test_another_seed_gives_other_songs():
    voices = [world.individual("grywag1", 0, seed=seed).voice for seed in (0, 1)]
    assert voices[0] != voices[1]


def test_a_complete_sample_is_reused_and_other_folders_are_refused(small, tmp_path):
    before = (small / "train.csv").stat().st_mtime_ns
    assert sample.ensure(small, **SMALL) == small
    assert (small / "train.csv").stat().st_mtime_ns == before
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(runtime.BirdlibError, match="not a sample"):
        sample.generate(tmp_path)
    with pytest.raises(TypeError, match="n_birds"):
        sample.generate(tmp_path / "new", n_birds=3)


def test_tables_have_the_columns_of_the_competition(small):
    train, taxonomy = table(small, "train.csv"), table(small, "taxonomy.csv")
    assert ",".join(train.columns) == (
        "primary_label,secondary_labels,type,filename,collection,rating,url,latitude,longitude,"
        "scientific_name,common_name,author,license"
    )
    assert ",".join(taxonomy.columns) == "primary_label,inat_taxon_id,scientific_name,common_name,class_name"
    assert taxonomy.primary_label.tolist() == sorted(taxonomy.primary_label)
    assert set(train.primary_label) == set(taxonomy.primary_label)
    for row in train.itertuples():
        assert (small / "train_audio" / row.filename).is_file()
        assert row.filename.startswith(f"{row.primary_label}/{row.collection}")
        secondary = ast.literal_eval(row.secondary_labels)
        assert secondary == [""] or set(secondary) <= set(taxonomy.primary_label) - {row.primary_label}


def test_four_species_are_rare_and_their_recordings_independent(small):
    train = table(small, "train.csv")
    counts = train.primary_label.value_counts()
    assert [counts[label] for label in ("blkwhi1", "goltri1", "tawcuc1", "9304482")] == [1, 2, 3, 4]
    for label in ("goltri1", "tawcuc1", "9304482"):
        own = train[train.primary_label == label]
        assert len(own.groupby(["author", "latitude"])) == len(own)


def test_the_submission_lists_every_window_of_the_test_soundscapes(small):
    import soundfile

    submission, truth = table(small, "sample_submission.csv"), table(small, "truth/soundscape_labels.csv")
    windows = {}
    for which in ("test", "train"):
        paths = sorted((small / f"{which}_soundscapes").glob("*.ogg"))
        assert {(soundfile.info(path).samplerate, soundfile.info(path).duration) for path in paths} == {(32_000, 15.0)}
        windows[which] = [f"{path.stem}_{end_s}" for path in paths for end_s in range(5, 16, 5)]
    assert sorted(submission.row_id) == sorted(windows["test"])
    assert sorted(truth.row_id) == sorted(windows["test"] + windows["train"])
    assert submission.columns[1:].tolist() == list(world.LABELS) == sorted(world.LABELS)
    assert np.allclose(submission.iloc[:, 1:].astype(float), 1 / 12)
    heard = {label for birds in truth.birds for label in birds.split(";")}
    assert "" in heard and heard - {""} <= set(world.LABELS)


def test_announcements_are_detected_as_speech(small):
    """Silero's own threshold is 0.5; pauses fall below it, and so may words that a bird sings over."""
    import soundfile
    import soxr
    import torch
    from silero_vad import load_silero_vad

    spoken = table(small, "truth/speech.csv")
    assert len(spoken) >= 3
    model, shares = load_silero_vad(), []
    for row in spoken.itertuples():
        waveform, rate_hz = soundfile.read(small / row.file, dtype="float32")
        waveform = soxr.resample(waveform, rate_hz, 16_000)
        speech = waveform[round(16_000 * float(row.start_s)) : round(16_000 * float(row.end_s))]
        model.reset_states()
        with torch.no_grad():
            chunks = torch.from_numpy(speech[: len(speech) // 512 * 512]).reshape(-1, 512)
            probabilities = [float(model(chunk, 16_000)) for chunk in chunks]
        shares.append(np.mean(np.array(probabilities) > 0.5))
    assert min(shares) > 0.25 and np.mean(shares) > 0.7


def test_speech_synthesis_is_deterministic():
    says = [acoustics.speak("Grey Wagfinch.", voice="Storm", pitch=50, words_per_minute=150) for _ in range(2)]
    assert np.array_equal(*says)


def test_pitch_identifies_an_individual():
    """Two birds of one species, ten songs each: their mean pitches differ by more than their songs do."""

    def pitches(voice):
        found = []
        for k in range(10):
            rng = np.random.default_rng(k)
            song, _ = songs.compose("ruflut1", voice, sample_rate_hz=32_000, rng=rng)
            spectrum = np.abs(np.fft.rfft(song))
            hz = np.fft.rfftfreq(len(song), 1 / 32_000)
            found.append(np.sum(hz * spectrum**2) / np.sum(spectrum**2))
        return np.array(found)

    low, high = (songs.voice("ruflut1", np.random.default_rng(2)) for _ in range(2))
    assert low == high
    low, high = (
        songs.Voice(pitch, low.tempo, low.brightness, low.signature, low.signature_after) for pitch in (0.92, 1.08)
    )
    assert pitches(low).max() < pitches(high).min()


@pytest.mark.parametrize("label", world.LABELS)
def test_songs_are_silent_outside_their_notes(label):
    rng = np.random.default_rng(0)
    waveform, notes = songs.sing(label, songs.voice(label, rng), duration_s=6, sample_rate_hz=32_000, rng=rng)
    sounding = np.zeros(len(waveform), bool)
    for start_s, end_s in notes:
        sounding[round(start_s * 32_000) : round(end_s * 32_000) + 2] = True
    assert waveform.dtype == np.float32 and 0.1 < np.abs(waveform).max() <= 1
    assert 0.1 < sounding.mean() < 0.9
    assert not waveform[~sounding].any()


def test_boxes_lie_inside_the_frame_and_on_frames_that_exist(small):
    import cv2

    tracks = pd.read_csv(small / "truth/video_tracks.csv", dtype={"label": str})
    width, height = generator.FILM_SIZE
    assert (tracks[["x", "y"]] >= 0).all(axis=None) and (tracks[["width", "height"]] > 0).all(axis=None)
    assert (tracks.x + tracks.width <= width).all() and (tracks.y + tracks.height <= height).all()
    assert 0.1 < tracks.sings.mean() < 0.9
    for name, rows in tracks.groupby("video"):
        film = cv2.VideoCapture(str(small / name))
        n_frames = 0
        while film.read()[0]:
            n_frames += 1
        assert 8 * generator.FPS <= n_frames <= 12 * generator.FPS
        assert rows.frame.max() < n_frames
        assert not rows.duplicated(["frame", "individual_id"]).any()


def test_a_bird_sings_only_while_it_is_visible():
    rng = np.random.default_rng(4)
    bird = world.individual("cobflu1", 2, seed=0)
    cast = [films.Bird(bird.label, bird.individual_id, bird.voice, bird.marks, visits=2)]
    frames, soundtrack = films.film(cast, duration_s=8, fps=15, width=320, height=240, rng=rng)
    seen = [bool(rows) for _, rows in frames]
    loudness = np.array([np.abs(part).max() for part in np.array_split(soundtrack, len(seen))])
    assert not all(seen)
    assert loudness[np.array(seen)].max() > 4 * loudness[~np.array(seen)].max()


def test_files_of_known_individuals_are_listed(small):
    individuals = table(small, "truth/individuals.csv")
    media = {str(path) for path in files(small) if path.suffix in (".jpg", ".mp4") or path.parts[0] == "train_audio"}
    assert set(individuals.file) == media
    in_films = individuals[individuals.kind == "video"]
    assert (in_films.enter_s.astype(float) < in_films.exit_s.astype(float)).all()


def test_an_animal_outside_the_image_is_not_drawn():
    image = np.full((60, 80, 3), 128, np.uint8)
    looks, marks = drawing.PLUMAGES["cobflu1"], drawing.marks(np.random.default_rng(0))
    assert drawing.draw(image, looks, marks, drawing.Pose(500, 30, 30)) is None
    assert (image == 128).all()
    x, y, width, height = drawing.draw(image, looks, marks, drawing.Pose(78, 30, 30))
    assert x + width == 80 and (image != 128).any()


@pytest.mark.slow
def test_the_default_sample_is_small_and_generated_within_a_minute(tmp_path):
    import time

    start = time.process_time()
    folder = sample.generate(tmp_path / "sample")
    assert time.process_time() - start < 90  # of all cores together; about 30 s where it was written
    assert sum((folder / path).stat().st_size for path in files(folder)) < 15e6
    train = table(folder, "train.csv")
    assert "None" in set(train.latitude)
    assert train.primary_label.value_counts()[list(world.COMMON_LABELS)].between(12, 14).all()
    individuals = table(folder, "truth/individuals.csv")
    by_kind = {kind: set(rows.individual_id) for kind, rows in individuals.groupby("kind")}
    assert by_kind["video"] <= by_kind["audio"] and by_kind["image"] <= by_kind["audio"]
    assert individuals[individuals.kind == "video"].individual_id.duplicated().sum() >= 4  # the same birds come again
    truth = table(folder, "truth/soundscape_labels.csv")
    tested = truth[truth.row_id.isin(table(folder, "sample_submission.csv").row_id)]
    assert {label for birds in tested.birds for label in birds.split(";")} == {"", *world.LABELS}
