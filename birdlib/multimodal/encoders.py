"""Encoders of a photo, a sound, or both: to one unit vector per sample, near those of the same species.

A sound is its YAMNet patches, (patches, patch_dim), with a weight for each; weight 0 is padding and changes nothing. A photo
is RGB 0-255, (224, 224, 3), or, in training, its features from the frozen part of VGG16, which are computed once.
``presence`` (2,) flags whether there is a photo and whether there is a sound: an absent one has no influence.
Every model is Functional and holds its preprocessing; layers of ``keras.ops`` run on TensorFlow, JAX and torch.
"""

import keras
import numpy as np
from keras import ops

from birdlib import runtime
from birdlib.models import layers, saved
from birdlib.models.vgg16 import IMAGE_SIZE

_EMBEDDING_DIM = 128
_MEANS_RGB = (123.68, 116.779, 103.939)  # of ImageNet, subtracted in VGG16's own training


class EncoderError(runtime.BirdlibError):
    """An encoder that cannot be built as configured."""


def frozen_vgg16(vgg, train_from="block5_conv1"):
    """The part of VGG16 that is not trained, its preprocessing included ("Very Deep Convolutional Networks ...", 2015).

    Args:
        vgg: from ``vgg16.load``.
        train_from: name of the first layer that will be trained; ``""`` freezes all.

    Returns:
        keras.Model, images (batch, 224, 224, 3) RGB 0-255 → feature maps (batch, height, width, channels); where all is frozen,
        their mean and maximum over the picture, (batch, 1024); where all is trained, the picture as VGG16 takes it.

    Raises:
        EncoderError: if VGG16 has no such convolution.
    """
    frozen, trained = _split_layers(vgg, train_from)
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="image")
    x = keras.layers.Rescaling(1.0, offset=[-mean for mean in _MEANS_RGB])(images)
    if frozen:
        first = frozen[0].__class__.from_config(frozen[0].get_config())
        x = first(x)
        kernel, bias = frozen[0].get_weights()
        first.set_weights([kernel[:, :, ::-1], bias])  # VGG16 takes BGR
    else:
        to_bgr = keras.layers.Conv2D(3, 1, use_bias=False, name="to_bgr")
        x = to_bgr(x)
        to_bgr.set_weights([np.eye(3)[::-1].reshape(1, 1, 3, 3)])
    for layer in frozen[1:]:
        x = layer(x)
    model = keras.Model(images, x if trained else _pool_picture(x), name="frozen_vgg16")
    model.trainable = False
    return model


def image_trunk(vgg, train_from="block5_conv1"):
    """The rest of VGG16, which is trained.

    Args:
        vgg, train_from: as in ``frozen_vgg16``.

    Returns:
        (features, maps): the Keras input named ``image_features``, as ``frozen_vgg16`` gives it, and VGG16's last feature maps
        (batch, 7, 7, 512); where all is frozen, the features themselves, which are pooled.
    """
    frozen, trained = _split_layers(vgg, train_from)
    maps_shape = (frozen[-1] if frozen else vgg.layers[0]).output.shape[1:]
    features = keras.Input(maps_shape if trained else (2 * maps_shape[-1],), name="image_features")
    x = features
    for layer in trained:
        layer.trainable = True
        x = layer(x)
    return features, x


def image_encoder(vgg, train_from="block5_conv1", dim=_EMBEDDING_DIM, dropout=0.3):
    """Features of ``frozen_vgg16`` to a vector: the rest of VGG16, mean and maximum over the picture, a dense layer.

    Args:
        vgg, train_from: as in ``frozen_vgg16``.

    Returns:
        keras.Model, {"image_features"} → (batch, dim) unit vectors.
    """
    features, x = image_trunk(vgg, train_from)
    x = layers.to_unit_vector(_pool_picture(x) if len(x.shape) == 4 else x, dim, dropout, "image")
    return keras.Model({"image_features": features}, x, name="image_encoder")


def audio_encoder(patch_dim, dim=_EMBEDDING_DIM, view_dim=1024, units=64, dropout=0.3):
    """A sequence of patches to a vector: bidirectional LSTM over time, beside the pooled patches, which ignore their order.

    Args:
        patch_dim: size of a patch embedding; ``view_dim``: see ``layers.PatchPooling``.
        units: of the LSTM, each way.

    Returns:
        keras.Model, {"embeddings": (batch, patches, patch_dim), "weights": (batch, patches)} → (batch, dim) unit vectors.
    """
    embeddings = keras.Input((None, patch_dim), name="embeddings")
    weights = keras.Input((None,), name="weights")
    pooled = layers.PatchPooling(view_dim)(embeddings, weights)  # (batch, 2 * patch_dim)
    x = keras.layers.LayerNormalization(name="patch_scale")(embeddings)
    x = keras.layers.Dense(2 * units, activation="relu", name="patch_projection")(x)
    mask = IsPresent(name="patch_mask")(weights)
    lstm = keras.layers.LSTM(units, return_sequences=True)
    x = keras.layers.Bidirectional(lstm, name="bilstm")(x, mask=mask)  # (batch, patches, 2 * units)
    x = WeightedMean(name="over_time")(x, weights)
    parts = [layers.UnitVector()(part) for part in (x, pooled)]
    x = layers.to_unit_vector(keras.layers.Concatenate()(parts), dim, dropout, "audio")
    return keras.Model({"embeddings": embeddings, "weights": weights}, x, name="audio_encoder")


