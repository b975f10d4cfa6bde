import matplotlib
import numpy as np
import pandas as pd
import pytest

from birdlib.individuals import background_swap
from birdlib.individuals import plots as individual_plots

RATE_HZ = 32_000
SONGS_HZ = {"ann": 2500.0, "bob": 3500.0, "cyd": 5000.0}
PLACES_HZ = {"ann": 1700.0, "bob": 7000.0, "cyd": 9000.0}  # each place hums at a pitch of its own

matplotlib.use("Agg")


def hiss(n_samples, seed=0, level=0.01):
    return (level * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def tone(hz, n_samples, level):
    return (level * np.sin(2 * np.pi * hz * np.arange(n_samples) / RATE_HZ)).astype(np.float32)


def recording(bird, place, seed=0, duration_s=2.0):
    """A song in the middle half of a recording, over the hum and hiss of a location."""
    n = int(duration_s * RATE_HZ)
    waveform = hiss(n, seed) + tone(PLACES_HZ[place], n, 0.02)
    waveform[n // 4 : 3 * n // 4] += tone(SONGS_HZ[bird], n // 2, 0.3)
    return waveform


def rms(waveform):
    return float(np.sqrt(np.mean(np.square(waveform))))


def test_quiet_stretches_hold_no_song():
    """The song is 30 times as loud as the background."""
    waveform = recording("ann", "bob")
    stretches = background_swap._quiet(waveform, RATE_HZ)
    place = recording("ann", "bob")[: RATE_HZ // 4]
    assert sum(map(len, stretches)) > 0.3 * len(waveform)
    assert all(rms(stretch) == pytest.approx(rms(place), rel=0.1) for stretch in stretches)


def test_erased_stretches_are_no_background():
    waveform = recording("ann", "bob", duration_s=4.0)
    waveform[:12_800] = 0.0
    stretches = background_swap._quiet(waveform, RATE_HZ)
    assert stretches and all(stretch.any() for stretch in stretches)
    assert sum((stretch == 0).sum() for stretch in stretches) == 0


@pytest.mark.parametrize(
    "waveform", [np.zeros(32_000, np.float32), tone(3000.0, 32_000, 0.1), hiss(700), np.zeros(1, np.float32)]
)
def test_every_recording_has_a_quiet_stretch(waveform):
    stretches = background_swap._quiet(waveform, RATE_HZ)
    assert len(stretches) >= 1 and all(len(stretch) for stretch in stretches)


def test_the_foreground_is_the_song_without_background():
    waveform = recording("ann", "bob")
    song = background_swap.foreground(waveform, RATE_HZ)
    n = len(waveform)
    assert len(song) == n and rms(song[: n // 5]) < 0.2 * rms(waveform[: n // 5])
    assert rms(song[n // 3 : n // 2]) == pytest.approx(rms(waveform[n // 3 : n // 2]), rel=0.1)


@pytest.mark.parametrize("n_samples", [1, 1000, 100_000])
def test_a_background_has_the_given_length_and_the_level_of_the_location(n_samples):
    waveforms = [recording("bob", "bob", seed) for seed in range(3)]
    found = background_swap._background(waveforms, RATE_HZ, n_samples, rng=np.random.default_rng(0))
    assert found.shape == (n_samples,) and found.dtype == np.float32
    if n_samples > 10_000:
        assert rms(found) == pytest.approx(rms(waveforms[0][: RATE_HZ // 4]), rel=0.15)


def test_a_transplanted_song_has_the_level_of_the_hosts():
    hosts = [0.5 * recording("bob", "bob", seed) for seed in range(2)]
    found = background_swap.transplant(recording("ann", "ann"), hosts, RATE_HZ, rng=np.random.default_rng(0))
    level, expected = (background_swap._song_level(one, RATE_HZ) for one in (found, hosts[0]))
    assert level == pytest.approx(expected, rel=0.2) and np.abs(found).max() <= 1.0


@pytest.mark.parametrize("kind", [background_swap.OWN, background_swap.OTHER])
def test_hosts_are_other_recordings_of_the_same_fold(kind):
    birds, folds = np.repeat(["ann", "bob", "cyd"], 8), np.tile([0, 1], 12)
    hosts, rows_of = background_swap.choose_hosts(birds, folds, kind, rng=np.random.default_rng(0))
    for row, (host, rows) in enumerate(zip(hosts, rows_of, strict=True)):
        assert (host == birds[row]) == (kind == background_swap.OWN)
        assert len(rows) and row not in rows and (folds[rows] == folds[row]).all() and (birds[rows] == host).all()


def test_a_recording_without_hosts_in_its_fold_has_none():
    hosts, rows_of = background_swap.choose_hosts(["ann", "bob"], [0, 1], background_swap.OTHER, rng=np.random.default_rng(0))
    assert hosts.tolist() == ["", ""] and [len(rows) for rows in rows_of] == [0, 0]


def predicted(of):
    """Nine recordings under three conditions, identified by the ``bird`` or by the ``host`` of the background."""
    birds = np.repeat(list(SONGS_HZ), 3)
    others = np.roll(birds, 3)
    tables = [
        pd.DataFrame({"bird": birds, "host": host, "kind": kind, "unit": range(9)})
        for kind, host in zip(background_swap.KINDS, (birds, birds, others), strict=True)
    ]
    table = pd.concat(tables)
    return table.assign(predicted=table[of])


@pytest.fixture(scope="module")
def judged():
    return {"song": predicted("bird"), "place": predicted("host")}


def share(swapped, kind, taken_for):
    table = background_swap.background_shares(swapped, rng=np.random.default_rng(0)).set_index(["kind", "taken_for"])
    return table.loc[(kind, taken_for), "share"]


def test_predictions_from_the_song_follow_the_bird(judged):
    assert share(judged["song"], "as recorded", "the bird") == 1.0
    assert share(judged["song"], "other background", "the bird") == 1.0
    assert share(judged["song"], "other background", "the background's bird") == 0.0


def test_predictions_from_the_location_follow_the_background(judged):
    """Although they are as accurate on the original recordings."""
    assert share(judged["place"], "as recorded", "the bird") == 1.0
    assert share(judged["place"], "own background", "the bird") == 1.0
    assert share(judged["place"], "other background", "the background's bird") == 1.0


def test_shares_of_a_kind_add_up_to_one(judged):
    for swapped in judged.values():
        table = background_swap.background_shares(swapped, rng=np.random.default_rng(0))
        assert np.allclose(table.groupby("kind")["share"].sum(), 1.0)


def test_the_figure_has_a_bar_for_each_share_and_a_line_for_chance(judged):
    table = background_swap.background_shares(judged["song"], rng=np.random.default_rng(0))
    ax = individual_plots.background_shares(table, n_birds=3)
    assert sorted(bar.get_height() for bar in ax.patches) == sorted(table["share"])
    assert any(np.allclose(line.get_ydata(), 1 / 3) for line in ax.lines)
