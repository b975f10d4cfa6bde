import keras
import numpy as np
import pytest
from clocks import ANALOG_CLOCK, WALL_CLOCK, clock
from models import gradients, outputs_in_another_process, run
from sounds import RATE_HZ, hiss, song

from birdlib.audio import spec_augment
from birdlib.models import weights
from birdlib.species import classifiers, mel_heads, mel_models

WINDOW_S = 1.0  # as good as five, and faster


def build(n_classes=3, **options):
    keras.utils.set_random_seed(0)
    return mel_models.build(n_classes, **{"window_s": WINDOW_S, "is_trained": False} | options)[0]


@pytest.fixture(scope="module")
def pooled():
    return build()


@pytest.fixture(scope="module")
def sed():
    return build(head="sed", mode="multi")


def sine(hz, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(WINDOW_S * RATE_HZ)) / RATE_HZ)).astype(np.float32)


def spectrograms(model, *waveforms):
    """(waveforms, frames, bands)."""
    return run(mel_models.front_end(model), np.stack(waveforms))


# The front end


def test_window_of_five_seconds_is_313_frames_of_128_bands():
    """160,000 samples, one frame each 512 and one more, as the first is centred on sample 0."""
    model = build(window_s=5.0)
    assert model.input_shape == (None, 160_000) and mel_models.front_end(model).output_shape == (None, 313, 128)


@pytest.mark.parametrize("hz", [500, 2000, 8000])
def test_sine_is_one_bright_band_at_its_frequency(pooled, hz):
    """Bands are equally wide in mel = 2595 log10(1 + hz / 700), from 20 to 16,000 Hz; their centres are the inner 128 of 130 equidistant points."""
    mel = 2595 * np.log10(1 + np.array([20, 16_000, hz]) / 700)
    band = np.argmin(np.abs(np.linspace(mel[0], mel[1], 130)[1:-1] - mel[2]))
    image = spectrograms(pooled, sine(hz))[0][5:-5]
    assert (image.argmax(axis=1) == band).all() and image[:, band].min() > 0.99 > 0.5 > np.median(image)


def test_spectrogram_equals_librosas(pooled):
    import librosa

    waveform = song(WINDOW_S) + hiss(WINDOW_S)
    power = librosa.feature.melspectrogram(
        y=waveform, sr=RATE_HZ, n_fft=2048, hop_length=512, n_mels=128, fmin=20, fmax=16_000, htk=True, norm=None, pad_mode="reflect"
    )  # fmt: skip
    expected = np.clip(librosa.power_to_db(power.T, ref=np.max, top_db=None) / 80 + 1, 0, 1)
    assert np.abs(spectrograms(pooled, waveform)[0] - expected).max() < 0.01


def test_spectrogram_does_not_depend_on_the_level(pooled):
    waveform = song(WINDOW_S) + hiss(WINDOW_S)
    loud, faint = spectrograms(pooled, waveform, 0.05 * waveform)
    assert np.allclose(loud, faint, atol=1e-3) and loud.max() == pytest.approx(1.0)


def test_silence_is_black_and_very_faint_sound_is_not_brightened(pooled):
    silence, faint = spectrograms(pooled, np.zeros(RATE_HZ, np.float32), sine(2000, 1e-5))
    assert not silence.any() and 0.3 < faint.max() < 0.6  # 100 dB below full scale, 40 below the minimum peak, of 80


def test_spectrogram_does_not_depend_on_the_rest_of_the_batch(pooled):
    """Keras' own decibels are relative to the loudest of the whole batch."""
    faint = hiss(WINDOW_S, level=0.01)
    assert np.allclose(spectrograms(pooled, faint)[0], spectrograms(pooled, faint, sine(3000, 1.0))[0], atol=1e-5)
    alone, beside = run(pooled, faint[None])[0], run(pooled, np.stack([faint, sine(3000, 1.0)]))[0]
    assert np.allclose(alone, beside, atol=1e-5)


# Whole models


@pytest.mark.parametrize("head", mel_models.HEADS)
@pytest.mark.parametrize("mode", classifiers.ACTIVATIONS)
def test_scores_sum_to_one_in_single_mode_only(head, mode):
    scores = run(build(12, head=head, mode=mode), np.stack([song(WINDOW_S), hiss(WINDOW_S)]))
    assert scores.shape == (2, 12) and scores.dtype == np.float32 and (scores > 0).all() and (scores < 1).all()
    assert np.allclose(scores.sum(axis=1), 1.0, atol=1e-5) == (mode == "single")


def test_model_is_front_end_then_body(pooled):
    waveforms = np.stack([song(WINDOW_S), hiss(WINDOW_S)])
    assert np.allclose(run(mel_models.body(pooled), spectrograms(pooled, *waveforms)), run(pooled, waveforms), atol=1e-6)
    assert not mel_models.front_end(pooled).weights


