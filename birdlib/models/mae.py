"""Bird-MAE: a vision transformer on spectrograms, pretrained to reconstruct the three quarters of a spectrogram that are masked.

"Masked Autoencoders Are Scalable Vision Learners" (2022), for birds "Can Masked Autoencoders Also Listen to Birds?" (2025). A
spectrogram (batch, frames, mels) is normalised as ``fbanks`` does; patches, tokens and orders are those of ``mae_layers``.
"""

import keras

from birdlib import runtime
from birdlib.models import fbanks, mae_layers, saved

SIZES = {  # of the encoder and of the decoder that is discarded after pretraining
    "tiny": {"dim": 96, "depth": 4, "heads": 3, "decoder_dim": 64, "decoder_depth": 1, "decoder_heads": 2},
    "base": {"dim": 768, "depth": 12, "heads": 12, "decoder_dim": 512, "decoder_depth": 8, "decoder_heads": 16},
    "large": {"dim": 1024, "depth": 24, "heads": 16, "decoder_dim": 512, "decoder_depth": 8, "decoder_heads": 16},
    "huge": {"dim": 1280, "depth": 32, "heads": 16, "decoder_dim": 512, "decoder_depth": 8, "decoder_heads": 16},
}
_PATCH = 16
_MASKED = 0.75  # share of the patches


class MaeError(runtime.BirdlibError):
    """A transformer that cannot be built as configured."""


