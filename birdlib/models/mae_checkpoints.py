"""Published Bird-MAE weights: safetensors files with PyTorch's names, mapped to the layers of ``mae.build_encoder``.

"Can Masked Autoencoders Also Listen to Birds?" (2025). The file holds an encoder: ``patch_embed.proj``, ``cls_token``, ``pos_embed``,
``blocks.0`` and so on, ``norm`` and ``fc_norm``. Names may begin with ``model.`` or ``encoder.``; decoders and heads are
ignored. Positions are taken from the file: they were computed for the transposed spectrogram.
"""

import re
from pathlib import Path

import numpy as np

from birdlib import runtime
from birdlib.models import fbanks, mae

_PREFIXES = re.compile(r"^(module\.|model\.|encoder\.|vit\.)+")
_IGNORED = re.compile(r"^(decoder|head\.|mask_token|classifier\.)")
_NORMS = {"norm": "token_norm", "fc_norm": "embedding_norm"}


class CheckpointError(runtime.FileError):
    """A checkpoint that is damaged or that holds another network."""


def load(path, n_mels=fbanks.N_MELS, heads=None):
    """Build the encoder that fits a checkpoint and set its weights.

    Args:
        path: of a ``.safetensors`` file.
        n_mels: of its spectrograms.
        heads: of its attention, which no tensor shows; None: ``num_heads`` of a ``config.json`` beside it, else as in ``mae.SIZES``.

    Returns:
        keras.Model as from ``mae.build_encoder``.

    Raises:
        CheckpointError: if it cannot be read, lacks a tensor, has one that is not of Bird-MAE, or one of another shape.
    """
    tensors = read(path)
    try:
        positions, kernel = tensors["pos_embed"], tensors["patch_embed.proj.weight"]
        dim, patch = kernel.shape[0], kernel.shape[-1]
        n_frames = (positions.shape[1] - 1) * patch**2 // n_mels
    except (KeyError, IndexError) as error:
        raise CheckpointError(path, f"is no Bird-MAE: pos_embed and patch_embed.proj.weight are not as expected ({error}): give the checkpoint of a Bird-MAE") from error
    depth = 1 + max((int(name.split(".")[1]) for name in tensors if re.match(r"blocks\.\d+\.", name)), default=-1)
    size = {"dim": dim, "depth": depth, "heads": heads or _heads(path, dim)}
    encoder = mae.build_encoder(size, n_frames, n_mels, patch)
    used = set()

    def take(name, like):
        """The tensor of that name, which has as many numbers as ``like``."""
        if name not in tensors:
            raise CheckpointError(path, f"lacks the tensor {name}: fetch it anew")
        used.add(name)
        if tensors[name].size != like.size:
            raise CheckpointError(path, f"{name} has the shape {tensors[name].shape}, which does not fit {like.shape}: put its config.json beside it, or fetch it anew")
        return tensors[name]

    _fill_stem(encoder, take)
    transformer = encoder.get_layer("transformer")
    for i in range(depth):
        _fill_block(transformer, i, dim, take)
    for name, layer in _NORMS.items():
        if name == "norm" or f"{name}.weight" in tensors:  # checkpoints of pretraining have no second norm
            _fill_norm(encoder.get_layer(layer), name, take)
    if unknown := sorted(set(tensors) - used):
        raise CheckpointError(path, f"holds tensors that a Bird-MAE does not have ({', '.join(unknown[:5])}): give the checkpoint of a Bird-MAE")
    return encoder


def read(path):
    """The tensors of the encoder in a ``.safetensors`` file: dict, name without prefix → float32 array.

    Raises:
        CheckpointError: if it is missing, damaged or holds NaN.
    """
    import safetensors

    if not Path(path).is_file():
        raise CheckpointError(path, "does not exist: correct the path, or fetch it with python -m birdlib weights --fetch")
    tensors = {}
    try:
        with safetensors.safe_open(path, framework="np") as file:
            for name in file.keys():
                short = _PREFIXES.sub("", name)
                if not _IGNORED.match(short):
                    tensors[short] = np.asarray(file.get_tensor(name)).astype(np.float32, copy=False)
    except (safetensors.SafetensorError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(path, f"is no whole safetensors file ({error}): fetch it anew") from error
    if wrong := [name for name, tensor in tensors.items() if not np.isfinite(tensor).all()]:
        raise CheckpointError(path, f"{wrong[0]} holds NaN or infinite numbers: fetch it anew")
    return tensors


def _heads(path, dim):
    config = Path(path).with_name("config.json")
    if config.is_file() and "num_heads" in (settings := runtime.read_json(config)):
        return int(settings["num_heads"])
    for size in mae.SIZES.values():
        if size["dim"] == dim:
            return size["heads"]
    raise CheckpointError(path, f"has tokens of {dim} numbers, which is no known size: put its config.json beside it, or name heads")


def _fill_stem(encoder, take):
    stem, token = encoder.get_layer("stem"), encoder.get_layer("transformer").get_layer("class_token")
    projection, positions = stem.get_layer("projection"), stem.get_layer("positions")
    kernel, bias = projection.get_weights()
    weight = take("patch_embed.proj.weight", kernel)  # (dim, 1, patch, patch)
    projection.set_weights([weight.reshape(len(weight), -1).T, take("patch_embed.proj.bias", bias)])
    values = take("pos_embed", np.zeros((1, 1 + positions.positions.shape[0], len(weight))))[0]
    positions.set_weights([values[1:]])
    token.set_weights([take("cls_token", token.get_weights()[0]) + values[0]])


def _fill_block(transformer, i, dim, take):
    theirs, ours = f"blocks.{i}", f"block_{i}"
    _fill_norm(transformer.get_layer(f"{ours}_norm1"), f"{theirs}.norm1", take)
    _fill_norm(transformer.get_layer(f"{ours}_norm2"), f"{theirs}.norm2", take)
    attention = transformer.get_layer(f"{ours}_attention")
    query, query_bias, *_, output, output_bias = attention.get_weights()  # query (dim, heads, dim / heads)
    weights = np.split(take(f"{theirs}.attn.qkv.weight", np.zeros((3 * dim, dim))), 3)
    biases = np.split(take(f"{theirs}.attn.qkv.bias", np.zeros(3 * dim)), 3)
    filled = []
    for weight, bias in zip(weights, biases, strict=True):
        filled += [weight.T.reshape(query.shape), bias.reshape(query_bias.shape)]
    projection = take(f"{theirs}.attn.proj.weight", output)
    attention.set_weights([*filled, projection.T.reshape(output.shape), take(f"{theirs}.attn.proj.bias", output_bias)])
    for layer, name in ((f"{ours}_dense1", "fc1"), (f"{ours}_dense2", "fc2")):
        dense = transformer.get_layer(layer)
        kernel, bias = dense.get_weights()
        weight = take(f"{theirs}.mlp.{name}.weight", kernel)
        dense.set_weights([weight.T, take(f"{theirs}.mlp.{name}.bias", bias)])


def _fill_norm(layer, name, take):
    gamma, beta = layer.get_weights()
    layer.set_weights([take(f"{name}.weight", gamma), take(f"{name}.bias", beta)])
