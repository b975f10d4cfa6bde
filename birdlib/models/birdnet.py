"""BirdNET V2.4, the float TFLite model: 3 s of sound at 48 kHz in, 6,522 species and a 1024-d embedding out.

"BirdNET: A deep learning solution for avian diversity monitoring" (2021). Its weights are CC BY-NC-SA 4.0: no commercial use, and
derived work under the same licence; the receipt of a stage that used them states it.
"""

import re
import warnings

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.models import base, litert

SAMPLE_RATE_HZ = 48_000
PATCH_S, HOP_S = 3.0, 1.5  # half a patch apart: a song of 1.5 s is whole in at least one patch
PATCH_SAMPLES, HOP_SAMPLES = 144_000, 72_000
_NOT_WILD = {"Engine", "Environmental", "Fireworks", "Gun", "Noise", "Power tools", "Siren"}
_NOT_WILD |= {"Dog", "Human non-vocal", "Human vocal", "Human whistle"}
_LABELS = "BirdNET_GLOBAL_6K_V2.4_Labels.txt"
_MODEL = "BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"
_BLOCK = re.compile(r"model/BLOCK_(\d+-\d+)_ADD/add")  # the output of a residual block
_MAX_DIFFERENCE = 1e-3  # of the scores before the sigmoid, see ``load``


class BirdnetError(runtime.BirdlibError):
    """A BirdNET that cannot be used on this machine."""


def species(source):
    """The classes of BirdNET, in the order of its scores.

    Args:
        source: from ``weights.fetch``.

    Returns:
        DataFrame: ``species`` (the scientific name), ``common_name``, and ``is_wild``: False for people, dogs, engines and
        the like. Some wild classes are insects, frogs and mammals.
    """
    lines = (source.path / _LABELS).read_text(encoding="utf-8").splitlines()  # Scientific name_Common name
    names = [line.partition("_") for line in lines if line]
    table = pd.DataFrame([(first, last) for first, _, last in names], columns=["species", "common_name"])
    return table.assign(is_wild=~table["species"].isin(_NOT_WILD))


def load(source, n_threads=2):
    """Load the weights that ``weights.fetch`` found, as a ``base.Network``.

    The embedding is no output of the model but the tensor before its last layer, which LiteRT may overwrite. So it is checked: the last
    layer, computed by NumPy from it, must give the scores.

    Raises:
        BirdnetError: if it does not, or if labels and classes differ in number.
    """
    interpreter = _open(source, n_threads)
    table, run = species(source), _runner(interpreter)
    logits_out = interpreter.get_output_details()[0]

    def predict_one(patch):
        run(patch)
        return interpreter.get_tensor(logits_out["index"])[0], interpreter.get_tensor(logits_out["index"] - 1)[0]

    if len(table) != logits_out["shape"][-1]:
        raise BirdnetError(f"{source.path}: {len(table)} labels for {logits_out['shape'][-1]} classes: fetch both anew")
    return base.Network(table, _each(predict_one), _require_embedding(interpreter, predict_one, source.path))


def load_blocks(source, n_threads=2):
    """As ``load``, with the means over time and frequency of the residual blocks side by side, and the embedding behind them, as the embedding.

    Blocks are called as in the model, ``stage-number``, such as ``4-3``; the first of a stage has no residual connection and is left out.

    Raises:
        BirdnetError: as of ``load``, or if the model has no such blocks.
    """
    load(source, n_threads)  # checks the file
    interpreter = _open(source, n_threads)
    tensors = {match[1]: tensor["index"] for tensor in interpreter.get_tensor_details() if (match := _BLOCK.fullmatch(tensor["name"]))}
    run, logits_out = _runner(interpreter), interpreter.get_output_details()[0]["index"]
    if not tensors:
        raise BirdnetError(f"{source.path} has no residual blocks with names: leave birdnet_blocks out")

    def means():
        return {name: interpreter.get_tensor(index)[0].mean(axis=(0, 1)) for name, index in tensors.items()}

    def predict_one(patch):
        run(patch)
        return interpreter.get_tensor(logits_out)[0], np.concatenate([*means().values(), interpreter.get_tensor(logits_out - 1)[0]])

    run(np.zeros(PATCH_SAMPLES))
    sizes = {name: len(mean) for name, mean in means().items()} | {"embedding": interpreter.get_tensor(logits_out - 1).shape[-1]}
    return base.Network(species(source), _each(predict_one), sum(sizes.values()), base.spans(sizes))


def _open(source, n_threads):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # keeping all tensors takes some 200 MB
        return litert.open_interpreter(source.path / _MODEL, n_threads, experimental_preserve_all_tensors=True)


def _runner(interpreter):
    patch_in = interpreter.get_input_details()[0]["index"]

    def run(patch):
        interpreter.set_tensor(patch_in, np.asarray(patch, np.float32)[None])
        interpreter.invoke()

    return run


def _each(predict_one):
    return lambda patches: tuple(np.stack(parts) for parts in zip(*map(predict_one, patches), strict=True))


def last_layer(source):
    """The dense layer behind the embedding, which gives the scores before their sigmoid: (kernel (dim, classes), bias (classes,)) float32.

    Raises:
        BirdnetError: if it is not found.
    """
    kernel, bias = _last_layer(_open(source, 1), len(species(source)))
    if kernel is None or bias is None:
        raise BirdnetError(f"{source.path} has no dense layer for its labels: fetch birdnet anew")
    return kernel.T, bias


def _last_layer(interpreter, n_classes):
    """(kernel (classes, dim), bias), found by their shapes; None for what is not there."""
    shapes = {tuple(tensor["shape"]): tensor["index"] for tensor in interpreter.get_tensor_details()}
    kernel = next((index for shape, index in shapes.items() if len(shape) == 2 and shape[0] == n_classes and shape[1] > 1), None)
    return tuple(None if index is None else interpreter.get_tensor(index) for index in (kernel, shapes.get((n_classes,))))


def _require_embedding(interpreter, predict, path):
    """The size of the embedding, after checking that it is one."""
    logits, embedding = predict(np.random.default_rng(0).standard_normal(PATCH_SAMPLES, dtype=np.float32))
    kernel, bias = _last_layer(interpreter, len(logits))
    if kernel is not None and bias is not None and kernel.shape[1:] == embedding.shape:
        expected = kernel @ embedding + bias  # (classes,)
        if np.abs(expected - logits).max() < _MAX_DIFFERENCE:
            return len(embedding)
    raise BirdnetError(f"{path}: this version of LiteRT does not give BirdNET's embedding: update ai-edge-litert")


class BirdnetEmbedder(base.BatchedEmbedder):
    """BirdNET's 1024-d embedding of each patch of 3 s, see ``embedders``.

    BirdNET uses frequencies below 15 kHz and scales each patch to full volume: a patch of faint noise is loud noise.
    """

    sample_rate_hz = SAMPLE_RATE_HZ
    patch_s, hop_s = PATCH_S, HOP_S
    patch_samples, hop_samples, batch_size = PATCH_SAMPLES, HOP_SAMPLES, 16

    def __init__(self, source, network):
        super().__init__(source, network, "litert")

    def _predict(self, patches):
        logits, embeddings = self._network(patches)
        scores = 1.0 / (1.0 + np.exp(-np.clip(logits, -15.0, 15.0)))  # clipped as BirdNET's own tools do
        return embeddings, scores.astype(np.float32)
