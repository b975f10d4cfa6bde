"""SpecAugment as a Keras layer: bands and stretches of time of a spectrogram are masked in training.

"SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition" (2019), without time warping, which
helped least. As a layer it stands in the model, after the log-mel front end, and draws on the device that trains.
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable("birdlib")
class SpecAugment(keras.layers.Layer):
    """(batch, frames, bands) or (batch, frames, bands, channels) to the same; unchanged outside of training.

    What is masked becomes the mean of its spectrogram; all channels have the same masks.

    Args:
        n_time_masks, n_band_masks: masks of each kind per spectrogram; they may overlap.
        longest_share, widest_share: a mask covers a share of the frames, or bands, that is uniform between 0 and this.
        longest_frames, widest_bands: the same in frames and bands, instead of a share; None: the share.
        probability: of a spectrogram being masked.
        seed: int, of the layer's own stream of random numbers; None: different in each run.
    """

    def __init__(
        self, n_time_masks=2, longest_share=0.1, n_band_masks=2, widest_share=0.15, longest_frames=None, widest_bands=None,
        probability=1.0, seed=None, **options,
    ):  # fmt: skip
        super().__init__(**{"name": "spec_augment"} | options)
        self.numbers = {
            "n_time_masks": n_time_masks,
            "longest_share": longest_share,
            "n_band_masks": n_band_masks,
            "widest_share": widest_share,
            "longest_frames": longest_frames,
            "widest_bands": widest_bands,
            "probability": probability,
            "seed": seed,
        }
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, spectrograms, training=False):
        if not training:
            return spectrograms
        shape, numbers = ops.shape(spectrograms), self.numbers
        frames = self._masked(shape[0], shape[1], numbers["n_time_masks"], numbers["longest_share"], numbers["longest_frames"])
        bands = self._masked(shape[0], shape[2], numbers["n_band_masks"], numbers["widest_share"], numbers["widest_bands"])
        masked = ops.logical_or(frames[:, :, None], bands[:, None, :])  # (batch, frames, bands)
        if numbers["probability"] < 1.0:
            drawn = keras.random.uniform((shape[0], 1, 1), dtype="float32", seed=self.generator)
            masked = ops.logical_and(masked, drawn < numbers["probability"])
        if len(spectrograms.shape) == 4:
            masked = masked[..., None]
        mean = ops.mean(spectrograms, axis=tuple(range(1, len(spectrograms.shape))), keepdims=True)
        return ops.where(masked, mean, spectrograms)

    def _masked(self, n_rows, length, n_masks, share, longest):
        """Which of ``length`` positions are masked, (rows, length) bool; ``longest`` positions, None: their ``share``."""
        if not n_masks:
            return ops.zeros((n_rows, length), dtype="bool")
        drawn = keras.random.uniform((2, n_rows, n_masks, 1), dtype="float32", seed=self.generator)
        size = ops.cast(length, "float32")
        width = drawn[0] * share * size if longest is None else drawn[0] * ops.minimum(longest, size)
        start = drawn[1] * (size - width)
        middle = ops.arange(length, dtype="float32") + 0.5  # of each position
        return ops.any(ops.logical_and(middle >= start, middle < start + width), axis=1)

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return super().get_config() | self.numbers
