import functools
import warnings

import numpy as np
import pytest
from models import aimed, gradients, outputs_in_another_process, run

from birdlib import runtime
from birdlib.losses import matching as matching_losses
from birdlib.multimodal import scene_audio, scene_encoders

ENCODERS = [
    *(("audio", name) for name in scene_encoders.AUDIO),
    *(("video", name) for name in scene_encoders.VIDEO),
]
PAIRINGS = [  # every encoder at least once
    ("bilstm", "cnn_lstm"),
    *(
        pytest.param(*pair, marks=pytest.mark.slow)
        for pair in [("transformer", "transformer"), ("bilstm", "cnn3d"), ("cnn", "cnn_average")]
    ),
]
DIM = 16


def rng(seed=0):
    return np.random.default_rng(seed)


def scenes(n=3, seed=0):
    draw = rng(seed)
    return {
        "spectrogram": draw.random((n, *scene_audio.kind_of("bands").shape), dtype=np.float32),
        "pixels": draw.integers(0, 256, (n, scene_encoders.N_FRAMES, 64, 64, 3)).astype(np.uint8),
        "features": draw.random((n, scene_encoders.N_FRAMES, scene_encoders.FEATURE_DIM), dtype=np.float32),
    }


def build(kind, name, dim=DIM):
    import keras

    keras.utils.set_random_seed(1)
    make = {"audio": scene_encoders.audio_encoder, "video": scene_encoders.video_encoder}[kind]
    return make(name, dim)


encoder = functools.cache(build)  # for tests that do not train it


def matcher(audio, video, **options):
    return scene_encoders.matcher(build("audio", audio), build("video", video), **options)


def difference(model, arrays, others):
    return np.abs(run(model, arrays) - run(model, others)).max()


def reordered(arrays):
    """Frames, and sounds by whole tokens, from the last to the first."""
    tokens = arrays["spectrogram"].reshape(len(arrays["spectrogram"]), scene_encoders._N_TOKENS, -1, 128)
    return {
        "spectrogram": tokens[:, ::-1].reshape(arrays["spectrogram"].shape),
        "pixels": arrays["pixels"][:, ::-1],
        "features": arrays["features"][:, ::-1],
    }


def total(x):
    import keras

    return keras.ops.sum(x)


# Each encoder


@pytest.mark.parametrize(("kind", "name"), ENCODERS)
def test_scene_embeds_to_a_unit_vector_by_a_small_network(kind, name):
    model = encoder(kind, name)
    vectors = run(model, scenes())
    assert vectors.shape == (3, DIM) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert set(model.input) == {"spectrogram" if kind == "audio" else "pixels" if name in scene_encoders.OF_PIXELS else "features"}
    assert model.count_params() < 1_000_000


@pytest.mark.parametrize(("kind", "name"), ENCODERS)
def test_embedding_does_not_depend_on_the_batch(kind, name):
    arrays = scenes()
    alone = {key: array[:1] for key, array in arrays.items()}
    assert np.allclose(run(encoder(kind, name), arrays)[:1], run(encoder(kind, name), alone), atol=1e-5)


@pytest.mark.parametrize(("kind", "name"), [one for one in ENCODERS if "average" not in one[1]])
def test_order_in_time_matters(kind, name):
    arrays = scenes()
    assert difference(encoder(kind, name), arrays, reordered(arrays)) > 1e-3


@pytest.mark.parametrize("name", ["cnn_average", "cnn_average_trained"])
def test_average_ignores_the_order_of_frames(name):
    arrays = scenes()
    assert difference(encoder("video", name), arrays, reordered(arrays)) < 1e-6


@pytest.mark.parametrize("kind", ["audio", "video"])
def test_transformer_gets_the_order_from_the_positional_encoding_only(kind, monkeypatch):
    """Attention itself is the same whatever the order."""
    arrays = scenes()
    places = scene_encoders.PositionalEncoding
    assert difference(encoder(kind, "transformer"), arrays, reordered(arrays)) > 1e-3
    monkeypatch.setattr(places, "call", lambda self, x: x)
    assert difference(build(kind, "transformer"), arrays, reordered(arrays)) < 1e-5


