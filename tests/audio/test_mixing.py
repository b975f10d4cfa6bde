import numpy as np
import pytest

from birdlib.audio import mixing

RATE_HZ = 1000
MIXERS = {
    "mixup": lambda x, y, chosen=None, seed=0, **o: mixing.mixup(x, y, chosen, rng=np.random.default_rng(seed), **o),
    "audio_mix": lambda x, y, chosen=None, seed=0, **o: mixing.audio_mix(
        x, y, RATE_HZ, chosen, overlap_s=0.02, rng=np.random.default_rng(seed), **o
    ),
    "cutmix": lambda x, y, chosen=None, seed=0, **o: mixing.cutmix(
        x, y, chosen, edges=(20, 31), rng=np.random.default_rng(seed), **o
    ),
}


def clips(mixer, n=8, n_species=4, seed=0):
    """(clips, labels): noise, of one species each."""
    rng = np.random.default_rng(seed)
    shape = (n, 50) if mixer == "audio_mix" else (n, 50, 3)
    return rng.uniform(-1, 1, shape).astype(np.float32), np.eye(n_species, dtype=np.float32)[np.arange(n) % n_species]


# Partners


@pytest.mark.parametrize("seed", range(5))
def test_partners_have_no_species_in_common(seed):
    rng = np.random.default_rng(seed)
    labels = (rng.random((12, 6)) < 0.4) * rng.uniform(0.5, 1.0, (12, 6))
    partner = mixing.partners(labels, rng=rng)
    for row, other in enumerate(partner):
        fitting = [k for k in range(12) if k != row and not ((labels[row] > 0) & (labels[k] > 0)).any()]
        assert other in (fitting or [row])


def test_soft_labels_below_a_half_do_not_exclude_partners():
    """As a model guesses: a little of all, and at most one that is there."""
    guesses = np.full((6, 30), 0.2, np.float32)
    guesses[[0, 1, 2, 3], [0, 0, 1, 2]] = 0.5, 0.9, 1.0, 0.8
    others = [mixing.partners(guesses, rng=np.random.default_rng(seed)) for seed in range(60)]
    assert [set(column.tolist()) for column in np.transpose(others)][:3] == [{2, 3, 4, 5}, {2, 3, 4, 5}, {0, 1, 3, 4, 5}]


def test_every_possible_partner_is_drawn():
    labels = np.array([[1, 0], [0, 1], [0, 1], [0, 0]])
    drawn = [mixing.partners(labels, rng=np.random.default_rng(i))[0] for i in range(60)]
    assert set(drawn) == {1, 2, 3} and min(np.bincount(drawn)[1:]) > 8


# All mixers


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("rule", mixing.RULES)
def test_mixing_keeps_shapes_and_ranges(mixer, rule):
    x, y = clips(mixer)
    before = x.copy(), y.copy()
    mixed, labels = MIXERS[mixer](x, y, rule=rule)
    assert mixed.shape == x.shape and labels.shape == y.shape and mixed.dtype == labels.dtype == np.float32
    assert labels.min() >= 0 and labels.max() <= 1 and np.abs(mixed).max() <= 1
    assert np.array_equal(x, before[0]) and np.array_equal(y, before[1])


@pytest.mark.parametrize("mixer", MIXERS)
def test_union_labels_are_full_and_weighted_labels_sum_to_one(mixer):
    x, y = clips(mixer)
    assert (np.sort(MIXERS[mixer](x, y, rule="union")[1], axis=1)[:, -2:] == 1).all()
    weighted = MIXERS[mixer](x, y, rule="weighted")[1]
    assert np.allclose(weighted.sum(axis=1), 1) and ((weighted > 0).sum(axis=1) == 2).all()


@pytest.mark.parametrize("mixer", MIXERS)
def test_unchosen_rows_and_rows_without_partner_are_unchanged(mixer):
    x, y = clips(mixer)
    chosen = np.arange(8) < 3
    mixed, labels = MIXERS[mixer](x, y, chosen, rule="weighted")
    assert np.array_equal(mixed[3:], x[3:]) and np.array_equal(labels[3:], y[3:])
    assert (np.abs(mixed[:3] - x[:3]).reshape(3, -1).max(axis=1) > 0).all()
    alike = np.tile(y[:1], (8, 1))
    mixed, labels = MIXERS[mixer](x, alike, rule="weighted")
    assert np.array_equal(mixed, x) and np.array_equal(labels, alike)


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_clip_without_species_may_be_mixed_with_any(mixer):
    x, y = clips(mixer, n=2)
    y[1] = 0
    labels = MIXERS[mixer](x, y, rule="union")[1]
    assert np.array_equal(labels, np.tile(y[:1], (2, 1)))


