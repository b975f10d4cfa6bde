"""Keras layers of probes: frozen features scaled for comparison, and a vote of the nearest training examples."""

import keras
from keras import ops

_MIN_NORM = 1e-6


@keras.saving.register_keras_serializable("birdlib")
class BlockFeatures(keras.layers.Layer):
    """Part of a feature vector, standardised and scaled to unit length.

    The part is scaled to unit length first, so that the level of the other parts has no effect.

    Inputs: (batch, features). Output: (batch, numbers of the part).

    Args:
        spans: list of [first, end), the columns of the part.
    """

    def __init__(self, spans, name="block_features", dtype="float32", **options):
        super().__init__(name=name, dtype=dtype, **options)
        self.spans = [list(map(int, span)) for span in spans]
        self.n_numbers = sum(end - first for first, end in self.spans)

    def build(self, shape):
        options = {"shape": (self.n_numbers,), "trainable": False}
        self.mean = self.add_weight(name="mean", initializer="zeros", **options)
        self.deviation = self.add_weight(name="deviation", initializer="ones", **options)

    def call(self, features):
        return _unit((self.part(features) - self.mean) / self.deviation)

    def part(self, features):
        """The part at unit length, before it is standardised."""
        return _unit(ops.concatenate([features[:, first:end] for first, end in self.spans], axis=-1))

    def compute_output_shape(self, shape):
        return (shape[0], self.n_numbers)

    def get_config(self):
        return super().get_config() | {"spans": self.spans}


@keras.saving.register_keras_serializable("birdlib")
class NearestNeighbours(keras.layers.Layer):
    """Probabilities as the labels of the most similar training examples, weighted by softmax(cosine / temperature).

    "A k-nearest-neighbour classifier on frozen features", as in "Unsupervised Feature Learning via Non-Parametric Instance Discrimination" (2018),
    with its temperature of 0.07; labels may be several a row.

    Inputs: (batch, numbers) of unit length. Output: (batch, classes), in [0, 1].

    Args:
        n_examples, n_classes: of the training set, which ``set_weights([examples (n, numbers), labels (n, classes)])`` sets.
        k: neighbours, at most all examples.
    """

    def __init__(self, n_examples, n_classes, k=10, temperature=0.07, name="nearest_neighbours", dtype="float32", **options):
        super().__init__(name=name, dtype=dtype, **options)
        self.n_examples, self.n_classes, self.k, self.temperature = n_examples, n_classes, min(k, n_examples), temperature

    def build(self, shape):
        self.examples = self.add_weight(name="examples", shape=(self.n_examples, shape[-1]), initializer="zeros", trainable=False)
        self.labels = self.add_weight(name="labels", shape=(self.n_examples, self.n_classes), initializer="zeros", trainable=False)

    def call(self, features):
        cosines = ops.matmul(features, ops.transpose(self.examples))  # (batch, examples)
        nearest, rows = ops.top_k(cosines, self.k)  # (batch, k)
        votes = ops.softmax(nearest / self.temperature, axis=-1)
        return ops.sum(votes[..., None] * ops.take(self.labels, rows, axis=0), axis=1)

    def compute_output_shape(self, shape):
        return (shape[0], self.n_classes)

    def get_config(self):
        return super().get_config() | {"n_examples": self.n_examples, "n_classes": self.n_classes, "k": self.k, "temperature": self.temperature}


def _unit(features):
    return features / ops.maximum(ops.norm(features, axis=-1, keepdims=True), _MIN_NORM)