def fused_encoder(image=None, audio=None):
    """Photo and sound to one unit vector: the sum of the two vectors, weighted by a small gate on both.

    Args:
        image, audio: from ``image_encoder`` and ``audio_encoder``; None for a modality that is not used.

    Returns:
        keras.Model, {"image_features", "embeddings", "weights", "presence" (batch, 2)} → (batch, dim); with one encoder, that encoder.

    Raises:
        EncoderError: without any encoder.
    """
    if image is None and audio is None:
        raise EncoderError("an encoder needs photos or sounds: both are missing")
    if image is None or audio is None:
        return image or audio
    inputs = {**image.input, **audio.input, "presence": keras.Input((2,), name="presence")}
    fused = GatedSum(name="fusion")([image.output, audio.output], inputs["presence"])
    return keras.Model(inputs, layers.UnitVector(name="fused_embedding")(fused), name="fused_encoder")


def with_images(frozen, encoder):
    """The whole encoder for use, which takes pictures in place of their frozen features.

    Returns:
        keras.Model, {"image": (batch, 224, 224, 3) RGB 0-255, ...} → (batch, dim).
    """
    inputs = {name: keras.Input(x.shape[1:], name=name) for name, x in encoder.input.items() if name != "image_features"}
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="image")
    embedding = encoder({"image_features": frozen(images), **inputs})
    return keras.Model({"image": images, **inputs}, embedding, name="whole_encoder")


def load(path):
    """A saved encoder, ready to use."""
    return saved.load(path)


def _split_layers(vgg, train_from):
    """(frozen layers, trained layers) of VGG16, without its input."""
    whole = vgg.layers[1:]
    names = [layer.name for layer in whole]
    if not train_from:
        return whole, []
    convolutions = [name for name in names if "conv" in name]
    if train_from not in convolutions:
        raise EncoderError(f"train_from is {train_from!r}: choose '' (nothing) or one of {', '.join(convolutions)}")
    at = names.index(train_from)
    return whole[:at], whole[at:]


def _pool_picture(maps):
    """Mean and maximum over the picture, each scaled to unit length: (batch, 2 * channels)."""
    pools = [keras.layers.GlobalAveragePooling2D()(maps), keras.layers.GlobalMaxPooling2D()(maps)]
    return keras.layers.Concatenate()([layers.UnitVector()(pool) for pool in pools])


@keras.saving.register_keras_serializable("birdlib")
class IsPresent(keras.layers.Layer):
    """Weights (batch, patches) → mask (batch, patches) of bool: weight above 0."""

    def call(self, weights):
        return weights > 0


@keras.saving.register_keras_serializable("birdlib")
class WeightedMean(keras.layers.Layer):
    """(batch, patches, dim) and weights (batch, patches) → (batch, dim); the mask ends here."""

    supports_masking = True

    def compute_mask(self, *_):
        return None

    def call(self, x, weights):
        weights = ops.cast(weights, x.dtype)[..., None]
        return ops.sum(weights * x, axis=1) / ops.maximum(ops.sum(weights, axis=1), 1e-6)


@keras.saving.register_keras_serializable("birdlib")
class GatedSum(keras.layers.Layer):
    """Vectors (batch, dim) of n modalities and presence (batch, n) → their sum, weighted by a softmax over those present."""

    def build(self, vectors_shape, presence_shape):
        n = len(vectors_shape)
        self.gate = keras.layers.Dense(n, kernel_initializer="zeros", dtype=self.dtype_policy, name="gate")
        self.gate.build((None, sum(shape[-1] for shape in vectors_shape) + n))

    def call(self, vectors, presence):
        presence = ops.cast(presence, vectors[0].dtype)  # (batch, n)
        present = [vector * presence[:, i : i + 1] for i, vector in enumerate(vectors)]
        logits = self.gate(ops.concatenate([*present, presence], axis=-1))
        gates = ops.softmax(ops.where(presence > 0, logits, -1e4), axis=-1)  # (batch, n)
        return sum(gates[:, i : i + 1] * vector for i, vector in enumerate(present))

    def compute_output_shape(self, vectors_shape, presence_shape):
        return vectors_shape[0]


@keras.saving.register_keras_serializable("birdlib")
class PresentOnly(keras.layers.Layer):
    """Features of n modalities, (batch, units) each, and presence (batch, n) → the same, zeros where a modality is absent."""

    def call(self, features, presence):
        presence = ops.cast(presence, features[0].dtype)
        return [part * presence[:, i : i + 1] for i, part in enumerate(features)]

    def compute_output_shape(self, features_shape, presence_shape):
        return features_shape
