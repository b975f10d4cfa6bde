import numpy as np
import pytest

from birdlib.audio import io as audio_io
from birdlib.audio import resampling
from birdlib.data.synthetic import acoustics
from birdlib.models import weights, yamnet


@pytest.fixture(scope="module")
def real():
    return yamnet.load(weights.fetch("yamnet"))


def sine(hz, duration_s):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(16_000 * duration_s)) / 16_000)).astype(np.float32)


def noise(duration_s, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(round(16_000 * duration_s))).astype(np.float32)


def speech():
    words = "This recording was made near the river on the third of May, early in the morning."
    spoken = acoustics.speak(words, voice="Andy", pitch=50, words_per_minute=150)
    return 0.5 * resampling.resample(spoken, acoustics.SAMPLE_RATE_HZ, 16_000)


def loudest_class(model, waveform):
    return model.class_names[model.predict(waveform)[0].mean(axis=0).argmax()]


def random_layers(rng, n_channels=8):
    """A network with YAMNet's input and outputs but only two convolutions."""
    kernel = rng.normal(0, 0.3, (3, 3, 1, n_channels)).astype(np.float32)
    wide = rng.normal(0, 0.3, (1, 1, n_channels, 1024)).astype(np.float32)
    dense = rng.normal(0, 0.05, (1024, 521)).astype(np.float32)
    zeros = [np.zeros(n, np.float32) for n in (n_channels, 1024, 521)]
    return [("conv", 2, kernel, zeros[0]), ("conv", 1, wide, zeros[1]), ("dense", 1, dense, zeros[2])]


@pytest.mark.slow
def test_silence_is_silence(real):
    assert loudest_class(real, np.zeros(48_000, np.float32)) == "Silence"


@pytest.mark.slow
def test_440_hz_is_a_sine_wave(real):
    assert loudest_class(real, sine(440.0, 3.0)) == "Sine wave"


@pytest.mark.slow
def test_white_noise_is_noise(real):
    assert loudest_class(real, noise(3.0)) in ("White noise", "Noise", "Static", "Pink noise")


@pytest.mark.slow
def test_speech_is_speech(real):
    assert loudest_class(real, speech()) == "Speech"


@pytest.mark.slow
def test_float_embeddings_equal_int8_embeddings_within_rounding(real):
    """Both embed a sweep of tones, noises and speech from loud to faint; int8 rounds to 1/256 of the range."""
    sounds = [sine(hz, 2.0) for hz in (300.0, 1500.0, 5000.0)] + [noise(2.0), speech()]
    waveform = np.concatenate([level * sound for sound in sounds for level in (1.0, 0.1, 0.01)])
    embeddings = real.predict(waveform)[1]
    expected = int8_embeddings(weights.fetch("yamnet").path, waveform)
    cosines = np.sum(embeddings * expected, axis=1)
    cosines /= np.linalg.norm(embeddings, axis=1) * np.linalg.norm(expected, axis=1)
    assert cosines.mean() > 0.998 and cosines.min() > 0.98


