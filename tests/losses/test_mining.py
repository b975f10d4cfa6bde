import tracemalloc

import numpy as np
import pytest

from birdlib.losses import mining

LABELLINGS = {
    "a few": lambda n, rng: rng.integers(0, 5, n),
    "many": lambda n, rng: rng.integers(0, n // 2, n),
    "one sample each": lambda n, rng: rng.permutation(n),
    "one common": lambda n, rng: np.where(rng.random(n) < 0.9, 0, rng.integers(1, 4, n)),
    "names": lambda n, rng: np.array(["wren", "crow", "owl"], dtype=object)[rng.integers(0, 3, n)],
}


def unit(n, dim=8, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def by_brute_force(embeddings, labels, below=None):
    """The cosine that the negative of each anchor must have."""
    cosines, wanted = embeddings @ embeddings.T, []
    for anchor in range(len(labels)):
        others = [cosines[anchor, i] for i in range(len(labels)) if labels[i] != labels[anchor]]
        further = others if below is None else [cosine for cosine in others if cosine < below[anchor]]
        wanted.append(max(further) if further else min(others))
    return np.array(wanted)


@pytest.mark.parametrize("is_limited", [False, True])
@pytest.mark.parametrize("labelling", LABELLINGS)
def test_hardest_negatives_equal_brute_force(labelling, is_limited):
    """With ``below``, limits from -1 to 1: some anchors have all negatives to choose from, some none."""
    rng = np.random.default_rng(1)
    embeddings, labels = unit(60), LABELLINGS[labelling](60, rng)
    below = np.linspace(-1, 1, 60, dtype=np.float32) if is_limited else None
    found = mining.hardest_negatives(embeddings, labels, below)
    assert (labels[found] != labels).all()
    cosines = np.einsum("ij,ij->i", embeddings, embeddings[found])
    assert cosines == pytest.approx(by_brute_force(embeddings, labels, below), abs=1e-6)


@pytest.mark.parametrize("block", [1, 7, 60, 1000])
def test_hardest_negatives_do_not_depend_on_the_block_size(block):
    embeddings, labels = unit(60), np.arange(60) % 7
    for below in (None, np.full(60, 0.1, np.float32)):
        expected = mining.hardest_negatives(embeddings, labels, below)
        assert (mining.hardest_negatives(embeddings, labels, below, block=block) == expected).all()


def test_ties_of_hardest_negatives_are_of_other_species():
    """All samples lie on one point: any of another species is valid, also with a limit that none is below."""
    embeddings, labels = np.tile(unit(1), (9, 1)), np.arange(9) % 3
    for below in (None, np.full(9, 0.5)):
        assert (labels[mining.hardest_negatives(embeddings, labels, below)] != labels).all()


@pytest.mark.parametrize("n", [0, 1, 5])
def test_one_species_has_no_negatives(n):
    labels = np.full(n, "wren", dtype=object)
    assert mining.hardest_negatives(unit(n), labels).tolist() == [-1] * n
    assert mining.mine(unit(n), labels, "hard", np.random.default_rng(0)).shape == (0, 3)


def test_memory_is_not_quadratic():
    """20,000 x 20,000 cosines are 1.6 GB; a block of them is 82 MB."""
    embeddings, labels = unit(20_000, 16), np.arange(20_000) % 50
    tracemalloc.start()
    mining.hardest_negatives(embeddings, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000**2 * 4 / 8


@pytest.mark.parametrize("kind", ["hard", "semi_hard"])
@pytest.mark.parametrize("labelling", LABELLINGS)
def test_triplets_have_positives_of_the_same_species_and_negatives_of_another(labelling, kind):
    embeddings, labels = unit(80), LABELLINGS[labelling](80, np.random.default_rng(2))
    triplets = mining.mine(embeddings, labels, kind, np.random.default_rng(3))
    anchor, positive, negative = triplets.T
    assert (labels[anchor] == labels[positive]).all() and (anchor != positive).all()
    assert (labels[anchor] != labels[negative]).all()
    counts = {label: (labels == label).sum() for label in set(labels)}
    assert sorted(anchor) == [i for i in range(80) if counts[labels[i]] > 1]  # each once


def test_semi_hard_negatives_are_the_nearest_beyond_the_positive():
    embeddings, labels = unit(200, 3), np.arange(200) % 10
    n_beyond = 0
    for anchor, positive, negative in mining.mine(embeddings, labels, "semi_hard", np.random.default_rng(0)):
        cosines = embeddings @ embeddings[anchor]
        others = cosines[labels != labels[anchor]]
        further = others[others < cosines[positive] - 1e-6]
        n_beyond += len(further) > 0
        assert cosines[negative] == pytest.approx(further.max() if len(further) else others.min(), abs=1e-5)
    assert 150 < n_beyond < 200  # of either kind there are some


def test_triplets_are_reproducible_and_in_random_order():
    embeddings, labels = unit(40), np.arange(40) % 4
    first, again, other = (mining.mine(embeddings, labels, "hard", np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
    assert not (np.diff(first[:, 0]) > 0).all()


def test_spread_of_collapsed_orthogonal_and_opposite_vectors():
    """The mean of n orthogonal unit vectors has the squared length 1 / n; that of opposite ones is 0."""
    assert mining.spread(np.tile(unit(1), (30, 1))) == pytest.approx(0, abs=1e-6)
    assert mining.spread(np.eye(8, dtype=np.float32)) == pytest.approx(1 - 1 / 8)
    assert mining.spread(np.array([[1.0, 0.0], [-1.0, 0.0]])) == 1
    assert mining.spread(unit(5000, 64)) == pytest.approx(1, abs=0.01)
