import json

import numpy as np
import pytest
from scipy.special import erf, softmax
from tiny_mae import N_FRAMES, N_MELS, N_PATCHES, arrays, spectrograms

from birdlib.models import mae_checkpoints

DIM, DEPTH, HEADS = 16, 2, 2


def published(rng):
    """Tensors named and laid out as in the published file, a tiny network's."""
    shapes = {
        "cls_token": (1, 1, DIM),
        "pos_embed": (1, 1 + N_PATCHES, DIM),
        "patch_embed.proj.weight": (DIM, 1, 16, 16),
        "patch_embed.proj.bias": (DIM,),
    }
    for name in ("norm", "fc_norm", *(f"blocks.{i}.norm{k}" for i in range(DEPTH) for k in (1, 2))):
        shapes |= {f"{name}.weight": (DIM,), f"{name}.bias": (DIM,)}
    for i in range(DEPTH):
        for name, n_in, n_out in (
            ("attn.qkv", 16, 48),
            ("attn.proj", 16, 16),
            ("mlp.fc1", 16, 64),
            ("mlp.fc2", 64, 16),
        ):
            shapes |= {f"blocks.{i}.{name}.weight": (n_out, n_in), f"blocks.{i}.{name}.bias": (n_out,)}
    return {name: np.float32(0.3 * rng.normal(size=shape)) for name, shape in shapes.items()}


def published_outputs(tensors, spectrogram):
    """Outputs of the published network for a spectrogram (frames, mels), in double precision: (embedding, tokens)."""
    t = {name: tensor.astype(float) for name, tensor in tensors.items()}

    def norm(x, name):
        x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6)
        return x * t[f"{name}.weight"] + t[f"{name}.bias"]

    def linear(x, name):
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    rows = []
    for start in range(0, N_FRAMES, 16):  # a convolution with stride 16, row by row
        for low in range(0, N_MELS, 16):
            patch = spectrogram[start : start + 16, low : low + 16]
            rows.append(np.einsum("dcij,ij->d", t["patch_embed.proj.weight"], patch) + t["patch_embed.proj.bias"])
    x = np.concatenate([t["cls_token"][0], np.array(rows)]) + t["pos_embed"][0]
    for i in range(DEPTH):
        query, key, value = np.split(linear(norm(x, f"blocks.{i}.norm1"), f"blocks.{i}.attn.qkv"), 3, axis=1)
        heads = []
        for columns in np.split(np.arange(DIM), HEADS):
            attention = softmax(query[:, columns] @ key[:, columns].T / np.sqrt(DIM / HEADS), axis=1)
            heads.append(attention @ value[:, columns])
        x = x + linear(np.concatenate(heads, axis=1), f"blocks.{i}.attn.proj")
        hidden = linear(norm(x, f"blocks.{i}.norm2"), f"blocks.{i}.mlp.fc1")
        x = x + linear(hidden * (1 + erf(hidden / np.sqrt(2))) / 2, f"blocks.{i}.mlp.fc2")
    return norm(x[1:].mean(axis=0), "fc_norm"), norm(x, "norm")


def write(folder, tensors, config=True):
    from safetensors.numpy import save_file

    path = folder / "model.safetensors"
    save_file(tensors, path)
    if config:
        (folder / "config.json").write_text(json.dumps({"num_heads": HEADS, "embed_dim": DIM}))
    return path


@pytest.fixture
def tensors():
    return published(np.random.default_rng(0))


def test_outputs_equal_those_of_the_published_network(tensors, tmp_path):
    clips = spectrograms(2, np.random.default_rng(1))
    outputs = arrays(mae_checkpoints.load(write(tmp_path, tensors), N_MELS)(clips))
    for clip, embedding, tokens in zip(clips, outputs["embedding"], outputs["tokens"], strict=True):
        expected = published_outputs(tensors, clip)
        assert np.allclose(embedding, expected[0], atol=1e-4) and np.allclose(tokens, expected[1], atol=1e-4)


def test_prefixes_decoders_and_heads_are_ignored(tensors, tmp_path):
    clips = spectrograms(1, np.random.default_rng(1))
    plain = arrays(mae_checkpoints.load(write(tmp_path, tensors), N_MELS)(clips))
    wrapped = {f"model.encoder.{name}": tensor for name, tensor in tensors.items()}
    wrapped |= {"decoder.pos_embed": np.zeros((1, 9, 4), np.float32), "head.weight": np.zeros((5, DIM), np.float32)}
    other = arrays(mae_checkpoints.load(write(tmp_path, wrapped), N_MELS)(clips))
    assert np.array_equal(plain["tokens"], other["tokens"])


def test_float16_tensors_are_read_as_float32(tensors, tmp_path):
    read = mae_checkpoints.read(write(tmp_path, {name: tensor.astype(np.float16) for name, tensor in tensors.items()}))
    assert all(read[name].dtype == np.float32 and np.allclose(read[name], tensors[name], atol=1e-3) for name in tensors)


def test_a_checkpoint_of_pretraining_has_no_second_norm(tensors, tmp_path):
    del tensors["fc_norm.weight"], tensors["fc_norm.bias"]
    norm = mae_checkpoints.load(write(tmp_path, tensors), N_MELS).get_layer("embedding_norm")
    assert [weight.tolist() for weight in norm.get_weights()] == [[1.0] * DIM, [0.0] * DIM]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("blocks.1.mlp.fc2.bias"), "lacks the tensor blocks.1.mlp.fc2.bias"),
        (lambda t: t.pop("pos_embed"), "is no Bird-MAE"),
        (lambda t: t.update({"blocks.0.ls1.gamma": np.ones(DIM, np.float32)}), r"does not have \(blocks.0.ls1.gamma\)"),
        (lambda t: t.update({"norm.weight": np.ones(DIM + 1, np.float32)}), "norm.weight has the shape"),
        (lambda t: t.update({"norm.bias": np.full(DIM, np.nan, np.float32)}), "norm.bias holds NaN"),
    ],
)
def test_another_network_is_an_error_that_names_the_tensor(tensors, tmp_path, change, message):
    change(tensors)
    path = write(tmp_path, tensors)
    with pytest.raises(mae_checkpoints.CheckpointError, match=message) as caught:
        mae_checkpoints.load(path, N_MELS)
    assert str(path) in str(caught.value)


def test_a_truncated_or_missing_checkpoint_is_an_error(tensors, tmp_path):
    path = write(tmp_path, tensors)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(mae_checkpoints.CheckpointError, match="no whole safetensors file"):
        mae_checkpoints.read(path)
    with pytest.raises(mae_checkpoints.CheckpointError, match="does not exist"):
        mae_checkpoints.read(tmp_path / "nowhere.safetensors")


def test_an_unknown_size_needs_the_number_of_heads(tensors, tmp_path):
    path = write(tmp_path, tensors, config=False)
    with pytest.raises(mae_checkpoints.CheckpointError, match="name heads"):
        mae_checkpoints.load(path, N_MELS)
    clips = spectrograms(1, np.random.default_rng(1))
    embedding = arrays(mae_checkpoints.load(path, N_MELS, heads=HEADS)(clips))["embedding"][0]
    assert np.allclose(embedding, published_outputs(tensors, clips[0])[0], atol=1e-4)