@pytest.mark.parametrize("head", mel_models.HEADS)
def test_output_depends_on_every_weight(head):
    inner = mel_models.body(build(head=head, mode="multi"))
    images = np.random.default_rng(0).random((4, *inner.input_shape[1:]), dtype=np.float32)
    inputs = keras.Input(inner.input_shape[1:], name="spectrograms")
    wrapped = keras.Model({"spectrograms": inputs}, inner(inputs))
    assert all(np.abs(slope).max() > 0 for slope in gradients(wrapped, {"spectrograms": images}, lambda outputs: keras.ops.sum(keras.ops.square(outputs))).values())


# Frames


@pytest.mark.parametrize("head", ["sed", "sed_gem"])
def test_clip_probability_lies_between_those_of_its_frames(head):
    model = mel_models.with_frames(build(head=head, mode="multi"))
    found = {name: np.asarray(values) for name, values in model(np.stack([song(WINDOW_S), hiss(WINDOW_S)])).items()}
    assert found["frames"].shape[:1] + found["frames"].shape[2:] == found["clip"].shape
    assert (found["clip"] <= found["frames"].max(axis=1) + 1e-6).all()
    assert (found["clip"] >= found["frames"].min(axis=1) - 1e-6).all()


def test_note_in_the_second_half_changes_no_frame_of_the_first():
    """Nine convolutions deep, the receptive field of a frame is a sixth of the window at most to each side; the peak level is the same, as both have the note."""
    model = mel_models.with_frames(build(head="sed", mode="multi", window_s=3.0))
    note, rest = song(0.5), np.zeros(round(2.5 * RATE_HZ), np.float32)
    other = np.roll(np.concatenate([rest, 0.5 * note[::-1]]), 0)
    both = np.stack([np.concatenate([note, rest]), np.concatenate([note, rest]) + other])
    first, second = np.asarray(model(both)["frames"])
    n = len(first) // 3
    assert np.allclose(first[:n], second[:n], atol=1e-5) and np.abs(first[-n:] - second[-n:]).max() > 1e-4


@pytest.mark.parametrize("head", ["sed", "sed_gem"])
def test_frames_are_distributions_too_in_single_mode(head):
    model = mel_models.with_frames(build(head=head, mode="single"))
    found = model(np.stack([song(WINDOW_S), hiss(WINDOW_S)]))
    assert np.allclose(np.asarray(found["frames"]).sum(axis=2), 1.0, atol=1e-5)


@pytest.mark.parametrize(("p", "expected"), [(1.0, 2 / 3), (3.0, 12 ** (1 / 3) / 3), (200.0, 1.0)])
def test_generalised_mean_lies_between_mean_and_maximum(p, expected):
    """Of 1/3, 2/3, 1 and p = 3: ((1 + 8 + 27) / 3) ** (1 / 3) / 3."""
    maps = np.float32([1, 2, 3]).reshape(1, 3, 1, 1) / 3
    assert np.allclose(mel_heads.GeneralisedMean(p)(maps), expected, rtol=0.01)


def test_generalised_mean_is_learnt_and_never_below_the_mean():
    """An exponent below 1 counts as 1, and so does a map below 0 as almost 0."""
    layer = mel_heads.GeneralisedMean()
    maps = np.float32([1, 2, 3]).reshape(1, 3, 1, 1)
    layer(maps)
    assert [float(np.array(weight)) for weight in layer.trainable_weights] == [3.0]
    layer.p.assign(-2.0)
    assert np.allclose(layer(maps), 2.0, atol=1e-5) and np.isfinite(np.asarray(layer(-maps))).all()


def test_clip_of_sed_gem_is_the_attention_weighted_sum_of_its_frames_logits():
    inner = mel_models.body(build(head="sed_gem", mode="multi"))
    names = ("frame_logits", "over_time", "clip")
    parts = keras.Model(inner.input, [inner.get_layer(name).output for name in names])
    images = np.random.default_rng(0).random((2, *inner.input_shape[1:]), dtype=np.float32)
    logits, attention, clip = (np.asarray(output) for output in parts(images))
    assert np.allclose(attention.sum(axis=1), 1.0, atol=1e-5)
    assert np.allclose(clip, 1 / (1 + np.exp(-(attention * logits).sum(axis=1))), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["mobilenetv2", "efficientnetb0"])
def test_sed_gem_has_frames_on_every_backbone(backbone):
    """A frame of these networks is 32 frames of the spectrogram: 2 of 63."""
    model = mel_models.with_frames(build(backbone=backbone, head="sed_gem", mode="multi"))
    found = model(np.stack([song(WINDOW_S), hiss(WINDOW_S)]))
    assert found["frames"].shape == (2, 2, 3) and found["clip"].shape == (2, 3)


