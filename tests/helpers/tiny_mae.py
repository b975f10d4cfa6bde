"""A Bird-MAE small enough for tests: spectrograms of 64 frames and 32 mels, in 4 × 2 patches."""

import numpy as np

from birdlib.models import mae

SIZE = {"dim": 16, "depth": 1, "heads": 2, "decoder_dim": 8, "decoder_depth": 1, "decoder_heads": 2}
N_FRAMES, N_MELS, N_PATCHES = 64, 32, 8


def encoder(seed=0):
    import keras

    keras.utils.set_random_seed(seed)
    made = mae.build_encoder(SIZE, N_FRAMES, N_MELS)
    rng = np.random.default_rng(seed)
    made.set_weights([weight + 0.1 * rng.normal(size=weight.shape) for weight in made.get_weights()])  # no bias is 0
    return made


def spectrograms(n, rng):
    """Of ``n`` clips, each one of four steady chords: what a masked patch holds can be told from its neighbours."""
    chords = np.random.default_rng(99).normal(size=(4, 1, N_MELS))
    return (chords[rng.integers(4, size=n)] + 0.1 * rng.normal(size=(n, N_FRAMES, N_MELS))).astype(np.float32)


def arrays(outputs):
    import keras

    return {name: keras.ops.convert_to_numpy(output) for name, output in outputs.items()}