def test_positional_encoding_is_that_of_the_paper():
    """Position p, pair i of 4: sin and cos of p / 10000 ** (2 i / 8)."""
    import keras

    found = keras.ops.convert_to_numpy(scene_encoders.PositionalEncoding()(np.zeros((1, 5, 8), "float32")))
    for p in range(5):
        angles = [p / 10_000 ** (2 * i / 8) for i in range(4)]
        assert np.allclose(found[0, p], [*np.sin(angles), *np.cos(angles)], atol=1e-6)


@pytest.mark.parametrize("name", scene_encoders.AUDIO)
def test_pitch_changes_the_embedding_and_loudness_does_not(name):
    """A logarithmic spectrogram of a sound ten times as loud is the same plus a constant."""
    arrays = scenes()
    louder = {"spectrogram": arrays["spectrogram"] + 0.2}
    higher = {"spectrogram": np.roll(arrays["spectrogram"], 16, axis=2)}
    assert difference(encoder("audio", name), arrays, louder) < 1e-4
    assert difference(encoder("audio", name), arrays, higher) > 1e-2


def test_pixels_may_be_integers_or_floats():
    arrays = scenes()
    floats = {"pixels": arrays["pixels"].astype(np.float32)}
    assert difference(encoder("video", "cnn3d"), arrays, floats) < 1e-6
    assert difference(encoder("video", "cnn3d"), arrays, {"pixels": arrays["pixels"][..., ::-1]}) > 1e-3  # BGR is not RGB


@pytest.mark.parametrize("name", scene_encoders.AUDIO)
def test_every_audio_encoder_takes_an_stft(name):
    """500 steps of 257 bins; its tokens last as long as those of bands, 160 ms."""
    model = scene_encoders.audio_encoder(name, DIM, "stft")
    assert model.input["spectrogram"].shape == (None, 500, 257)
    vectors = run(model, {"spectrogram": rng().random((2, 500, 257), dtype=np.float32)})
    assert vectors.shape == (2, DIM) and np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    if name != "cnn":
        assert model.get_layer("tokens").kernel_size == (20,) and model.get_layer("tokens").output.shape == (None, 25, 64)


@pytest.mark.parametrize("name", ["cnn_lstm_trained", "cnn_average_trained"])
def test_trained_convolution_is_the_same_for_every_frame_and_is_trained(name):
    """Frames that are exchanged exchange their features, and the slope of the first convolution is not zero."""
    import keras

    model = build("video", name)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [16, 32, 48, 64] and all(layer.trainable for layer in convolutions)
    slopes = gradients(model, scenes(), aimed)
    assert all(np.abs(slopes[layer.kernel.path]).max() > 0 for layer in convolutions)


@pytest.mark.parametrize(("kind", "name"), ENCODERS)
def test_gradients_of_silence_and_darkness_are_finite(kind, name):
    dark = {key: np.zeros_like(array[:1]) for key, array in scenes().items()}
    assert all(np.isfinite(slope).all() for slope in gradients(encoder(kind, name), dark, aimed).values())


@pytest.mark.parametrize("make", [scene_encoders.audio_encoder, scene_encoders.video_encoder])
def test_unknown_encoder_is_refused_with_the_choices(make):
    with pytest.raises(scene_encoders.SceneEncoderError, match="encoder 'gru' is unknown: use one of .*, transformer"):
        make("gru")
    assert issubclass(scene_encoders.SceneEncoderError, runtime.BirdlibError)


# Two of them and the head


@pytest.mark.parametrize("audio", scene_encoders.AUDIO)
@pytest.mark.parametrize("video", scene_encoders.VIDEO)
def test_any_audio_encoder_combines_with_any_video_encoder(audio, video):
    """The matcher outputs the vectors of its encoders and a logit."""
    encoders, arrays = (encoder("audio", audio), encoder("video", video)), scenes(2)
    model = scene_encoders.matcher(*encoders)
    outputs = run(model, arrays)
    assert outputs.shape == (2, 2 * DIM + 1) and set(model.input) == {*encoders[0].input, *encoders[1].input}
    a, v, logit = matching_losses.parts(outputs)
    assert np.allclose(a, run(encoders[0], arrays), atol=1e-5) and np.allclose(v, run(encoders[1], arrays), atol=1e-5)
    assert logit.shape == (2,) and np.isfinite(logit).all()
    assert model.get_layer("audio_encoder") is encoders[0] and model.get_layer("video_encoder") is encoders[1]