def test_pooled_model_has_no_frames(pooled):
    with pytest.raises(mel_models.MelModelError, match="head='sed'"):
        mel_models.with_frames(pooled)


# Detectors


def test_joined_detectors_give_the_scores_of_each(pooled):
    waveforms = np.stack([song(WINDOW_S), hiss(WINDOW_S)])
    detectors = [build(1, mode="multi"), build(1, mode="multi", head="sed")]
    joined = run(mel_models.join_detectors(detectors), waveforms)
    assert np.allclose(joined, np.hstack([run(detector, waveforms) for detector in detectors]), atol=1e-6)


def test_detectors_of_different_windows_are_not_joined(pooled):
    with pytest.raises(mel_models.MelModelError, match="one length"):
        mel_models.join_detectors([pooled, build(window_s=2.0)])


# Files, names, masks


def test_saved_model_gives_the_same_scores(tmp_path, pooled, sed):
    masked = build(masking=spec_augment.SpecAugment(seed=1))
    waveforms = np.stack([song(WINDOW_S), hiss(WINDOW_S)])
    for model in (pooled, sed, masked):
        model.save(tmp_path / "model.keras")
        assert np.allclose(run(mel_models.load(tmp_path / "model.keras"), waveforms), run(model, waveforms), atol=1e-6)


@pytest.mark.slow
def test_saved_model_gives_the_same_scores_in_another_process(tmp_path, sed):
    arrays = {"waveforms": np.stack([song(WINDOW_S), hiss(WINDOW_S)])}
    inputs = keras.Input(sed.input_shape[1:], name="waveforms")
    named = keras.Model({"waveforms": inputs}, sed(inputs))
    [said] = outputs_in_another_process(mel_models, [named], arrays, tmp_path)
    assert np.allclose(said, run(named, arrays), atol=1e-5)


def test_masks_apply_in_training_only():
    model = build(masking=spec_augment.SpecAugment(seed=1))
    waveforms = np.stack([song(WINDOW_S), hiss(WINDOW_S)])
    images = spectrograms(model, *waveforms)
    inner = mel_models.body(model)
    mask = next(layer for layer in inner.layers if layer.name == "spec_augment")
    assert np.array_equal(run(mask, images), images)
    assert not np.array_equal(np.asarray(mask(images, training=True)), images)


@pytest.mark.parametrize(("name", "value"), [("backbone", "vgg"), ("head", "tail"), ("mode", "both")])
def test_unknown_names_are_refused_with_the_known_ones(name, value):
    with pytest.raises(mel_models.MelModelError, match=f"{name} is '{value}': choose"):
        build(**{name: value})


# Networks trained on ImageNet


@pytest.mark.parametrize("precision", ["mixed_float16"], indirect=True)
def test_mixed_precision_keeps_input_and_output_in_float32(precision):
    """The largest float16 is 65,504, and the power of a sine is more."""
    model = build(head="sed", mode="multi")
    scores = run(model, np.stack([sine(2000, 1.0), hiss(WINDOW_S)]))
    assert scores.dtype == np.float32 and np.isfinite(scores).all()
    assert str(mel_models.front_end(model).output.dtype) == "float32"


def test_missing_weights_are_named(monkeypatch, tmp_path):
    def missing(name, folder):
        raise weights.MissingWeightsError(f"the weights of {name} are not on this machine")

    monkeypatch.setattr(weights, "fetch", missing)
    with pytest.raises(weights.MissingWeightsError, match="efficientnetb0"):
        build(backbone="efficientnetb0", is_trained=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv2", "efficientnetb0"])
def test_large_backbones_take_windows_of_any_length(name):
    model = build(5, backbone=name, head="sed", mode="multi", window_s=2.0)
    scores = run(model, hiss(2.0)[None])
    assert scores.shape == (1, 5) and np.isfinite(scores).all()
    layers = mel_models.body(model)._flatten_layers()
    assert {layer.momentum for layer in layers if isinstance(layer, keras.layers.BatchNormalization)} == {0.9}


@pytest.mark.slow
def test_mobilenet_is_the_pretrained_network_without_its_top():
    """The top of the file classifies the backbone's features of a drawn clock as a clock."""
    source = weights.fetch("mobilenetv2")
    model, receipt = mel_models.build(3, backbone="mobilenetv2")
    assert receipt == {"mobilenetv2": source.receipt()}
    network = next(layer for layer in mel_models.body(model).layers if layer.name.startswith("mobilenetv2"))
    with_top = keras.applications.MobileNetV2(weights=str(source.path))
    small = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(224, 224, 3), pooling="avg")
    small.set_weights(network.get_weights())
    kernel, bias = with_top.get_weights()[-2:]
    scores = run(small, clock()[None] / np.float32(127.5) - 1) @ kernel + bias
    assert set(np.argsort(scores[0])[-2:]) & {ANALOG_CLOCK, WALL_CLOCK}
