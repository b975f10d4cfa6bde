"""What networks on waveforms are trained on: augmentation that is applied, reported or left out, on the tones of ``tone_recordings``."""

import dataclasses
import warnings

import numpy as np
import pytest
import tone_recordings
from tone_recordings import RATE_HZ, VOICE_HZ, WIND_HZ

from birdlib.audio import distortions
from birdlib.species import dataset, mel_models, train_waveforms, waveform_batches

PLAIN = {"encoder": "mel_cnn", "loss": "cross_entropy", "soundscapes": False, "mixup": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return dataset.load(tone_recordings.make(tmp_path_factory.mktemp("outputs")), "single")


def choose(data, text, *, mixup=False, keeps_level=True):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return waveform_batches.choose_augmentation(PLAIN | {"mixup": mixup}, data, text, RATE_HZ, keeps_level)


def batches(data, augmentation, **options):
    """Of sounds as they are: the front end does nothing."""
    window, rng = {"rate_hz": RATE_HZ, "window_s": 1.0}, np.random.default_rng(0)
    options = train_waveforms.Options(**options)
    parts = waveform_batches.training_parts(PLAIN, data, options)
    return waveform_batches.training_batches(parts, data, window, lambda sounds, training: sounds, augmentation, rng, options)


def test_background_is_unlabelled_and_voices_are_of_training_recordings(data):
    """The first of the 4 s of the one training soundscape that has not the name of a test soundscape has a label; r8 and r16, of validation and test, have speech too."""
    assert waveform_batches.background_tables(data, "shift,volume,spec_augment") == {}
    found = waveform_batches.background_tables(data, "all")
    segments = {name: [(path.split("/")[-1], start_s, end_s) for path, start_s, end_s in table.to_numpy()] for name, table in found.items()}
    assert segments == {"background": [("scape.flac", 1.0, 4.0)], "voice": [("r0.flac", 0.1, 0.9)]}


def background_shares(data, text):
    """The share of power at (VOICE_HZ, WIND_HZ) in 5 s of a bird at 4 kHz, after the augmentation of a training's batches."""
    bird = 0.3 * np.sin(2 * np.pi * 4000 * np.arange(5 * RATE_HZ) / RATE_HZ)
    augment_batch = batches(data, choose(data, text)).augment_batch
    songs, _ = augment_batch(np.float32(bird[None]), np.float32([[0, 1]]), rng=np.random.default_rng(0))
    power = np.abs(np.fft.rfft(songs[0])) ** 2
    return [power[5 * hz - 5 : 5 * hz + 6].sum() / power.sum() for hz in (VOICE_HZ, WIND_HZ)]


def test_background_and_voice_are_mixed_in_where_sounds_exist(data):
    """At most 30 dB below the bird."""
    assert min(background_shares(data, "voice=1,background=1")) > 3e-4
    mute = dataclasses.replace(data, splits=data.splits.assign(split=data.splits["split"].mask(data.splits["recording_id"] == "r0", "test")))
    voice, wind = background_shares(mute, "voice=1,background=1")
    assert voice < 1e-6 and wind > 3e-4
    with pytest.warns(UserWarning, match="voice is left out: 02_clean found no speech"):
        chosen = waveform_batches.choose_augmentation(PLAIN, mute, "voice=1,background=1", RATE_HZ, True)
    assert set(chosen.left_out) == {"voice"} and chosen.probabilities == {"background": 1.0}


def test_probabilities_of_the_text_reach_the_clips(data, monkeypatch):
    """Of 40 clips, shift always and reverb never."""
    shifted = []
    monkeypatch.setattr(distortions, "shift", lambda song, n: shifted.append(n) or song)
    monkeypatch.setattr(distortions, "reverb", lambda *_, **__: 1 / 0)
    augment_batch = batches(data, choose(data, "shift=1,reverb=0")).augment_batch
    augment_batch(np.ones((40, 100), np.float32), np.eye(2)[np.arange(40) % 2], rng=np.random.default_rng(0))
    assert len(shifted) == 40


@pytest.mark.parametrize("is_mixed", [False, True])
def test_clips_are_mixed_in_trainings_with_mixup_only_and_reported_as_mixed(data, is_mixed):
    chosen = choose(data, "mixup=1,audio_mix=1,shift=0", mixup=is_mixed)
    assert chosen.probabilities == {"shift": 0.0} | ({"audio_mix": 1.0, "mixup": 1.0} if is_mixed else {})
    assert set(chosen.left_out) == (set() if is_mixed else {"audio_mix", "mixup"})
    images, labels = np.random.default_rng(0).random((64, 50, 8), np.float32), np.eye(2, dtype=np.float32)[np.arange(64) % 2]
    mixed, _ = batches(data, chosen).augment_spectrograms(images, labels, rng=np.random.default_rng(0))
    _, of_two = batches(data, chosen).augment_batch(images[:, :, 0], labels, rng=np.random.default_rng(0))
    assert (mixed != images).any(axis=(1, 2)).all() == (mixed != images).any() == is_mixed
    assert (of_two.sum(axis=1) == 2).all() == is_mixed


def test_mixup_without_a_named_mixer_is_mixup_and_cutmix(data):
    assert choose(data, "none", mixup=True).probabilities == {"mixup": 0.3, "cutmix": 0.2}
    assert choose(data, "cutmix=1,shift", mixup=True).probabilities == {"shift": 0.1, "cutmix": 1.0}
    by_rarity = choose(data, "spec_augment,by_rarity", mixup=True)
    assert by_rarity.probabilities == {"mixup": (pytest.approx(0.03), 0.3), "cutmix": (pytest.approx(0.02), 0.2), "spec_augment": 1.0}


def test_a_gain_changes_nothing_in_the_spectrogram_of_a_mel_model_but_in_that_of_sounds_that_are_mixed(data):
    front_end = mel_models.front_end(mel_models.build(2, window_s=1.0)[0])
    noise = np.float32(0.1 * np.random.default_rng(0).normal(size=(1, RATE_HZ)))
    assert np.allclose(*(front_end.predict(gain * noise, verbose=0) for gain in (1.0, 0.5)), atol=1e-3)
    assert choose(data, "volume", keeps_level=True).probabilities == {"volume": 0.2}
    without = choose(data, "volume", keeps_level=False)
    assert without.probabilities == {} and "a gain changes nothing" in without.left_out["volume"]
    assert choose(data, "volume,audio_mix", mixup=True, keeps_level=False).probabilities == {"volume": 0.2, "audio_mix": 0.3}
    assert "volume" in choose(data, "volume,audio_mix", keeps_level=False).left_out
