import numpy as np
import pandas as pd
import pytest
from arrays import DIM, heard, patch_table

from birdlib.models import pooling


@pytest.mark.parametrize("statistics", ["mean", "mean_std"])
def test_padding_does_not_change_a_feature(statistics):
    patch_pooling = pooling.build_pooling(DIM, statistics)
    embeddings, weights = heard(5)
    padded = (
        np.concatenate([embeddings, 9.0 * np.ones((1, 3, DIM), np.float32)], axis=1),
        np.pad(weights, [(0, 0), (0, 3)]),
    )
    assert np.allclose(patch_pooling(embeddings, weights), patch_pooling(*padded), atol=1e-6)


@pytest.mark.parametrize("n_patches", [1, 2, 73])
def test_any_number_of_patches_gives_a_feature_of_one_length(n_patches):
    feature = np.asarray(pooling.build_pooling(DIM)(*heard(n_patches, dim=2 * DIM)))
    assert feature.shape == (1, 4 * DIM) and np.isfinite(feature).all()
    means, deviations = np.linalg.norm(feature.reshape(2, 2, DIM), axis=-1)  # of each view
    assert means == pytest.approx(1.0, abs=1e-5)
    assert deviations == pytest.approx(1.0, abs=1e-5) or n_patches == 1


def test_mean_pooling_of_one_view_points_where_the_plain_average_points():
    embeddings, weights = heard(6)
    average = embeddings.mean(axis=1)
    feature = pooling.build_pooling(DIM, "mean")(embeddings, np.ones_like(weights))
    assert np.allclose(feature, average / np.linalg.norm(average), atol=1e-6)


def test_only_the_ratio_of_weights_matters():
    patch_pooling = pooling.build_pooling(DIM)
    embeddings, weights = heard(6)
    assert np.allclose(patch_pooling(embeddings, weights), patch_pooling(embeddings, 7.0 * weights), atol=1e-6)


def test_the_order_of_patches_does_not_matter():
    patch_pooling = pooling.build_pooling(DIM)
    embeddings, weights = heard(6)
    assert np.allclose(
        patch_pooling(embeddings, weights), patch_pooling(embeddings[:, ::-1], weights[:, ::-1]), atol=1e-6
    )


def test_views_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="12 numbers"):
        pooling.build_pooling(DIM)(*heard(3, dim=12))


@pytest.mark.parametrize(("embedder", "dim", "n_views"), [("yamnet", 1024, 1), ("yamnet", 2048, 2), ("birdnet", 1024, 1), ("perch", 1280, 1), ("perch_v2", 1536, 1)])
def test_every_embedder_can_be_pooled(embedder, dim, n_views):
    feature = np.asarray(pooling.of_embedder(embedder, dim)(*heard(4, dim=dim)))
    assert feature.shape == (1, 2 * dim) and np.sum(feature**2) == pytest.approx(2 * n_views, abs=1e-3)


def test_pool_gives_each_slice_the_feature_of_its_patches():
    patch_pooling = pooling.build_pooling(DIM)
    (embeddings, weights), slices = heard(9), pd.DataFrame({"first": [0, 3, 3], "last": [3, 9, 4]})
    pooled = pooling.pool(embeddings[0], weights[0], slices, patch_pooling)
    assert pooled.shape == (3, 2 * DIM) and pooled.dtype == np.float32
    assert np.allclose(pooled[1], patch_pooling(embeddings[:, 3:9], weights[:, 3:9]), atol=1e-6)


def test_silence_has_the_minimum_weight():
    assert pooling.patch_weights(np.array([0.0, 0.6])).tolist() == pytest.approx([pooling.MIN_WEIGHT, 0.6])


def test_windows_cover_every_patch_and_a_short_recording_is_one_window():
    """23 patches in windows of 10, 5 apart: at 0, 5, 10, and flush with the end at 13."""
    slices = pooling.recording_slices(patch_table([23, 4, 10, 11]))
    assert slices["last"].tolist() == [23, 27, 37, 48]
    windows = pooling.window_slices(slices, 10, 5)
    assert windows.loc[windows["recording_id"] == "r0", "first"].tolist() == [0, 5, 10, 13]
    assert windows.loc[windows["recording_id"] == "r1", ["first", "last"]].to_numpy().tolist() == [[23, 27]]
    assert len(windows) == 4 + 1 + 1 + 2
    for row in slices.itertuples():
        mine = windows[windows["recording_id"] == row.recording_id]
        covered = set().union(*(range(first, last) for first, last in zip(mine["first"], mine["last"], strict=True)))
        assert covered == set(range(row.first, row.last))


@pytest.mark.parametrize(("n_patches", "dim"), [(1, 1024), (6, 1024), (6, 2048), (4, 1280), (3, 320)])
def test_adaptive_average_is_that_of_pytorch(n_patches, dim):
    """``AdaptiveAvgPool2d((1, 1024))`` of the patches: 1,024 numbers from any number of patches of any size."""
    torch = pytest.importorskip("torch")
    embeddings, weights = heard(n_patches, dim=dim)
    expected = torch.nn.AdaptiveAvgPool2d((1, 1024))(torch.from_numpy(embeddings)[None])[0, 0].numpy()
    found = np.asarray(pooling.of_embedder("yamnet", dim, "adaptive_average")(embeddings, weights))
    assert found.shape == (1, 1024) and np.allclose(found[0], expected, atol=1e-6)


def test_adaptive_average_ignores_the_bird_score_but_not_padding():
    patch_pooling = pooling.build_pooling(statistics="adaptive_average")
    embeddings, weights = heard(5, dim=1024)
    padded = np.pad(embeddings, [(0, 0), (0, 3), (0, 0)], constant_values=9.0), np.pad(np.ones_like(weights), [(0, 0), (0, 3)])
    assert np.allclose(patch_pooling(embeddings, weights), embeddings.mean(axis=1), atol=1e-6)
    assert np.allclose(patch_pooling(*padded), embeddings.mean(axis=1), atol=1e-6)


def test_unknown_pooling_is_refused_with_the_choices():
    with pytest.raises(pooling.PoolingError, match="'median' is unknown: use one of mean_std, mean, adaptive_average"):
        pooling.of_embedder("yamnet", 1024, "median")