@pytest.mark.parametrize("joint", [True, False])
def test_logit_trains_the_encoders_only_if_joint(joint):
    model = matcher("bilstm", "cnn_average", joint=joint)
    found = gradients(model, scenes(), lambda outputs: total(matching_losses.parts(outputs)[2]), "zero")
    steepest = {path: np.abs(slope).max() for path, slope in found.items()}
    of_head = {path for path in steepest if path.startswith(("head/", "said/", "slope/"))}
    assert len(of_head) == 5 and all(steepest[path] > 0 for path in of_head)
    of_encoders = [steepest[path] for path in steepest if path not in of_head]
    assert len(of_encoders) > 10 and (max(of_encoders) > 0) == joint


def test_vectors_train_the_encoders_by_every_loss_but_bce():
    model = matcher("bilstm", "cnn_average", joint=False)
    targets = np.array([[1, 0, 0], [0, 0, 1], [1, 1, 1]], np.float32)
    for name in matching_losses.LOSSES:
        found = gradients(model, scenes(), functools.partial(matching_losses.get(name), targets), "zero")
        for end in ("audio_dense/kernel", "video_dense/kernel"):
            (slope,) = (slope for path, slope in found.items() if path.endswith(end))
            assert (np.abs(slope).max() > 0) == (name != "bce"), name


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"], indirect=True)
def test_matcher_outputs_float32_at_any_precision(precision):
    outputs = run(matcher("transformer", "cnn_lstm"), scenes())
    assert outputs.dtype == np.float32 and np.isfinite(outputs).all()
    for vectors in matching_losses.parts(outputs)[:2]:
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def birds(categories, seed=0):
    """Sounds and pictures of two categories: low and reddish, or high and bluish."""
    arrays = scenes(len(categories), seed)
    for row, category in enumerate(categories):
        arrays["spectrogram"][row, :, 64 * category : 64 * category + 64] += 0.5
        arrays["pixels"][row, ..., 2 * category] //= 3
        arrays["features"][row, :, 1024 * category : 1024 * category + 1024] += 1.0
    return arrays


@pytest.mark.parametrize(("audio", "video"), PAIRINGS)
def test_matches_score_above_mismatches_after_a_short_training(audio, video):
    """By the head and by the cosine, on scenes outside the training."""
    n = 16
    sounds, pictures = np.arange(n) % 2, np.arange(n) // 2 % 2
    targets = np.stack([sounds == pictures, sounds, pictures], axis=1).astype(np.float32)

    def pairs(model, seed):
        heard, seen = birds(sounds, seed), birds(pictures, seed + 100)
        return {name: (heard if name == "spectrogram" else seen)[name] for name in model.input}

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Keras warns of inputs that it did not expect
        model = matcher(audio, video, joint=False)
        model.compile("adam", loss=matching_losses.get("cosine"))
        model.optimizer.learning_rate = 0.003
        model.fit(pairs(model, 1), targets, batch_size=n, epochs=25, shuffle=False, verbose=0)
    a, v, logit = matching_losses.parts(run(model, pairs(model, 2)))
    is_match = targets[:, 0] == 1
    for scores in (logit, (a * v).sum(axis=1)):
        assert scores[is_match].min() > scores[~is_match].max()


@pytest.mark.slow
def test_saved_matchers_predict_the_same_in_another_process(tmp_path):
    pairings = [("cnn", "cnn3d"), ("bilstm", "cnn_lstm"), ("transformer", "transformer")]
    models = [matcher(audio, video, joint=audio == "cnn") for audio, video in pairings]
    arrays = scenes(2)
    for said, model in zip(outputs_in_another_process(scene_encoders, models, arrays, tmp_path), models, strict=True):
        assert np.allclose(said, run(model, arrays), atol=1e-5)


def test_loaded_matcher_stays_detached(tmp_path):
    matcher("bilstm", "cnn_average", joint=False).save(tmp_path / "matcher.keras")
    assert scene_encoders.load(tmp_path / "matcher.keras").get_layer("relation").is_detached


def test_untrained_logit_is_a_multiple_of_the_cosine():
    """The head adds to a multiple of the cosine; with zero weights, only that is left."""
    model = matcher("bilstm", "cnn_average", joint=True)
    model.get_layer("said").set_weights([np.zeros_like(one) for one in model.get_layer("said").get_weights()])
    a, v, logit = matching_losses.parts(run(model, scenes(2)))
    np.testing.assert_allclose(logit, scene_encoders.SLOPE * (a * v).sum(axis=1), atol=1e-4)
