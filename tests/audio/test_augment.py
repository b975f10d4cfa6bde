import numpy as np
import pytest
from sounds import RATE_HZ, hiss, song

from birdlib import runtime
from birdlib.audio import augment, distortions

ALWAYS = dict.fromkeys(augment.NAMES, 1.0)
NEVER = dict.fromkeys(augment.NAMES, 0.0)


class Tone:
    """Stands for ``ambience.Sounds``."""

    def __init__(self, hz):
        self.hz = hz

    def draw(self, n_samples, *, rng):
        return (0.1 * np.sin(2 * np.pi * self.hz * np.arange(n_samples) / RATE_HZ + rng.random())).astype(np.float32)


def power_at(waveform, hz):
    return np.abs(np.fft.rfft(waveform))[round(hz * len(waveform) / RATE_HZ)]


def rng(seed=0):
    return np.random.default_rng(seed)


def batch(n=8, seconds=1.0):
    """(songs, labels): four species, each sung twice."""
    songs = np.stack([song(seconds) + hiss(seconds, seed=i) for i in range(n)])
    return songs, np.eye(4, dtype=np.float32)[np.arange(n) % 4]


# The switch


def test_one_switch_says_what_is_done_in_the_order_in_which_it_is_done():
    assert augment.names("all") == augment.NAMES
    assert augment.names("none") == augment.names("") == ()
    assert augment.names("clipping, pitch") == augment.names(["clipping", "pitch"]) == ("pitch", "clipping")
    with pytest.raises(augment.AugmentError, match="augmentation echo is unknown: use all, none, or of stretch, pitch"):
        augment.names("pitch,echo")
    assert issubclass(augment.AugmentError, runtime.BirdlibError)


def test_every_augmentation_has_a_probability_and_every_distortion_a_range():
    assert set(augment.PROBABILITIES) == set(augment.NAMES) > set(augment.DISTORTIONS)


def test_nothing_is_done_where_nothing_is_switched_on_or_nothing_is_drawn():
    songs, labels = batch()
    for switch, probabilities in (("none", ALWAYS), ("all", NEVER)):
        options = {"probabilities": probabilities, "rng": rng()}
        heard, named = augment.waveforms(
            songs, labels, RATE_HZ, switch, background=Tone(500), voice=Tone(700), **options
        )
        assert np.array_equal(heard, songs) and np.array_equal(named, labels)
        images = songs.reshape(8, 320, 100)
        seen, named = augment.spectrograms(images, labels, switch, **options)
        assert np.array_equal(seen, images) and np.array_equal(named, labels)
    assert augment.model_layer("none") is None and augment.model_layer("pitch,mixup") is None
    assert augment.model_layer("spec_augment", seed=1).numbers["seed"] == 1


# Rarity


def test_the_probability_is_inversely_proportional_to_the_clips_of_a_species():
    """100, 50 and 10 clips, the last as 20 secondary labels that count half; a species without any is not rarer than the rarest."""
    truth = np.zeros((150, 4))
    truth[:100, 0], truth[100:, 1], truth[:20, 2] = 1, 1, 0.5
    rarities = augment.rarity(truth)
    assert rarities == pytest.approx([0.1, 0.2, 1.0, 1.0])
    assert [augment.probability((0.0, 0.2), rare) for rare in rarities] == pytest.approx([0.02, 0.04, 0.2, 0.2])
    assert [augment.probability((0.05, 0.2), rare) for rare in rarities] == pytest.approx([0.05, 0.05, 0.2, 0.2])
    assert [augment.probability(0.15, rare) for rare in rarities] == [0.15] * 4


def test_guesses_make_no_species_common():
    """40 windows of which a model says a little of all species: 2 clips of the rarest stay a tenth of 20, or a little more."""
    truth = np.concatenate([np.repeat(np.eye(3), (20, 2, 0), axis=0), np.full((40, 3), 0.01)])
    assert augment.rarity(truth) == pytest.approx([2.4 / 20.4, 1.0, 1.0])


def test_all_of_it_can_be_made_to_follow_rarity():
    """A species with ten times the clips of the rarest is treated a tenth as often; with a hundred times, still a twentieth."""
    made = augment.by_rarity(0.05)
    assert set(made) == set(augment.NAMES) and made["clipping"] == augment.PROBABILITIES["clipping"]
    rarely = [augment.probability(made["reverb"], rare) for rare in (1.0, 0.1, 0.01)]
    assert rarely == pytest.approx([0.15, 0.015, 0.0075])


def test_species_that_are_equally_common_are_equally_rare():
    assert augment.rarity(np.eye(3)).tolist() == [1, 1, 1] and augment.rarity(np.zeros((2, 3))).tolist() == [1, 1, 1]


def test_a_clip_is_as_rare_as_its_rarest_bird():
    rarities = np.array([0.1, 0.5, 1.0])
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0.5], [1, 0, 0.3], [0, 0, 0]])
    assert augment.row_rarity(labels, rarities).tolist() == [0.1, 0.5, 1.0, 0.1, 0.1]


def test_clips_of_rare_birds_are_distorted_more_often():
    """Volume with (0.1, 0.8), rarities 0.25 and 1: of 200 clips each a fifth and four fifths, give or take."""
    songs, labels = np.full((400, 10), 0.1, np.float32), np.repeat(np.eye(2, dtype=np.float32), 200, axis=0)
    options = {"probabilities": {"volume": (0.1, 0.8)}, "rng": rng()}
    heard, _ = augment.waveforms(songs, labels, RATE_HZ, "volume", np.array([0.25, 1.0]), **options)
    shares = (heard != songs).any(axis=1).reshape(2, 200).mean(axis=1)
    assert shares == pytest.approx([0.2, 0.8], abs=0.08)


