"""Keras layers that use what a pretrained network knows of species: its own last layer on every patch, and its scores combined with those of a head."""

import keras
from keras import ops

_TEMPERATURE = 2.0  # of log-mean-exp over patches: between their mean, at infinity, and their maximum, at 0
_MIN_SHARE, _MAX_LOGIT = 1e-6, 15.0  # clipped as BirdNET's own tools do


@keras.saving.register_keras_serializable("birdlib")
class PatchClasses(keras.layers.Layer):
    """The last dense layer of a pretrained network on each patch, sigmoids, pooled over patches by log-mean-exp of the logits.

    Inputs: embeddings (batch, patches, dim) and weights (batch, patches); a patch of weight 0 is padding, all others count alike.
    Output: (batch, classes), in [0, 1].

    Args:
        n_classes: columns of the dense layer, which ``set_weights([kernel (dim, classes), bias (classes,)])`` sets.
    """

    def __init__(self, n_classes, name="patch_classes", dtype="float32", **options):
        super().__init__(name=name, dtype=dtype, **options)
        self.n_classes = n_classes

    def build(self, embeddings_shape, weights_shape):
        self.kernel = self.add_weight(name="kernel", shape=(embeddings_shape[-1], self.n_classes), initializer="zeros", trainable=False)
        self.bias = self.add_weight(name="bias", shape=(self.n_classes,), initializer="zeros", trainable=False)

    def call(self, embeddings, weights):
        is_patch = ops.cast(weights > 0, self.compute_dtype)[..., None]  # (batch, patches, 1)
        logits = ops.clip(ops.matmul(embeddings, self.kernel) + self.bias, -_MAX_LOGIT, _MAX_LOGIT)
        mean = ops.sum(is_patch * ops.exp(logits / _TEMPERATURE), axis=1) / ops.maximum(ops.sum(is_patch, axis=1), 1.0)
        return ops.sigmoid(_TEMPERATURE * ops.log(ops.maximum(mean, 1e-9)))

    def compute_output_shape(self, embeddings_shape, weights_shape):
        return (embeddings_shape[0], self.n_classes)

    def get_config(self):
        return super().get_config() | {"n_classes": self.n_classes}


@keras.saving.register_keras_serializable("birdlib")
class LogLinear(keras.layers.Layer):
    """Probabilities of a head combined with scores of a network that knows some of the classes: the weighted mean of their logarithms.

    Of ``single`` the result is scaled to the sum of the head's probabilities, of ``multi`` the mean is that of log odds. A class that the network
    does not know takes part with the head's probability.

    Inputs: probabilities and scores, (batch, classes) each; the scores of unknown classes do not matter. Output: (batch, classes).

    Args:
        weight: of the scores, in [0, 1].
        is_known: list of bool, for each class.
    """

    def __init__(self, weight, is_known, mode, name="log_linear", dtype="float32", **options):
        super().__init__(name=name, dtype=dtype, **options)
        self.weight, self.is_known, self.mode = float(weight), [bool(known) for known in is_known], mode

    def call(self, probabilities, scores):
        return log_linear(probabilities, scores, self.weight, self.is_known, self.mode)

    def compute_output_shape(self, probabilities_shape, scores_shape):
        return probabilities_shape

    def get_config(self):
        return super().get_config() | {"weight": self.weight, "is_known": self.is_known, "mode": self.mode}


def log_linear(probabilities, scores, weight, is_known, mode):
    """As of ``LogLinear``: tensors of the backend."""
    known = ops.convert_to_tensor([[float(known) for known in is_known]])  # (1, classes)
    probabilities = ops.cast(probabilities, "float32")
    scores = known * ops.cast(scores, "float32") + (1.0 - known) * probabilities
    own, other = (ops.clip(part, _MIN_SHARE, 1.0 - _MIN_SHARE) for part in (probabilities, scores))
    if mode == "multi":
        return ops.sigmoid((1.0 - weight) * _logit(own) + weight * _logit(other))
    together = ops.softmax((1.0 - weight) * ops.log(own) + weight * ops.log(other), axis=-1)
    return together * ops.sum(probabilities, axis=-1, keepdims=True)


def _logit(p):
    return ops.log(p) - ops.log(1.0 - p)
