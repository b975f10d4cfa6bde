"""The data set of stage 07's trainings: which loss and outputs a training has."""

import pytest

from birdlib.species import classifiers, dataset


def test_auto_is_cross_entropy_for_one_species_and_binary_cross_entropy_for_several():
    assert dataset.loss_of("auto", "single") == "cross_entropy" and dataset.loss_of("auto", "multi") == "bce"


@pytest.mark.parametrize("label_mode", ["single", "multi"])
def test_a_named_loss_is_taken_in_both_label_modes(label_mode):
    assert dataset.loss_of("asymmetric", label_mode) == "asymmetric"


@pytest.mark.parametrize(("loss", "label_mode", "wrong"), [("asymetric", "single", "asymetric"), ("auto", "both", "both")])
def test_unknown_names_are_refused_with_the_known_ones(loss, label_mode, wrong):
    with pytest.raises(classifiers.ClassifierError, match=f"{wrong!r} is unknown: use .*(asymmetric|multi)"):
        dataset.loss_of(loss, label_mode)


def test_species_compete_in_cross_entropy_only():
    assert dataset.mode_of("cross_entropy") == "single" and dataset.mode_of("asymmetric") == dataset.mode_of("bce") == "multi"
