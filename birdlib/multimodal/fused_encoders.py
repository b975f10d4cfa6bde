"""Photo and sound to one unit vector, by name of how the two are fused; the layers are those of ``encoders``.

``gate`` is the suite's own: each modality has its unit vector, and a gate weighs them, so that either alone has a vector in the same space.
``dense`` is the published network (fangyin03, Final-Year-Project, "fused_encoder.py", 2025): features of both side by side, and dense layers.
"""

import keras

from birdlib import runtime
from birdlib.models import layers
from birdlib.multimodal import encoders

DIM = 128  # of an embedding
_IMAGE_UNITS, _AUDIO_UNITS, _FUSED_UNITS = 512, 256, 256  # of the dense layers of the published network


class FusionError(runtime.BirdlibError):
    """A fusion that does not exist."""


def build(fusion, vgg, patch_dim, *, train_from="", lstm_units=64, dropout=0.3):
    """An encoder of photo and sound.

    Args:
        fusion: one of ``FUSIONS``.
        vgg: from ``vgg16.load``; None where there are no photos: the encoder is one of sounds.
        patch_dim: size of a patch embedding; 0 where there are no sounds.
        train_from: first layer of VGG16 that is trained, see ``encoders.frozen_vgg16``.
        lstm_units: in each direction.
        dropout: before the last dense layers.

    Returns:
        keras.Model, {"image_features", "embeddings", "weights", "presence" (batch, 2)} → (batch, 128) unit vectors; with one modality its
        own inputs only.

    Raises:
        FusionError: see ``require``.
        EncoderError: without photos and sounds, or if VGG16 has no such layer.
    """
    require(fusion, lstm_units, dropout)
    if vgg is None and not patch_dim:
        raise encoders.EncoderError("an encoder needs photos or sounds: both are missing")
    return FUSIONS[fusion](vgg, patch_dim, train_from, lstm_units, dropout)


def require(fusion, lstm_units=64, dropout=0.3, n_patches=32):
    """Raise FusionError for an encoder that cannot be built, or a sound without patches; it names the parameter."""
    if fusion not in FUSIONS:
        raise FusionError(f"fusion is {fusion!r}: choose {' or '.join(FUSIONS)}")
    for name, number in {"lstm_units": lstm_units, "n_patches": n_patches}.items():
        if number < 1:
            raise FusionError(f"{name} is {number}: choose 1 or more")
    if not 0 <= dropout < 1:
        raise FusionError(f"dropout is {dropout:g}: choose a share of 0 or more, below 1")


def _gate(vgg, patch_dim, train_from, lstm_units, dropout):
    image = encoders.image_encoder(vgg, train_from, DIM, dropout) if vgg is not None else None
    audio = encoders.audio_encoder(patch_dim, DIM, units=lstm_units, dropout=dropout) if patch_dim else None
    return encoders.fused_encoder(image, audio)


def _dense(vgg, patch_dim, train_from, lstm_units, dropout):
    """The published network; VGG16's own preprocessing, the mask of padded patches and the zeros in place of an absent modality are not in it."""
    inputs, parts = {}, []
    if vgg is not None:
        inputs["image_features"], maps = encoders.image_trunk(vgg, train_from)
        pooled = keras.layers.GlobalAveragePooling2D(name="image_average")(maps) if len(maps.shape) == 4 else maps
        parts.append(keras.layers.Dense(_IMAGE_UNITS, activation="relu", name="image_dense")(pooled))
    if patch_dim:
        inputs["embeddings"], inputs["weights"] = keras.Input((None, patch_dim), name="embeddings"), keras.Input((None,), name="weights")
        mask = encoders.IsPresent(name="patch_mask")(inputs["weights"])
        last = keras.layers.Bidirectional(keras.layers.LSTM(lstm_units), name="bilstm")(inputs["embeddings"], mask=mask)
        parts.append(keras.layers.Dense(_AUDIO_UNITS, activation="relu", name="audio_dense")(last))
    if len(parts) == 2:
        inputs["presence"] = keras.Input((2,), name="presence")
        parts = encoders.PresentOnly(name="present_only")(parts, inputs["presence"])
    x = keras.layers.Concatenate(name="fusion")(parts) if len(parts) == 2 else parts[0]
    x = keras.layers.Dense(_FUSED_UNITS, activation="relu", name="fusion_dense")(x)
    x = keras.layers.BatchNormalization(name="fusion_normalization")(x)
    return keras.Model(inputs, layers.to_unit_vector(x, DIM, dropout, "fused"), name="fused_encoder")


# another fusion is another entry: a function (vgg, patch_dim, train_from, lstm_units, dropout) → keras.Model
FUSIONS = {"gate": _gate, "dense": _dense}
