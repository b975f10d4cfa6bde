import numpy as np
import pytest

from birdlib.audio.filter_augment import filter_augment, random_filter

N_BANDS = 128


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_filters_are_3_to_5_bands_of_straight_lines_within_6_db(rng):
    """A line has no second difference inside; the edges, two to four, have one."""
    filters = np.stack([random_filter(N_BANDS, rng=rng) for _ in range(200)])
    edges = (np.abs(np.diff(filters, 2)) > 1e-9).sum(axis=1)
    assert np.abs(filters).max() <= 6 and np.abs(filters).max() > 5.5 and set(edges) == {2, 3, 4}


def test_no_band_of_a_filter_is_narrower_than_6(rng):
    for _ in range(200):
        gains = random_filter(N_BANDS, rng=rng)
        edges = np.flatnonzero(np.abs(np.diff(gains, 2)) > 1e-9) + 1
        assert np.diff([0, *edges, N_BANDS]).min() >= 6


def test_filter_of_few_bands_is_one_line(rng):
    assert np.allclose(np.diff(random_filter(5, rng=rng), 2), 0)


def test_spectrogram_is_that_of_the_filtered_sound(rng):
    """80 dB from 0 to 1, relative to the loudest point: the gains between bands are those of the filter, and the loudest point stays."""
    image = rng.uniform(0.4, 0.7, (1, 50, N_BANDS)).astype(np.float32)
    image[0, 10, 64] = 1.0
    found = filter_augment(image, unit_db=80.0, limits=(0.0, 1.0), rng=rng)
    assert found.max() == pytest.approx(1.0, abs=1e-6)
    difference_db = 80 * (found - image)[0]
    assert np.allclose(difference_db, difference_db[:1], atol=1e-4)  # the same in every frame
    assert 0 < np.ptp(difference_db[0]) <= 12


def test_silence_stays_silent(rng):
    image = np.zeros((2, 50, N_BANDS), np.float32)
    image[0, :, 30:40] = 0.8
    found = filter_augment(image, unit_db=80.0, limits=(0.0, 1.0), rng=rng)
    assert (found[image == 0] == 0).all()


def test_absolute_levels_are_shifted_by_the_gain(rng):
    image = rng.normal(size=(1, 20, N_BANDS)).astype(np.float32)
    shift_db = 38.5 * (filter_augment(image, unit_db=38.5, limits=None, rng=rng) - image)[0]
    assert np.allclose(shift_db, shift_db[:1], atol=1e-3) and np.abs(shift_db).max() <= 6


def test_rows_that_are_not_chosen_stay_and_every_row_has_its_own_filter(rng):
    image = np.tile(rng.uniform(0.1, 0.9, (1, 20, N_BANDS)).astype(np.float32), (3, 1, 1))
    found = filter_augment(image, np.array([True, False, True]), unit_db=80.0, limits=(0.0, 1.0), rng=rng)
    assert np.array_equal(found[1], image[1]) and np.abs(found[0] - found[2]).max() > 0.01
