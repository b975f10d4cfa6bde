import numpy as np
import pytest
from sounds import RATE_HZ, hiss, song

from birdlib import runtime
from birdlib.audio import augment, distortions

ALWAYS = dict.fromkeys(augment.NAMES, 1.0)
NEVER = dict.fromkeys(augment.NAMES, 0.0)


class Tone:
    """Replaces ``backgrounds.Sounds``."""

    def __init__(self, hz):
        self.hz = hz

    def draw(self, n_samples, *, rng):
        return (0.1 * np.sin(2 * np.pi * self.hz * np.arange(n_samples) / RATE_HZ + rng.random())).astype(np.float32)


def power_at(waveform, hz):
    return np.abs(np.fft.rfft(waveform))[round(hz * len(waveform) / RATE_HZ)]


def rng(seed=0):
    return np.random.default_rng(seed)


def batch(n=8, seconds=1.0):
    """(songs, labels): four species, two clips each."""
    songs = np.stack([song(seconds) + hiss(seconds, seed=i) for i in range(n)])
    return songs, np.eye(4, dtype=np.float32)[np.arange(n) % 4]


# The text


def test_a_text_gives_the_augmentations_in_order_of_application():
    assert augment.parse("all") == augment.PROBABILITIES
    assert augment.parse("none") == augment.parse("") == {}
    assert list(augment.parse("clipping, pitch").items()) == [("pitch", (0.05, 0.2)), ("clipping", (0.05, 0.2))]
    with pytest.raises(augment.AugmentError, match="augmentation echo is unknown: use all, none, or of stretch, pitch"):
        augment.parse("pitch,echo=0.3")
    assert issubclass(augment.AugmentError, runtime.BirdlibError)


def test_a_text_gives_probabilities():
    assert augment.parse("volume = 0.4, pitch=0.1-0.3,reverb") == {"pitch": (0.1, 0.3), "reverb": 0.15, "volume": 0.4}
    assert augment.parse("all,cutmix=1") == augment.PROBABILITIES | {"cutmix": 1.0}
    rare = augment.parse("volume=0.4,pitch,spec_augment=0.5,by_rarity")
    assert rare == {"pitch": (0.05, 0.2), "volume": (pytest.approx(0.04), 0.4), "spec_augment": 0.5}


@pytest.mark.parametrize("item", ["reverb=often", "reverb=", "reverb=1.5", "reverb=-0.1", "pitch=0.3-0.1", "pitch=0.1-0.2-0.3", "all=0.5", "by_rarity=1"])
def test_what_is_no_probability_is_refused(item):
    with pytest.raises(augment.AugmentError, match="is no augmentation: write NAME=P or NAME=MIN-MAX, numbers from 0 to 1"):
        augment.parse(f"shift,{item}")


def test_spec_augment_has_one_probability():
    with pytest.raises(augment.AugmentError, match="spec_augment has one probability for all species"):
        augment.parse("spec_augment=0.1-0.5")


def test_masks_are_shares_or_frames_and_bands():
    assert augment.parse_masks("2x10%, 3x12.5%") == {"n_time_masks": 2, "longest_share": 0.1, "n_band_masks": 3, "widest_share": 0.125}
    assert augment.parse_masks("1x20,1x16") == {"n_time_masks": 1, "longest_frames": 20, "n_band_masks": 1, "widest_bands": 16}
    for text in ("", "20,20", "1x20", "1x20,1x20,1x20", "ax20,1x20"):
        with pytest.raises(augment.AugmentError, match="number x longest, of time and of bands, as in '2x10%,2x15%' or '1x20,1x20'"):
            augment.parse_masks(text)
    with pytest.raises(augment.AugmentError, match="at most 100%"):
        augment.parse_masks("1x20,1x110%")


def test_every_distortion_is_an_augmentation_with_a_probability():
    assert set(augment.PROBABILITIES) == set(augment.NAMES) > set(augment.DISTORTIONS)
    assert set(augment.MIXERS) == set(augment.NAMES) - set(augment.DISTORTIONS) - {"filter_augment", "spec_augment"}


def test_clips_are_unchanged_if_nothing_is_switched_on_or_drawn():
    songs, labels = batch()
    for probabilities in ({}, NEVER):
        sounds = {"background": Tone(500), "voice": Tone(700)}
        distorted, new_labels = augment.waveforms(songs, labels, RATE_HZ, probabilities, **sounds, rng=rng())
        assert np.array_equal(distorted, songs) and np.array_equal(new_labels, labels)
        images = songs.reshape(8, 320, 100)
        mixed, new_labels = augment.spectrograms(images, labels, probabilities, rng=rng())
        assert np.array_equal(mixed, images) and np.array_equal(new_labels, labels)


def test_the_masking_layer_has_the_probability_and_the_masks_of_the_text():
    assert augment.masking({}, "2x10%,2x15%", 1) is None and augment.masking({"mixup": 1.0}, "2x10%,2x15%", 1) is None
    numbers = augment.masking({"spec_augment": 0.5}, "1x20,1x16", seed=3).numbers
    assert [numbers[name] for name in ("n_time_masks", "longest_frames", "n_band_masks", "widest_bands")] == [1, 20, 1, 16]
    assert numbers["probability"] == 0.5 and numbers["seed"] == 3


