from datetime import date

import numpy as np
import pytest
import tiny_tflite

from birdlib.data.synthetic import sample
from birdlib.models import birdnet, birdnet_location, weights

LABELS = ["Turdus merula_Eurasian Blackbird", "Engine_Engine", "Apus apus_Common Swift"]


def make(folder, n_classes=3):
    """A location model in the files and the form of BirdNET's: the swift is there in the north and in summer only."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 3), tf.float32)])
    def network(place):
        latitude, week = place[:, :1], place[:, 2:]
        is_summer = tf.cast((week >= 17) & (week <= 30) & (latitude > 0), tf.float32)
        return tf.concat([tf.ones_like(week) * 0.5, tf.zeros_like(week), 0.8 * is_summer], axis=1)[:, :n_classes]

    return tiny_tflite.source("birdnet_location", folder, network, LABELS)


@pytest.fixture(scope="module")
def expect(tmp_path_factory):
    return birdnet_location.load(make(tmp_path_factory.mktemp("location")))


def test_the_swift_is_expected_in_june_and_the_blackbird_always(expect):
    june, january = expect(52.5, 13.4, week=22), expect(52.5, 13.4, week=2)
    assert june["Apus apus"] == pytest.approx(0.8) and january["Apus apus"] == 0.0
    assert june["Turdus merula"] == january["Turdus merula"] == 0.5
    assert june.index.tolist() == ["Turdus merula", "Engine", "Apus apus"]


@pytest.mark.parametrize("place", [(91, 0, 1), (0, 181, 1), (0, 0, 0), (0, 0, 49), (float("nan"), 0, 1)])
def test_locations_and_weeks_out_of_range_are_refused(expect, place):
    with pytest.raises(birdnet_location.LocationError):
        expect(*place)


def test_labels_of_another_version_are_refused(tmp_path):
    with pytest.raises(birdnet_location.LocationError, match="3 labels for 2 classes"):
        birdnet_location.load(make(tmp_path, n_classes=2))


def test_a_year_has_forty_eight_weeks():
    days = [date.fromordinal(date(2024, 1, 1).toordinal() + n) for n in range(366)]
    weeks = [birdnet_location.week_of(day) for day in days]
    assert weeks[0] == 1 and weeks[-1] == 48 and set(np.diff(weeks)) == {0, 1} and set(weeks) == set(range(1, 49))


def test_the_location_is_read_from_recording_location_txt(tmp_path):
    assert birdnet_location.read_location(tmp_path) is None
    (tmp_path / "recording_location.txt").write_text("El Silencio\n\nCoordinates:\n\nLatitude: 6.76\nLongitude: -74.21\n")
    assert birdnet_location.read_location(tmp_path) == (6.76, -74.21)
    (tmp_path / "recording_location.txt").write_text("somewhere\n")
    assert birdnet_location.read_location(tmp_path) is None


@pytest.mark.slow
def test_the_real_model_separates_species_of_berlin_and_ithaca():
    source = weights.fetch("birdnet_location")
    expect = birdnet_location.load(source)
    berlin, ithaca = expect(52.5, 13.4, 20), expect(42.4, -76.5, 20)
    assert len(berlin) == 6522 and berlin.index.tolist() == birdnet.species(source)["species"].tolist()
    assert berlin["Turdus merula"] > 0.5 > birdnet_location.MIN_OCCURRENCE > berlin["Cardinalis cardinalis"]
    assert ithaca["Cardinalis cardinalis"] > 0.5 > birdnet_location.MIN_OCCURRENCE > ithaca["Turdus merula"]
    assert expect(52.5, 13.4, 22)["Apus apus"] > 0.2 > expect(52.5, 13.4, 2)["Apus apus"]
    assert birdnet_location.read_location(sample.ensure()) is not None
