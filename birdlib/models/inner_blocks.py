"""Embedders of inner blocks: the mean over time and frequency of what the blocks of a pretrained network compute, side by side.

The last layers of a network are the most specialised to the classes that it was trained on, so for other species and sounds an inner block may
separate better. ``blocks`` of an embedder names the columns of each block; its last one is the network's own embedding.
"""

from birdlib import runtime
from birdlib.models import base, birdnet, yamnet, yamnet_embedder

_BANDS_BLOCK, BANDS_DIM = 7, 4 * 512


class BirdnetBlocksEmbedder(birdnet.BirdnetEmbedder):
    """BirdNET's residual blocks, such as ``4-3``, and its embedding.

    Args:
        source, network: of ``birdnet.load``, with ``blocks``.
    """

    def __init__(self, source, network):
        super().__init__(source, network)
        self.name, self.blocks = "birdnet_blocks", network.blocks
        self.key = runtime.digest({"key": self.key, "blocks": list(self.blocks)})


class YamnetBlocksEmbedder(yamnet_embedder.YamnetEmbedder):
    """YAMNet's pointwise convolutions, ``1`` to ``12``, and its embedding, in TensorFlow; without the octave-down view.

    Args:
        source, model: of ``yamnet.load``.

    Raises:
        EmbedderError: for the official SavedModel, whose layers cannot be reached.
    """

    name = "yamnet_blocks"

    def __init__(self, source, model):
        if model.body is None:
            raise base.EmbedderError("the layers of YAMNet's official SavedModel cannot be reached: leave yamnet_blocks out, or remove the SavedModel")
        body, self.blocks = _with_blocks(model.body)
        super().__init__(source, yamnet.Yamnet(model.class_names, model.predict, model.front_end, body), octave_down=False, backend="tensorflow")
        self.dim = list(self.blocks.values())[-1][1]
        self.key = runtime.digest({"key": self.key, "blocks": list(self.blocks)})
        self.weights = {"yamnet": self.weights.pop(self.name)}


class YamnetBandsEmbedder(yamnet_embedder.YamnetEmbedder):
    """YAMNet's seventh pointwise convolution, averaged over time only: 512 numbers for each of its four bands of frequency, in TensorFlow.

    For species that YAMNet was not trained on it separates better than the last embedding, and the bands keep the pitch that a mean over frequency
    loses. The bird score is YAMNet's own.

    Args:
        source, model: of ``yamnet.load``.
        octave_down: as of ``yamnet_embedder.YamnetEmbedder``.

    Raises:
        EmbedderError: for the official SavedModel, whose layers cannot be reached.
    """

    name = "yamnet_bands"

    def __init__(self, source, model, octave_down=True):
        if model.body is None:
            raise base.EmbedderError("the layers of YAMNet's official SavedModel cannot be reached: leave yamnet_bands out, or remove the SavedModel")
        super().__init__(source, yamnet.Yamnet(model.class_names, model.predict, model.front_end, _bands(model.body)), octave_down, backend="tensorflow")
        self.dim = BANDS_DIM * (2 if octave_down else 1)
        self.key = runtime.digest({"key": self.key, "block": _BANDS_BLOCK})
        self.weights = {"yamnet": self.weights.pop(self.name)}


def _bands(body):
    """keras.Model, patches → {"scores", "embeddings"}: of the block, (batch, time, bands, channels), the mean over time."""
    import keras

    block = _pointwise(body)[_BANDS_BLOCK - 1].output
    n_bands, n_channels = block.shape[2:]
    mean = keras.layers.AveragePooling2D((block.shape[1], 1))(block)  # (batch, 1, bands, channels)
    outputs = {"scores": body.output["scores"], "embeddings": keras.layers.Reshape((n_bands * n_channels,))(mean)}
    return keras.Model(body.input, outputs, name="body")


def _pointwise(body):
    """YAMNet's pointwise convolutions but the last, whose mean is the embedding."""
    import keras

    return [layer for layer in body.layers if isinstance(layer, keras.layers.Conv2D)][1:-1]


def _with_blocks(body):
    """(keras.Model, patches → {"scores", "embeddings"}, the latter being the means of all blocks side by side; blocks)."""
    import keras

    outputs = {str(number): keras.layers.GlobalAveragePooling2D()(layer.output) for number, layer in enumerate(_pointwise(body), start=1)}
    outputs["embedding"] = body.output["embeddings"]
    together = keras.layers.Concatenate()(list(outputs.values()))
    model = keras.Model(body.input, {"scores": body.output["scores"], "embeddings": together}, name="body")
    return model, base.spans({name: output.shape[-1] for name, output in outputs.items()})
