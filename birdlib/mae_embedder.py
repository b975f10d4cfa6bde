"""Bird-MAE as an embedder of patches of 5 s, see ``embedders``: what a published or a home-made encoder hears, for stage 03."""

import numpy as np

from birdlib import fbanks, mae, patchwise

PATCH_S = HOP_S = fbanks.CLIP_S  # side by side: a patch is a window of the competition


class MaeEmbedder(patchwise.BatchedEmbedder):
    """The mean of the patch tokens of each 5 s. It knows no classes, so its bird score is 1 throughout: every patch counts alike."""

    sample_rate_hz = fbanks.SAMPLE_RATE_HZ
    patch_s, hop_s = PATCH_S, HOP_S
    patch_samples, hop_samples, at_once = fbanks.CLIP_SAMPLES, fbanks.CLIP_SAMPLES, 8

    def __init__(self, encoder, receipt):
        """
        Args:
            encoder: from ``mae_checkpoints.load`` or ``mae.load``.
            receipt: of its weights, with their ``sha256``; see ``weights.Source.receipt``.
        """
        super().__init__("bird_mae", receipt, encoder.output["embedding"].shape[-1], ["sound"], np.ones(1, bool))
        self._listener = mae.with_waveforms(encoder)

    def _heard(self, patches):
        import keras

        embeddings = keras.ops.convert_to_numpy(self._listener(patches, training=False)["embedding"])
        return embeddings.astype(np.float32), np.ones((len(patches), 1), np.float32)
