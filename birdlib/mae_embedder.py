"""Bird-MAE as an embedder of patches of 5 s, see ``embedders``: what a published or a home-made encoder hears, for stage 03."""

import numpy as np

from birdlib import fbanks, mae, patchwise, runtime

PATCH_S = HOP_S = fbanks.CLIP_S  # side by side: a patch is a window of the competition
_AT_ONCE = 8  # patches


class MaeEmbedder(patchwise.PatchwiseEmbedder):
    """The mean of the patch tokens of each 5 s. It knows no classes, so its bird score is 1 throughout: every patch counts alike."""

    name = "bird_mae"
    sample_rate_hz = fbanks.SAMPLE_RATE_HZ
    patch_s, hop_s = PATCH_S, HOP_S

    def __init__(self, encoder, receipt):
        """
        Args:
            encoder: from ``mae_checkpoints.load`` or ``mae.load``.
            receipt: of its weights, with their ``sha256``; see ``weights.Source.receipt``.
        """
        self.dim = encoder.output["embedding"].shape[-1]
        self.key = runtime.digest({"name": self.name, "sha256": receipt["sha256"], "hop_s": HOP_S, "recipe": 1})
        self.weights = {self.name: receipt}
        self.class_names, self._birds = ["sound"], np.ones(1, bool)
        self._listener = mae.with_waveforms(encoder)

    def _pieces(self, blocks):
        patches = []
        for patch in patchwise.cut(blocks, fbanks.CLIP_SAMPLES, fbanks.CLIP_SAMPLES):
            patches.append(patch)
            if len(patches) == _AT_ONCE:
                yield self._heard(patches)
                patches = []
        if patches:
            yield self._heard(patches)

    def _heard(self, patches):
        import keras

        embeddings = keras.ops.convert_to_numpy(self._listener(np.stack(patches), training=False)["embedding"])
        return embeddings.astype(np.float32), np.ones((len(patches), 1), np.float32)
