"""What a pretrained embedder knows of the species at hand without any training: its own last layer, as a layer on its embeddings."""

import dataclasses

import numpy as np

from birdlib.models import birdnet, weights


@dataclasses.dataclass(frozen=True)
class LastLayer:
    """The dense layer of an embedder's network: ``kernel`` (dim, its classes), ``bias`` (its classes,), and ``species``, a row a class."""

    kernel: np.ndarray
    bias: np.ndarray
    species: object

    def columns(self, numbers):
        """The layer for some classes, a ``PatchClasses``: embeddings and weights → (batch, classes).

        Args:
            numbers: (classes,) of the species' rows; -1 for a class that the network does not know, whose scores are 0.5.
        """
        from birdlib.models import zero_shot_layers

        numbers = np.asarray(numbers)
        is_known = numbers >= 0
        layer = zero_shot_layers.PatchClasses(len(numbers))
        layer.build((None, None, len(self.kernel)), (None, None))
        layer.set_weights([np.where(is_known, self.kernel[:, numbers], 0.0), np.where(is_known, self.bias[numbers], 0.0)])
        return layer


def _birdnet(weights_dir):
    source = weights.fetch("birdnet", weights_dir)
    return LastLayer(*birdnet.last_layer(source), birdnet.species(source))


LAST_LAYERS = {"birdnet": _birdnet}  # embedder → its last layer; of Perch the SavedModel does not show it


def load(embedder, weights_dir=""):
    """The LastLayer of an embedder; None where it knows no species, or its network does not show that layer.

    Raises:
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    return LAST_LAYERS[embedder](weights_dir) if embedder in LAST_LAYERS else None
