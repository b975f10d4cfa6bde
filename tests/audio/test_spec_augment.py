import numpy as np
import pytest

from birdlib.audio import spec_augment


def images(n=16, frames=100, bands=40, channels=None, seed=0):
    shape = (n, frames, bands) if channels is None else (n, frames, bands, channels)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def apply(layer, x, training=True):
    import keras

    return keras.ops.convert_to_numpy(layer(x, training=training))


def masks(**numbers):
    """(batch, frames, bands) bool: what the layer masks."""
    x = images(200)
    return apply(spec_augment.SpecAugment(seed=0, **numbers), x) != x


def test_nothing_is_masked_at_inference():
    assert np.array_equal(apply(spec_augment.SpecAugment(seed=0), images(), training=False), images())


def test_masks_cover_whole_frames_or_bands_and_become_the_mean():
    x = images()
    y = apply(spec_augment.SpecAugment(n_time_masks=1, n_band_masks=1, longest_share=0.5, widest_share=0.5, seed=1), x)
    masked = x != y
    assert np.array_equal(masked, masked.all(axis=2)[:, :, None] | masked.all(axis=1)[:, None, :])
    means = np.broadcast_to(x.mean(axis=(1, 2))[:, None, None], x.shape)
    assert masked.any() and not masked.all() and np.allclose(y[masked], means[masked], atol=1e-5)


@pytest.mark.parametrize(("kind", "axis", "length"), [("time", 2, 100), ("band", 1, 40)])
def test_a_mask_is_contiguous_and_not_longer_than_its_share(kind, axis, length):
    """Of a tenth at most, uniformly: a twentieth in the mean."""
    off = {"n_band_masks": 0, "longest_share": 0.1} if kind == "time" else {"n_time_masks": 0, "widest_share": 0.1}
    stretches = masks(**{f"n_{kind}_masks": 1}, **off).all(axis=axis)  # (batch, length)
    edges = np.abs(np.diff(np.pad(stretches, ((0, 0), (1, 1))).astype(int), axis=1)).sum(axis=1)
    assert set(edges) <= {0, 2}
    assert stretches.sum(axis=1).max() <= 0.1 * length + 1
    assert stretches.mean() == pytest.approx(0.05, rel=0.15)


@pytest.mark.parametrize(("numbers", "axis"), [({"n_band_masks": 0, "longest_frames": 20}, 2), ({"n_time_masks": 0, "widest_bands": 20}, 1)])
def test_a_mask_of_up_to_20_frames_or_bands_is_uniform_between_0_and_20(numbers, axis):
    """Whatever the shares: of 100 frames and of 40 bands."""
    counts = masks(**{"n_time_masks": 1, "n_band_masks": 1} | numbers).all(axis=axis).sum(axis=1)
    assert counts.max() == 20 and counts.min() <= 1
    assert counts.mean() == pytest.approx(10, abs=1.5)


def test_a_mask_is_not_longer_than_the_spectrogram():
    assert masks(n_time_masks=1, longest_frames=1000, n_band_masks=0).shape == (200, 100, 40)


def test_a_spectrogram_is_masked_with_the_probability():
    """Of 200, a quarter, within three standard errors."""
    n_masked = masks(probability=0.25, longest_frames=20).any(axis=(1, 2)).sum()
    assert n_masked == pytest.approx(50, abs=3 * np.sqrt(200 * 0.25 * 0.75))


def test_masks_reach_every_frame_and_band():
    assert masks(n_time_masks=2, longest_share=0.2).any(axis=0).all()


def test_masks_differ_between_rows_and_batches_and_may_be_none():
    assert not masks(n_time_masks=0, n_band_masks=0).any()
    layer = spec_augment.SpecAugment(seed=0)
    x = np.repeat(images(1), 2, axis=0)
    first, second = apply(layer, x), apply(layer, x)
    assert not np.array_equal(first[0], first[1]) and not np.array_equal(first, second)
    assert np.array_equal(apply(spec_augment.SpecAugment(seed=0), x), first)


def test_all_channels_have_the_same_masks():
    x = images(channels=3)
    masked = apply(spec_augment.SpecAugment(seed=0), x) != x
    assert masked.any() and (masked == masked[..., :1]).all()


def test_a_model_with_the_layer_is_trained_and_saved(tmp_path):
    import keras

    x = images(8)
    inputs = keras.Input((None, 40))
    masked = spec_augment.SpecAugment(n_time_masks=1, longest_share=0.3, seed=5)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling1D()(masked)))
    model.compile("sgd", "mse")
    model.fit(x, np.ones(8), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.layers[1].get_config() == model.layers[1].get_config()
    assert np.allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)
