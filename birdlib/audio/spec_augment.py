"""SpecAugment as a Keras layer: bands and moments of a spectrogram are blotted out in training, and nothing is done otherwise.

"SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition" (2019), without its warping of time, which helped
least. As a layer it stands in the model, after the log-mel front end, and draws on the device that trains.
"""

import functools


def build(n_time_masks=2, longest_share=0.1, n_band_masks=2, widest_share=0.15, seed=None):
    """The layer.

    Args:
        n_time_masks, n_band_masks: so many masks of each kind for each spectrogram; they may overlap.
        longest_share, widest_share: a mask covers a share of the frames, or of the bands, between 0 and this, uniformly drawn.
        seed: int, of its own stream of random numbers; None is another in each run.

    Returns:
        keras layer, (batch, frames, bands) or (batch, frames, bands, channels) to the same. What is masked becomes the mean of its
        spectrogram; all channels are masked alike.
    """
    return _spec_augment()(n_time_masks, longest_share, n_band_masks, widest_share, seed, name="spec_augment")


@functools.cache
def _spec_augment():
    """The layer's class, made on first use, so that importing birdlib does not import Keras."""
    import keras
    from keras import ops

    @keras.saving.register_keras_serializable("birdlib")
    class SpecAugment(keras.layers.Layer):
        """See ``build``."""

        def __init__(self, n_time_masks, longest_share, n_band_masks, widest_share, seed=None, **options):
            super().__init__(**options)
            self.numbers = {
                "n_time_masks": n_time_masks,
                "longest_share": longest_share,
                "n_band_masks": n_band_masks,
                "widest_share": widest_share,
                "seed": seed,
            }
            self.generator = keras.random.SeedGenerator(seed)

        def call(self, spectrograms, training=False):
            if not training:
                return spectrograms
            shape = ops.shape(spectrograms)
            frames = self._masked(shape[0], shape[1], self.numbers["n_time_masks"], self.numbers["longest_share"])
            bands = self._masked(shape[0], shape[2], self.numbers["n_band_masks"], self.numbers["widest_share"])
            masked = ops.logical_or(frames[:, :, None], bands[:, None, :])  # (batch, frames, bands)
            if len(spectrograms.shape) == 4:
                masked = masked[..., None]
            mean = ops.mean(spectrograms, axis=tuple(range(1, len(spectrograms.shape))), keepdims=True)
            return ops.where(masked, mean, spectrograms)

        def _masked(self, n_rows, length, n_masks, share):
            """Which of ``length`` places are masked, (rows, length) bool."""
            if not n_masks:
                return ops.zeros((n_rows, length), dtype="bool")
            drawn = keras.random.uniform((2, n_rows, n_masks, 1), dtype="float32", seed=self.generator)
            size = ops.cast(length, "float32")
            width = drawn[0] * share * size
            start = drawn[1] * (size - width)
            middle = ops.arange(length, dtype="float32") + 0.5  # of each place
            return ops.any(ops.logical_and(middle >= start, middle < start + width), axis=1)

        def compute_output_shape(self, shape):
            return shape

        def get_config(self):
            return super().get_config() | self.numbers

    return SpecAugment