def int8_embeddings(path, waveform):
    """The output of the average pooling inside the int8 model, one patch after the other."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    model = interpreter.Interpreter(
        str(path),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    model.allocate_tensors()
    [pooled] = [tensor for tensor in model.get_tensor_details() if tensor["name"].endswith("layer28/reduce_mean")]
    scale, zero = pooled["quantization"]
    embeddings = []
    for patch in audio_io.frame(waveform, yamnet.PATCH_SAMPLES, yamnet.HOP_SAMPLES):
        model.set_tensor(model.get_input_details()[0]["index"], patch)
        model.invoke()
        embeddings.append(scale * (model.get_tensor(pooled["index"]).reshape(1024).astype(np.float32) - zero))
    return np.stack(embeddings)


@pytest.mark.slow
def test_every_bird_class_is_one_of_yamnets(real):
    assert len(real.class_names) == 521 and set(yamnet.BIRD_CLASSES) < set(real.class_names)


@pytest.mark.parametrize(
    ("n_samples", "n"), [(0, 1), (1, 1), (15_600, 1), (15_601, 2), (15_600 + 7_680, 2), (15_600 + 7_681, 3)]
)
def test_no_sample_is_lost(n_samples, n):
    """A patch is 15,600 samples (96 frames of 10 ms and the rest of the last 25 ms window), the hop 7,680."""
    assert yamnet.n_patches(n_samples) == n
    assert len(yamnet.pad(np.ones(n_samples, np.float32))) == 15_600 + 7_680 * (n - 1)
    assert yamnet.pad(np.ones(n_samples, np.float32)).sum() == n_samples


def test_the_log_mel_of_a_sine_peaks_at_its_frequency():
    """1 kHz lies between 125 and 7,500 Hz at (mel(1000) - mel(125)) / (mel(7500) - mel(125)) = 0.311 of 65 steps."""
    model = yamnet.build_model(random_layers(np.random.default_rng(0)))
    log_mel = np.asarray(model(yamnet.pad(sine(1000.0, 1.0))[None])["log_mel"])[0]
    assert log_mel.shape[1] == 64 and set(log_mel[:90].argmax(axis=1)) == {19}


def test_digital_silence_is_the_log_of_the_offset():
    model = yamnet.build_model(random_layers(np.random.default_rng(0)))
    log_mel = np.asarray(model(np.zeros((1, 15_600), np.float32))["log_mel"])
    assert log_mel.shape == (1, 96, 64) and np.allclose(log_mel, np.log(0.001))


def test_waveforms_in_a_batch_do_not_affect_each_other():
    model = yamnet.build_model(random_layers(np.random.default_rng(0)))
    loud, faint = sine(2000.0, 1.455), 0.01 * noise(1.455)  # 1.455 s = two patches
    both = model(np.stack([loud, faint]))
    for row, waveform in enumerate((loud, faint)):
        alone = model(waveform[None])
        for name in ("scores", "embeddings", "log_mel"):
            assert np.allclose(both[name][row], alone[name][0], atol=1e-5)


def test_mixed_precision_does_not_reach_the_frozen_network():
    """Embeddings must not depend on how the classifier after them is trained."""
    import keras

    def embed():
        model = yamnet.build_model(random_layers(np.random.default_rng(0)))
        return np.asarray(model(yamnet.pad(noise(2.0))[None])["embeddings"])

    expected = embed()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        assert np.array_equal(embed(), expected)
    finally:
        keras.config.set_dtype_policy("float32")


def test_the_official_saved_model_has_the_same_outputs(tmp_path):
    """A SavedModel with the signature of google/yamnet/1, and nothing in it but what depends on the loudness."""
    save_official(tmp_path / "model")
    model = yamnet.load(weights.Source("yamnet", tmp_path / "model", "here", "aa", "Apache-2.0", "savedmodel"))
    assert model.class_names[:2] == ["Speech", "Bird"] and model.body is None
    scores, embeddings, log_mel = model.predict(np.ones(20_000, np.float32))
    assert scores.shape == (2, 521) and embeddings.shape == (2, 1024) and log_mel.shape == (144, 64)
    assert embeddings[0, 0] == 1.0 and embeddings[1, 0] == pytest.approx((20_000 - 7_680) / 15_600)


def save_official(folder):
    import tensorflow as tf

    class Official(tf.Module):
        def __init__(self, class_map):
            super().__init__()
            self.class_map = tf.saved_model.Asset(str(class_map))

        @tf.function(input_signature=[])
        def class_map_path(self):
            return self.class_map.asset_path

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, waveform):
            patches = tf.signal.frame(waveform, 15_600, 7_680)
            level = tf.reduce_mean(tf.abs(patches), axis=1, keepdims=True)
            n_frames = (tf.shape(waveform)[0] - 240) // 160
            return tf.tile(level / 2, [1, 521]), tf.tile(level, [1, 1024]), tf.zeros([n_frames, 64])

    class_map = folder.with_name("yamnet_class_map.csv")
    names = ["Speech", "Bird", '"Chirp, tweet"', *(f"Class {i}" for i in range(3, 521))]
    lines = ["index,mid,display_name", *(f"{i},/m/{i},{name}" for i, name in enumerate(names))]
    class_map.write_text("\n".join(lines) + "\n")
    tf.saved_model.save(Official(class_map), str(folder))