# Rarity


def test_probability_is_inversely_proportional_to_the_clips_of_a_species():
    """100, 50 and 10 clips, the last as 20 secondary labels that count half; a species without any is not rarer than the rarest."""
    truth = np.zeros((150, 4))
    truth[:100, 0], truth[100:, 1], truth[:20, 2] = 1, 1, 0.5
    rarities = augment.rarity(truth)
    assert rarities == pytest.approx([0.1, 0.2, 1.0, 1.0])
    assert [augment.probability((0.0, 0.2), rare) for rare in rarities] == pytest.approx([0.02, 0.04, 0.2, 0.2])
    assert [augment.probability((0.05, 0.2), rare) for rare in rarities] == pytest.approx([0.05, 0.05, 0.2, 0.2])
    assert [augment.probability(0.15, rare) for rare in rarities] == [0.15] * 4


def test_low_soft_labels_hardly_change_rarity():
    """40 windows of which a model says a little of all species: 2 clips of the rarest stay a tenth of 20, or a little more."""
    truth = np.concatenate([np.repeat(np.eye(3), (20, 2, 0), axis=0), np.full((40, 3), 0.01)])
    assert augment.rarity(truth) == pytest.approx([2.4 / 20.4, 1.0, 1.0])


def test_by_rarity_makes_every_probability_depend_on_rarity():
    """A species with ten times the clips of the rarest is treated a tenth as often; with a hundred times, still a twentieth."""
    made = augment.by_rarity(0.05)
    assert set(made) == set(augment.NAMES) and made["clipping"] == augment.PROBABILITIES["clipping"]
    rarely = [augment.probability(made["reverb"], rare) for rare in (1.0, 0.1, 0.01)]
    assert rarely == pytest.approx([0.15, 0.015, 0.0075])


def test_equally_common_species_are_equally_rare():
    assert augment.rarity(np.eye(3)).tolist() == [1, 1, 1] and augment.rarity(np.zeros((2, 3))).tolist() == [1, 1, 1]


def test_a_clip_is_as_rare_as_its_rarest_species():
    rarities = np.array([0.1, 0.5, 1.0])
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0.5], [1, 0, 0.3], [0, 0, 0]])
    assert augment.row_rarity(labels, rarities).tolist() == [0.1, 0.5, 1.0, 0.1, 0.1]


def test_clips_of_rare_species_are_distorted_more_often():
    """Volume with (0.1, 0.8), rarities 0.25 and 1: of 200 clips each a fifth and four fifths, give or take."""
    songs, labels = np.full((400, 10), 0.1, np.float32), np.repeat(np.eye(2, dtype=np.float32), 200, axis=0)
    distorted, _ = augment.waveforms(songs, labels, RATE_HZ, {"volume": (0.1, 0.8)}, np.array([0.25, 1.0]), rng=rng())
    shares = (distorted != songs).any(axis=1).reshape(2, 200).mean(axis=1)
    assert shares == pytest.approx([0.2, 0.8], abs=0.08)


# Waveforms


@pytest.mark.parametrize("name", [name for name in augment.DISTORTIONS if name not in ("background", "voice")])
def test_each_distortion_has_its_probability_and_range(name, monkeypatch):
    """Counted over 500 clips: within three standard errors."""
    calls = []
    for function in ("stretch", "pitch", "shift", "reverb", "volume", "compress", "clip"):
        monkeypatch.setattr(distortions, function, lambda song, *args, **options: calls.append((args, options)) or song)
    generator = rng(1)
    for _ in range(500):
        augment.waveform(song(0.01), RATE_HZ, augment.parse(name), rng=generator)
    share = augment.probability(augment.PROBABILITIES[name], 1.0)
    assert len(calls) / 500 == pytest.approx(share, abs=3 * np.sqrt(share * (1 - share) / 500))
    numbers = [(*args, *options.values()) for args, options in calls]
    low, high = augment.DISTORTIONS[name].range
    position = {"stretch": 0, "volume": 0, "clipping": 0, "shift": 0, "pitch": 1, "compression": 1, "reverb": 1}[name]
    drawn = np.array([row[position] for row in numbers]) / (RATE_HZ if name == "shift" else 1)
    assert low <= drawn.min() < drawn.mean() < drawn.max() <= high
    assert np.ptp(drawn) > 0.7 * (high - low)


@pytest.mark.parametrize("name", augment.DISTORTIONS)
def test_each_distortion_alone_changes_the_sound_and_keeps_the_labels(name):
    songs, labels = batch(2)
    options = {"background": Tone(500), "voice": Tone(700), "rng": rng()}
    distorted, new_labels = augment.waveforms(songs, labels, RATE_HZ, {name: 1.0}, **options)
    assert distorted.shape == songs.shape and distorted.dtype == np.float32 and np.abs(distorted).max() <= 1
    assert (distorted != songs).any(axis=1).all() and np.array_equal(new_labels, labels)