def build_encoder(size="base", n_frames=fbanks.N_FRAMES, n_mels=fbanks.N_MELS, patch=_PATCH):
    """The encoder with random weights; published weights: ``mae_checkpoints.load``.

    Args:
        size: one of ``SIZES``, or a dict like theirs: ``dim, depth, heads``.
        n_frames, n_mels: of a spectrogram, multiples of ``patch``.
        patch: frames and mels of a patch.

    Returns:
        keras.Model, spectrogram (batch, n_frames, n_mels) → {"embedding": (batch, dim), the normed mean of the patch tokens;
        "tokens": (batch, 1 + patches, dim), normed, class token first}. Its layers ``stem`` and ``transformer`` are models.

    Raises:
        MaeError: for an unknown size, or patches that do not fill the spectrogram.
    """
    dim, depth, heads = (_size(size)[name] for name in ("dim", "depth", "heads"))
    if n_frames % patch or n_mels % patch:
        raise MaeError(f"a spectrogram of {n_frames} × {n_mels} is not cut into patches of {patch}: use multiples")
    if dim % 4 or dim % heads:
        raise MaeError(f"dim is {dim}: it must be a multiple of 4 (sine and cosine, time and mel) and of heads, {heads}")
    spectrogram = keras.Input((n_frames, n_mels), name="spectrogram")
    x = mae_layers.Patches(patch, name="patches")(spectrogram)  # (batch, patches, patch²)
    x = keras.layers.Dense(dim, name="projection")(x)
    x = mae_layers.Positions(n_mels // patch, name="positions")(x)
    stem = keras.Model(spectrogram, x, name="stem")
    shown = keras.Input((None, dim), name="shown")
    x = mae_layers.ClassToken(name="class_token")(shown)
    for i in range(depth):
        x = _block(x, f"block_{i}", dim, heads)
    transformer = keras.Model(shown, x, name="transformer")
    tokens = transformer(stem(spectrogram))  # (batch, 1 + patches, dim)
    embedding = _norm("embedding_norm")(mae_layers.PatchMean(name="patch_mean")(tokens))
    outputs = {"embedding": embedding, "tokens": _norm("token_norm")(tokens)}
    return keras.Model(spectrogram, outputs, name="mae_encoder")


def front_end(encoder, samples=fbanks.CLIP_SAMPLES):
    """The encoder's ``fbanks`` layer as a keras.Model, waveform (batch, samples) in [-1, 1] at 32 kHz → (batch, n_frames, n_mels)."""
    waveform = keras.Input((samples,), name="waveform")
    _, n_frames, n_mels = encoder.input_shape
    return keras.Model(waveform, fbanks.Fbank(n_frames=n_frames, n_mels=n_mels)(waveform), name="front_end")


def build_pretrainer(encoder, size="base", masked=_MASKED, normalise=True):
    """The encoder on the visible patches, a decoder that predicts the masked ones, and the loss of the prediction.

    Args:
        encoder: from ``build_encoder``; the pretrainer trains it, and it is used on its own afterwards.
        size: one of ``SIZES``, or a dict like theirs: ``decoder_dim, decoder_depth, decoder_heads``.
        masked: share of the patches that the encoder does not get.
        normalise: predict each patch less its mean and divided by its standard deviation, which is better in the paper.

    Returns:
        keras.Model, {"spectrogram": (batch, frames, mels), "order": (batch, patches) int, a permutation whose first quarter is
        visible} → {"loss": (batch,), mean square error of the masked patches; "patches": (batch, patches, patch²), the predictions}.

    Raises:
        MaeError: if nothing would be visible, or nothing masked.
    """
    stem = encoder.get_layer("stem")
    dim, depth, heads = (_size(size)[f"decoder_{name}"] for name in ("dim", "depth", "heads"))
    n_patches, patch = stem.output_shape[1], stem.get_layer("patches").patch
    n_shown = round(n_patches * (1.0 - masked))
    if not 0 < n_shown < n_patches:
        raise MaeError(f"{masked:g} of {n_patches} patches masked leaves {n_shown} visible: choose another share")
    spectrogram = keras.Input(stem.input_shape[1:], name="spectrogram")
    order = keras.Input((n_patches,), dtype="int32", name="order")
    shown = mae_layers.Shown(n_shown, name="shown")(stem(spectrogram), order)  # (batch, n_shown, dim)
    x = encoder.get_layer("token_norm")(encoder.get_layer("transformer")(shown))
    x = keras.layers.Dense(dim, name="decoder_projection")(x)
    x = mae_layers.PutBack(name="mask_tokens")(x, order)  # (batch, 1 + patches, decoder dim)
    x = mae_layers.Positions(spectrogram.shape[-1] // patch, after=1, name="decoder_positions")(x)
    for i in range(depth):
        x = _block(x, f"decoder_{i}", dim, heads)
    x = keras.layers.Dense(patch * patch, name="guess")(_norm("decoder_norm")(x))
    guess = mae_layers.Rest(name="guessed_patches", dtype="float32")(x)  # (batch, patches, patch²)
    truth = mae_layers.Patches(patch, normalise, name="true_patches", dtype="float32")(spectrogram)
    loss = mae_layers.MaskedError(n_shown, name="masked_error", dtype="float32")(truth, guess, order)
    return keras.Model({"spectrogram": spectrogram, "order": order}, {"loss": loss, "patches": guess}, name="mae_pretrainer")


def load(path):
    """Load a saved encoder or pretrainer."""
    return saved.load(path)


def _size(size):
    if isinstance(size, dict):
        return size
    if size not in SIZES:
        raise MaeError(f"there is no size {size!r}: choose one of {', '.join(SIZES)}")
    return SIZES[size]


def _norm(name):
    return keras.layers.LayerNormalization(epsilon=mae_layers.EPSILON, name=name)


def _block(x, name, dim, heads):
    """Attention and two dense layers, each with a norm before it and a residual connection: "An Image is Worth 16x16 Words" (2021)."""
    y = _norm(f"{name}_norm1")(x)
    y = keras.layers.MultiHeadAttention(heads, dim // heads, name=f"{name}_attention")(y, y)
    x = keras.layers.Add(name=f"{name}_add1")([x, y])
    y = keras.layers.Dense(4 * dim, activation="gelu", name=f"{name}_dense1")(_norm(f"{name}_norm2")(x))
    y = keras.layers.Dense(dim, name=f"{name}_dense2")(y)
    return keras.layers.Add(name=f"{name}_add2")([x, y])