@pytest.mark.parametrize("mixer", MIXERS)
def test_mixing_is_reproducible_by_seed(mixer):
    x, y = clips(mixer)
    once, again, other = (MIXERS[mixer](x, y, seed=seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(once, again) and not np.array_equal(once, other)


@pytest.mark.parametrize("mixer", MIXERS)
def test_what_goes_along_is_mixed_by_the_shares_of_the_clips(mixer):
    """One-hot vectors as embeddings have the weighted labels of the mixture, also where its own labels are the union."""
    x, y = clips(mixer)
    _, weighted = MIXERS[mixer](x, y, rule="weighted")
    _, union, embeddings, numbers = MIXERS[mixer](x, y, rule="union", along=[y, y.argmax(axis=1).astype(np.float32)])
    assert np.allclose(embeddings, weighted) and np.allclose(numbers, weighted @ np.arange(4), atol=1e-5)
    assert set(np.unique(union)) == {0, 1}


@pytest.mark.parametrize("mixer", MIXERS)
def test_unknown_rules_and_unequal_lengths_are_refused(mixer):
    x, y = clips(mixer)
    with pytest.raises(mixing.MixingError, match="'both' is unknown: use union or weighted"):
        MIXERS[mixer](x, y, rule="both")
    with pytest.raises(mixing.MixingError, match="7 clips, 8 rows"):
        MIXERS[mixer](x[:7], y)


# Mixup


def test_mixup_mixes_labels_and_spectrograms_alike():
    """A spectrogram that is its own label in every place shows it."""
    labels = np.eye(6, dtype=np.float32)
    images = np.tile(labels[:, None], (1, 10, 1))
    mixed, weighted = mixing.mixup(images, labels, rng=np.random.default_rng(0))
    assert np.allclose(mixed, weighted[:, None], atol=1e-6)


def test_dominant_mixup_has_the_larger_weight_and_both_species():
    """lambda = max(beta, 1 - beta): the weight is that of mixup with the same random numbers, or what it leaves to one."""
    x, y = clips("mixup", n=200)
    _, weighted = MIXERS["mixup"](x, y)
    mixed, union, own = MIXERS["mixup"](x, y, rule="union", is_dominant=True, along=[y])
    weight, plain = own[y > 0], weighted[y > 0]
    assert np.allclose(weight, np.maximum(plain, 1 - plain)) and weight.min() >= 0.5 and plain.min() < 0.1
    assert (union.sum(axis=1) == 2).all() and (union[y > 0] == 1).all()


def test_a_larger_alpha_gives_more_equal_weights():
    labels, images = np.eye(200, dtype=np.float32), np.zeros((200, 1, 1), np.float32)

    def mean_share(alpha):
        return mixing.mixup(images, labels, alpha=alpha, rng=np.random.default_rng(0))[1].max(axis=1).mean()

    assert mean_share(0.2) > mean_share(1.0) > mean_share(20.0) > 0.5


# Weighted audio mixing


def test_audio_mix_joins_a_beginning_and_an_end_that_overlap():
    """5 s, overlap 2 s: the first from 0 to 3.5 s, the second from 1.5 to 5 s; .3 of one and .7 of the other, all the time."""
    waveforms = np.array([np.full(5 * RATE_HZ, 0.5), np.full(5 * RATE_HZ, -1.0)], np.float32)
    mixed, labels = mixing.audio_mix(waveforms, np.eye(2), RATE_HZ, rule="weighted", rng=np.random.default_rng(0))
    for row, (own, other) in enumerate(((0.5, -1.0), (-1.0, 0.5))):
        w = labels[row, row]
        assert w == pytest.approx(0.3) or w == pytest.approx(0.7)
        seconds = [mixed[row, round(second * RATE_HZ)] for second in (0.0, 1.45, 1.55, 2.5, 3.45, 3.55, 4.99)]
        both = w * own + (1 - w) * other
        expected = [w * own, w * own, both, both, both, (1 - w) * other, (1 - w) * other]
        assert seconds == pytest.approx(expected, abs=1e-6)
        assert np.abs(np.diff(mixed[row])).max() < 0.11  # no click: the ends fade in 10 samples


def test_each_weight_goes_to_the_first_clip_half_of_the_time():
    labels = mixing.audio_mix(np.zeros((300, 5)), np.eye(300), 1, rule="weighted", rng=np.random.default_rng(0))[1]
    own = np.diag(labels)
    assert np.isclose(own, 0.3).sum() + np.isclose(own, 0.7).sum() == 300
    assert abs(np.isclose(own, 0.7).mean() - 0.5) < 0.1


def test_clips_that_overlap_completely_are_added():
    waveforms = np.array([[0.5] * 8, [-1.0] * 8], np.float32)
    options = {"overlap_s": 2.0, "rule": "weighted", "rng": np.random.default_rng(0)}
    mixed, labels = mixing.audio_mix(waveforms, np.eye(2), 4, **options)
    assert np.allclose(mixed, (labels @ [0.5, -1.0])[:, None])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap_s": 6.0}, "clips of 5 s cannot overlap by 6 s"),
        ({"overlap_s": -1.0}, "cannot overlap"),
        ({"weights": (0.7, 0.7)}, "above 1 together"),
    ],
)
def test_impossible_mixtures_are_refused(options, message):
    with pytest.raises(mixing.MixingError, match=message):
        mixing.audio_mix(np.zeros((2, 5)), np.eye(2), 1, rng=np.random.default_rng(0), **options)


# Cutmix


def test_cutmix_blends_between_frames_204_and_307():
    images = np.stack([np.full((512, 4), 1.0), np.full((512, 4), 3.0)])
    mixed, labels = mixing.cutmix(images, np.eye(2), rng=np.random.default_rng(0))
    assert (mixed[0, :204] == 1).all() and (mixed[0, 204:307] == 2).all() and (mixed[0, 307:] == 3).all()
    assert (mixed[1, :204] == 3).all() and (mixed[1, 204:307] == 2).all() and (mixed[1, 307:] == 1).all()
    assert (labels == 1).all()


def test_weighted_cutmix_labels_count_frames():
    """(204 + 0.25 * 103) / 512 = 0.4487 of the row."""
    images = np.zeros((2, 512, 4), np.float32)
    labels = mixing.cutmix(images, np.eye(2), alpha=0.25, rule="weighted", rng=np.random.default_rng(0))[1]
    assert np.diag(labels) == pytest.approx([(204 + 0.25 * 103) / 512] * 2)


def test_cutmix_edges_beyond_the_frames_are_refused():
    with pytest.raises(mixing.MixingError, match=r"\(204, 307\) do not fit into spectrograms of 300 frames"):
        mixing.cutmix(np.zeros((2, 300, 4)), np.eye(2), rng=np.random.default_rng(0))