def test_background_and_voice_are_added_below_the_song():
    probabilities = {"background": 1.0, "voice": 1.0}
    distorted = augment.waveform(song(1), RATE_HZ, probabilities, background=Tone(500), voice=Tone(700), rng=rng())
    for hz in (500, 700):
        assert power_at(distorted, hz) > 100 * power_at(song(1), hz)
    min_snr_db = 3.0
    added = distorted - song(1)
    assert 20 * np.log10(distortions.rms(song(1)) / distortions.rms(added)) > min_snr_db - 3.1  # of two sounds


def test_missing_sounds_are_an_error():
    with pytest.raises(augment.AugmentError, match="background needs sounds"):
        augment.waveform(song(0.2), RATE_HZ, {"background": 0.5, "pitch": 0.5}, voice=Tone(700), rng=rng())


def test_all_augmentations_together_give_valid_sound_and_are_reproducible():
    songs, labels = batch()
    options = {"background": Tone(500), "voice": Tone(700)}
    results = [augment.waveforms(songs, labels, RATE_HZ, ALWAYS, rng=rng(seed), **options) for seed in (0, 0, 1)]
    for distorted, new_labels in results:
        assert distorted.shape == songs.shape and np.isfinite(distorted).all() and np.abs(distorted).max() <= 1
        assert (new_labels.sum(axis=1) == 2).all()  # mixed with another species
    assert np.array_equal(results[0][0], results[1][0]) and not np.array_equal(results[0][0], results[2][0])


# Batches


def test_audio_mix_has_its_probability():
    songs, labels = np.full((400, 20), 0.5, np.float32), np.tile(np.eye(2, dtype=np.float32), (200, 1))
    distorted, new_labels = augment.waveforms(songs, labels, 4, {"audio_mix": 0.25}, rng=rng())
    mixed = (distorted != songs).any(axis=1)
    assert mixed.mean() == pytest.approx(0.25, abs=0.07)
    assert np.array_equal(new_labels.sum(axis=1) == 2, mixed)


def test_a_spectrogram_is_mixed_by_mixup_or_cutmix_but_not_both():
    """Rows are flat images of 1 to 400: cutmix leaves up to three values in a row, mixup one."""
    n = 400
    images = np.broadcast_to(np.arange(1.0, n + 1)[:, None, None], (n, 64, 2)).astype(np.float32)
    labels = np.eye(n, dtype=np.float32)
    mixed, new_labels = augment.spectrograms(images, labels, {"mixup": 0.5, "cutmix": 0.5}, rng=rng())
    flat = np.ptp(mixed, axis=(1, 2)) == 0
    changed = (mixed != images).any(axis=(1, 2))
    assert (flat & changed).mean() == pytest.approx(0.5, abs=0.08)
    assert (~flat).mean() == pytest.approx(0.25, abs=0.08)
    assert (mixed[~flat, :25] == images[~flat, :25]).all()  # 204 of 512 frames are 25.5 of 64
    assert (new_labels[~flat].sum(axis=1) == 2).all() and np.allclose(new_labels[flat].sum(axis=1), 1)
    only = augment.spectrograms(images, labels, {"cutmix": 1.0}, rng=rng())[0]
    assert (only[:, :26] == images[:, :26]).all() and (only[:, 26:38] != images[:, 26:38]).all()
    assert (only[:, 38:] == only[:, -1:]).all()  # two and three fifths: 25.5 and 38.4 frames


def test_wave_mixup_has_its_probability_and_excludes_audio_mix():
    """A mixture of constant sounds of 0 and 1 is constant, with the larger weight on its row and both species; audio_mix would cut it."""
    songs = np.tile(np.float32([[0.0], [1.0]]), (200, 20))
    labels = np.tile(np.eye(2, dtype=np.float32), (200, 1))
    mixed, union, own = augment.waveforms(songs, labels, 4, {"wave_mixup": 0.5, "audio_mix": 1.0}, along=[labels], rng=rng())
    is_flat = np.ptp(mixed, axis=1) == 0
    assert is_flat.mean() == pytest.approx(0.5, abs=0.08) and (union == 1).all()
    weights = own[labels > 0]
    assert np.allclose(np.abs(mixed[is_flat, 0] - songs[is_flat, 0]), 1 - weights[is_flat], atol=1e-5)
    assert weights[is_flat].min() >= 0.5 and set(np.round(10 * weights[~is_flat])) == {3, 7}


def test_filter_augment_has_its_probability_and_follows_the_mixing():
    images = np.full((400, 20, 128), 0.5, np.float32)
    labels = np.tile(np.eye(2, dtype=np.float32), (200, 1))
    filtered, same_labels = augment.spectrograms(images, labels, {"filter_augment": 0.25}, rng=rng())
    changed = (filtered != images).any(axis=(1, 2))
    assert changed.mean() == pytest.approx(0.25, abs=0.07) and np.array_equal(same_labels, labels)
    assert np.abs(filtered - images).max() <= 12 / 80  # two gains of up to 6 dB, of 80