# Waveforms


@pytest.mark.parametrize("name", [name for name in augment.DISTORTIONS if name not in ("background", "voice")])
def test_each_distortion_happens_as_often_as_it_is_told(name, monkeypatch):
    """Counted over 500 clips: within three standard errors."""
    calls = []
    for function in ("stretch", "pitch", "shift", "reverb", "volume", "compress", "clip"):
        monkeypatch.setattr(distortions, function, lambda song, *args, **options: calls.append((args, options)) or song)
    generator = rng(1)
    for _ in range(500):
        augment.waveform(song(0.01), RATE_HZ, name, rng=generator)
    share = augment.probability(augment.PROBABILITIES[name], 1.0)
    assert len(calls) / 500 == pytest.approx(share, abs=3 * np.sqrt(share * (1 - share) / 500))
    numbers = [(*args, *options.values()) for args, options in calls]
    low, high = augment.DISTORTIONS[name].range
    position = {"stretch": 0, "volume": 0, "clipping": 0, "shift": 0, "pitch": 1, "compression": 1, "reverb": 1}[name]
    drawn = np.array([each[position] for each in numbers]) / (RATE_HZ if name == "shift" else 1)
    assert low <= drawn.min() < drawn.mean() < drawn.max() <= high
    assert np.ptp(drawn) > 0.7 * (high - low)


@pytest.mark.parametrize("name", augment.DISTORTIONS)
def test_each_distortion_is_heard_by_itself_and_names_of_birds_do_not_change(name):
    songs, labels = batch(2)
    options = {"background": Tone(500), "voice": Tone(700), "probabilities": ALWAYS, "rng": rng()}
    heard, named = augment.waveforms(songs, labels, RATE_HZ, name, **options)
    assert heard.shape == songs.shape and heard.dtype == np.float32 and np.abs(heard).max() <= 1
    assert (heard != songs).any(axis=1).all() and np.array_equal(named, labels)


def test_the_background_is_heard_below_the_song_and_the_voice_too():
    heard = augment.waveform(
        song(1), RATE_HZ, "background,voice", background=Tone(500), voice=Tone(700), probabilities=ALWAYS, rng=rng()
    )
    for hz in (500, 700):
        assert power_at(heard, hz) > 100 * power_at(song(1), hz)
    least_snr_db = 3.0
    added = heard - song(1)
    assert 20 * np.log10(distortions.rms(song(1)) / distortions.rms(added)) > least_snr_db - 3.1  # of two sounds


def test_without_sounds_all_goes_on_without_them_but_what_is_asked_for_by_name_is_missed():
    heard = augment.waveform(
        song(0.2), RATE_HZ, "all", probabilities=NEVER | {"background": 1.0, "voice": 1.0}, rng=rng()
    )
    assert np.array_equal(heard, song(0.2))
    with pytest.raises(augment.AugmentError, match="background needs sounds"):
        augment.waveform(song(0.2), RATE_HZ, "background,pitch", rng=rng())


def test_all_at_once_still_gives_sound_and_the_same_seed_the_same():
    songs, labels = batch()
    options = {"background": Tone(500), "voice": Tone(700), "probabilities": ALWAYS}
    results = [augment.waveforms(songs, labels, RATE_HZ, rng=rng(seed), **options) for seed in (0, 0, 1)]
    for heard, named in results:
        assert heard.shape == songs.shape and np.isfinite(heard).all() and np.abs(heard).max() <= 1
        assert (named.sum(axis=1) == 2).all()  # mixed with another species
    assert np.array_equal(results[0][0], results[1][0]) and not np.array_equal(results[0][0], results[2][0])


# Batches


def test_audio_mix_is_done_to_as_many_rows_as_it_is_told():
    songs, labels = np.full((400, 20), 0.5, np.float32), np.tile(np.eye(2, dtype=np.float32), (200, 1))
    heard, named = augment.waveforms(songs, labels, 4, "audio_mix", probabilities={"audio_mix": 0.25}, rng=rng())
    mixed = (heard != songs).any(axis=1)
    assert mixed.mean() == pytest.approx(0.25, abs=0.07)
    assert np.array_equal(named.sum(axis=1) == 2, mixed)


def test_a_spectrogram_is_mixed_in_one_way_or_the_other_but_never_both():
    """Rows are flat images of 1 to 400: cutmix leaves up to three values in a row, mixup one."""
    n = 400
    images = np.broadcast_to(np.arange(1.0, n + 1)[:, None, None], (n, 64, 2)).astype(np.float32)
    labels = np.eye(n, dtype=np.float32)
    seen, named = augment.spectrograms(images, labels, probabilities={"mixup": 0.5, "cutmix": 0.5}, rng=rng())
    flat = np.ptp(seen, axis=(1, 2)) == 0
    changed = (seen != images).any(axis=(1, 2))
    assert (flat & changed).mean() == pytest.approx(0.5, abs=0.08)
    assert (~flat).mean() == pytest.approx(0.25, abs=0.08)
    assert (seen[~flat, :25] == images[~flat, :25]).all()  # 204 of 512 frames are 25.5 of 64
    assert (named[~flat].sum(axis=1) == 2).all() and np.allclose(named[flat].sum(axis=1), 1)
    only = augment.spectrograms(images, labels, "cutmix", probabilities={"cutmix": 1.0}, rng=rng())[0]
    assert (only[:, :26] == images[:, :26]).all() and (only[:, 26:38] != images[:, 26:38]).all()
    assert (only[:, 38:] == only[:, -1:]).all()  # two and three fifths: 25.5 and 38.4 frames
