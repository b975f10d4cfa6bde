"""The means of inner blocks: of BirdNET's residual blocks through LiteRT, and of YAMNet's layers."""

import numpy as np
import pytest
import tiny_tflite

from birdlib.models import base, birdnet, embedders, inner_blocks, litert, yamnet, yamnet_embedder

LABELS = ["Turdus merula_Eurasian Blackbird", "Engine_Engine", "Pica pica_Eurasian Magpie"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A network in the form of BirdNET's, whose two residual blocks have its names."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    kernels = [tf.constant(rng.normal(0, 0.2, (1, 1, 4, 4)).astype(np.float32)) for _ in range(2)]
    last, bias = (tf.constant(rng.normal(0, 1, shape).astype(np.float32)) for shape in ((4, 3), (3,)))

    @tf.function(input_signature=[tf.TensorSpec((1, birdnet.PATCH_SAMPLES), tf.float32)])
    def network(waveform):
        x = tf.reduce_mean(tf.reshape(waveform, (1, 12, 30, 4, 100)), axis=-1)
        with tf.name_scope("model"):
            for number, kernel in enumerate(kernels, start=2):
                x = tf.raw_ops.AddV2(x=x, y=tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME")), name=f"BLOCK_1-{number}_ADD/add")
        return tf.matmul(tf.reduce_mean(tf.abs(x), axis=(1, 2)), last) + bias

    return tiny_tflite.source("birdnet", tmp_path_factory.mktemp("birdnet"), network, LABELS)


def noise(n_samples):
    return (0.1 * np.random.default_rng(0).standard_normal(n_samples)).astype(np.float32)


def test_blocks_lie_side_by_side_with_the_embedding_last(small):
    embedder = inner_blocks.BirdnetBlocksEmbedder(small, birdnet.load_blocks(small))
    assert embedder.blocks == {"1-2": (0, 4), "1-3": (4, 8), "embedding": (8, 12)} and embedder.dim == 12
    embeddings, bird_score = embedder.embed(noise(480_000))
    assert embeddings.shape == (6, 12) and bird_score.shape == (6,)
    own = birdnet.BirdnetEmbedder(small, birdnet.load(small))
    assert embeddings[:, 8:] == pytest.approx(own.embed(noise(480_000))[0]) and embedder.key != own.key


def test_a_network_without_named_blocks_is_refused(tmp_path):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, birdnet.PATCH_SAMPLES), tf.float32)])
    def network(waveform):
        x = tf.reduce_mean(tf.reshape(waveform, (1, 36_000, 4)), axis=1)
        return tf.matmul(x, tf.constant(np.eye(4, 3, dtype=np.float32))) + tf.constant(np.ones(3, np.float32))

    with pytest.raises(birdnet.BirdnetError, match="no residual blocks|embedding"):
        birdnet.load_blocks(tiny_tflite.source("birdnet", tmp_path, network, LABELS))


def test_embedders_of_blocks_take_the_weights_of_their_network():
    assert embedders.weights_name("birdnet_blocks") == "birdnet" and embedders.weights_name("perch") == "perch"
    assert set(embedders.BLOCKS) < set(embedders.EMBEDDERS) and not set(embedders.BLOCKS) & set(embedders.NAMES)


def test_the_last_block_of_yamnet_is_its_embedding():
    embedder, own = embedders.load("yamnet_blocks"), embedders.load("yamnet", octave_down=False, backend="tensorflow")
    assert list(embedder.blocks) == [*map(str, range(1, 13)), "embedding"] and embedder.dim == embedder.blocks["embedding"][1]
    first, end = embedder.blocks["embedding"]
    waveform = noise(3 * yamnet.SAMPLE_RATE_HZ)
    embeddings, bird_score = embedder.embed(waveform)
    assert embeddings[:, first:end] == pytest.approx(own.embed(waveform)[0], abs=1e-5) and bird_score == pytest.approx(own.embed(waveform)[1], abs=1e-5)
    assert isinstance(embedder, yamnet_embedder.YamnetEmbedder) and list(embedder.weights) == ["yamnet"]


@pytest.mark.slow
def test_residual_blocks_of_the_real_birdnet_add_up():
    """Block 4-4 is its last convolution plus block 4-3: LiteRT has overwritten neither."""
    embedder = embedders.load("birdnet_blocks")
    assert list(embedder.blocks) == ["1-2", "1-3", "2-2", "2-3", "2-4", "3-2", "3-3", "3-4", "3-5", "4-2", "4-3", "4-4", "embedding"]
    from birdlib.models import weights

    interpreter = litert.open_interpreter(weights.fetch("birdnet").path / birdnet._MODEL, experimental_preserve_all_tensors=True)
    waveform = noise(birdnet.PATCH_SAMPLES)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], waveform[None])
    interpreter.invoke()
    tensors = {tensor["name"].rpartition("BLOCK_")[2]: tensor["index"] for tensor in interpreter.get_tensor_details() if "BLOCK_4" in tensor["name"]}
    value = {name: interpreter.get_tensor(tensors[name]) for name in ("4-3_ADD/add", "4-4_CONV_3/Conv2D1", "4-4_ADD/add")}
    assert value["4-4_ADD/add"] == pytest.approx(value["4-3_ADD/add"] + value["4-4_CONV_3/Conv2D1"], abs=1e-4)
    first, end = embedder.blocks["4-4"]
    assert embedder.embed(waveform)[0][0, first:end] == pytest.approx(value["4-4_ADD/add"][0].mean(axis=(0, 1)), abs=1e-4)


def test_bands_of_yamnet_average_to_its_seventh_block():
    """Averaged over the four bands, the numbers are those of the block in ``yamnet_blocks``; the bird score is YAMNet's own."""
    bands, blocks = embedders.load("yamnet_bands", octave_down=False), embedders.load("yamnet_blocks")
    waveform = noise(3 * yamnet.SAMPLE_RATE_HZ)
    (found, bird_score), (expected, own_score) = bands.embed(waveform), blocks.embed(waveform)
    assert bands.dim == found.shape[1] == inner_blocks.BANDS_DIM and bird_score == pytest.approx(own_score, abs=1e-5)
    assert found.reshape(len(found), 4, 512).mean(axis=1) == pytest.approx(expected[:, slice(*blocks.blocks["7"])], abs=1e-4)
    assert list(bands.weights) == ["yamnet"] and embedders.weights_name("yamnet_bands") == "yamnet" and "yamnet_bands" in embedders.NAMES


def test_an_octave_lower_is_a_second_view_of_the_bands():
    one, two = (embedders.load("yamnet_bands", octave_down=octave_down) for octave_down in (False, True))
    assert two.dim == 2 * one.dim and two.key != one.key and two.embed(noise(64_000))[0].shape[1] == two.dim


def test_bands_need_layers_that_can_be_reached():
    with pytest.raises(base.EmbedderError, match="SavedModel"):
        inner_blocks.YamnetBandsEmbedder(None, yamnet.Yamnet([], None, None, None))
