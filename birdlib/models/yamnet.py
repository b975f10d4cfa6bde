"""YAMNet as a float Keras model: waveform in, scores of 521 AudioSet classes, a 1024-d embedding and the log-mel out.

It hears 16 kHz mono in patches of 0.96 s, one every 0.48 s ("CNN Architectures for Large-Scale Audio Classification",
2017; MobileNet v1). Its weights come from the int8 TFLite model, whose batch norm is folded into the convolutions and
whose integers are turned back into floats, or from the official SavedModel. Both answer through ``Yamnet``.
"""

import dataclasses
import io
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

SAMPLE_RATE_HZ = 16_000
PATCH_S, HOP_S = 0.96, 0.48
PATCH_SAMPLES = 15_600  # 96 frames, 10 ms apart, of 25 ms: the last window ends 15 ms after the patch
HOP_SAMPLES = 7_680
PATCH_FRAMES, HOP_FRAMES, MEL_BANDS = 96, 48, 64
EMBEDDING_DIM = 1024

BIRD_CLASSES = (
    "Fowl",
    "Chicken, rooster",
    "Cluck",
    "Crowing, cock-a-doodle-doo",
    "Turkey",
    "Gobble",
    "Duck",
    "Quack",
    "Goose",
    "Honk",
    "Bird",
    "Bird vocalization, bird call, bird song",
    "Chirp, tweet",
    "Squawk",
    "Pigeon, dove",
    "Coo",
    "Crow",
    "Caw",
    "Owl",
    "Hoot",
    "Bird flight, flapping wings",
)
OTHER_SOUNDS = (  # what no animal makes
    "Speech", "Child speech, kid speaking", "Conversation", "Music", "Singing",
    "Vehicle", "Car", "Car passing by", "Truck", "Motorcycle", "Aircraft", "Fixed-wing aircraft, airplane", "Helicopter",
    "Engine", "Chainsaw", "Lawn mower", "Rain", "Raindrop", "Rain on surface", "Thunder", "Thunderstorm", "Wind", "Wind noise (microphone)",
    "Stream", "Waterfall", "Ocean", "Waves, surf", "Siren", "Gunshot, gunfire", "Explosion", "Fireworks",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Yamnet:
    """A YAMNet that is ready to listen.

    Attributes:
        class_names: the 521 display names.
        hear: (samples,) float32 → (scores (patches, 521), embeddings (patches, 1024), log_mel (frames, 64)), NumPy;
            the end is zero-padded to whole patches.
        front_end, body: the two halves as Keras models, waveforms (batch, samples) → log_mel (batch, frames, 64), and
            patches (batch, 96, 64) → {"scores", "embeddings"}; None for the official SavedModel, which is one piece.
    """

    class_names: list
    hear: Callable
    front_end: Any = None
    body: Any = None


def load(source):
    """Load the weights that ``birdlib.models.weights`` found, a TFLite file or a SavedModel folder, as a ``Yamnet``."""
    if source.format == "savedmodel":
        return _load_saved_model(source.path)
    layers, class_names = read_tflite(source.path)
    model = build_model(layers)

    def hear(waveform):
        heard = model(pad(waveform)[None], training=False)
        return tuple(heard[name].numpy()[0] for name in ("scores", "embeddings", "log_mel"))

    return Yamnet(class_names, hear, model.get_layer("front_end"), model.get_layer("body"))


def _load_saved_model(folder):
    """Load the official SavedModel (google/yamnet/1). This is what ``hub.load`` does once it has the files."""
    import csv

    import tensorflow as tf

    model = tf.saved_model.load(str(folder))
    table = tf.io.read_file(model.class_map_path()).numpy().decode()
    class_names = [row["display_name"] for row in csv.DictReader(io.StringIO(table))]

    def hear(waveform):
        return tuple(part.numpy() for part in model(pad(waveform)))

    return Yamnet(class_names, hear)


def n_patches(n_samples):
    """How many patches cover a waveform at 16 kHz: at least one, and no sample is lost."""
    return 1 + max(0, -(-(n_samples - PATCH_SAMPLES) // HOP_SAMPLES))


def pad(waveform, patches=0):
    """Zero-pad a waveform to exactly ``patches`` patches, or to as many as cover it."""
    length = PATCH_SAMPLES + HOP_SAMPLES * ((patches or n_patches(len(waveform))) - 1)
    return np.pad(np.asarray(waveform[:length], np.float32), (0, max(0, length - len(waveform))))


def open_interpreter(path, n_threads=1, **options):
    """A LiteRT interpreter, allocated: from ai-edge-litert where it is installed, else the one inside TensorFlow."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:  # there is no wheel for some machines, e.g. macOS on Intel
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter
    interpreter = Interpreter(model_path=str(path), num_threads=n_threads, **options)
    interpreter.allocate_tensors()
    return interpreter


def read_tflite(path):
    """Read the int8 TFLite YAMNet: real weight = scale of its channel * integer.

    Returns:
        (layers, class_names): layers are (kind, stride, kernel, bias) in order, kind "conv", "depthwise" or "dense",
        kernels in Keras' layout, float32; class_names is the list in the zip that is appended to the file.
    """
    interpreter = open_interpreter(path)
    details = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}

    def dequantise(index):
        quantisation = details[index]["quantization_parameters"]
        integers = interpreter.get_tensor(index)
        shape = [1] * integers.ndim
        shape[quantisation["quantized_dimension"]] = -1
        zero_points = quantisation["zero_points"].reshape(shape)
        return ((integers - zero_points.astype(np.float64)) * quantisation["scales"].reshape(shape)).astype(np.float32)

    biases = [i for i, d in details.items() if d["dtype"] == np.int32 and len(d["quantization_parameters"]["scales"])]
    layers, size = [], PATCH_FRAMES
    for index in biases:
        kernel, bias = dequantise(index - 1), dequantise(index)  # tensors stand in the order kernel, bias, output
        if kernel.ndim == 2:
            layers.append(("dense", 1, kernel.T, bias))
            continue
        n_rows = details[index + 1]["shape"][1]
        kind = "depthwise" if kernel.shape[0] == 1 else "conv"
        layers.append((kind, int(size // n_rows), kernel.transpose(1, 2, 3, 0), bias))
        size = n_rows
    with zipfile.ZipFile(path) as labels:
        class_names = labels.read("yamnet_label_list.txt").decode().split("\n")
    return layers, [name for name in class_names if name]


def build_model(layers):
    """Put the layers of ``read_tflite`` together as a float32 Functional model.

    Returns:
        keras.Model, waveforms (batch, samples) of at least one patch → dict of scores (batch, patches, 521),
        embeddings (batch, patches, 1024) and log_mel (batch, frames, 64). It holds the models "front_end" and "body".
    """
    import keras
    import tensorflow as tf
    from keras import layers as kl

    def to_log_mel(waveforms):
        spectrogram = tf.abs(tf.signal.stft(waveforms, frame_length=400, frame_step=160, fft_length=512))
        mel_bands = tf.signal.linear_to_mel_weight_matrix(MEL_BANDS, 257, SAMPLE_RATE_HZ, 125.0, 7500.0)
        return tf.math.log(tf.matmul(spectrogram, mel_bands) + 0.001)  # (batch, frames, 64)

    def to_patches(log_mel):
        patches = tf.signal.frame(log_mel, PATCH_FRAMES, HOP_FRAMES, axis=1)  # (batch, patches, 96, 64)
        return tf.reshape(patches, (-1, PATCH_FRAMES, MEL_BANDS))  # (batch * patches, 96, 64)

    def unmerge(values_and_log_mel):
        values, log_mel = values_and_log_mel
        return tf.reshape(values, (tf.shape(log_mel)[0], -1, values.shape[-1]))  # (batch, patches, values)

    waveforms = keras.Input((None,), name="waveforms")
    log_mel = kl.Lambda(to_log_mel, output_shape=(None, MEL_BANDS), dtype="float32", name="log_mel")(waveforms)
    front_end = keras.Model(waveforms, log_mel, name="front_end")
    body = _build_body(layers)

    log_mel = front_end(waveforms)
    heard = body(kl.Lambda(to_patches, output_shape=(PATCH_FRAMES, MEL_BANDS), dtype="float32")(log_mel))
    outputs = {"log_mel": log_mel}
    for name, values in heard.items():
        shape = (None, values.shape[-1])
        outputs[name] = kl.Lambda(unmerge, output_shape=shape, dtype="float32", name=name)([values, log_mel])
    return keras.Model(waveforms, outputs, name="yamnet")


def _build_body(layers):
    import keras
    from keras import layers as kl

    patches = keras.Input((PATCH_FRAMES, MEL_BANDS), name="patches")
    x = kl.Reshape((PATCH_FRAMES, MEL_BANDS, 1), dtype="float32")(patches)
    for kind, stride, kernel, bias in layers[:-1]:
        options = {"strides": stride, "padding": "same", "activation": "relu6", "dtype": "float32"}
        if kind == "conv":
            layer = kl.Conv2D(len(bias), kernel.shape[:2], **options)
        else:
            layer = kl.DepthwiseConv2D(kernel.shape[:2], **options)
        x = layer(x)
        layer.set_weights([kernel, bias])
    embeddings = kl.GlobalAveragePooling2D(dtype="float32", name="embeddings")(x)  # (batch, 1024)
    _, _, kernel, bias = layers[-1]
    dense = kl.Dense(len(bias), activation="sigmoid", dtype="float32", name="scores")
    scores = dense(embeddings)  # (batch, 521)
    dense.set_weights([kernel, bias])
    body = keras.Model(patches, {"scores": scores, "embeddings": embeddings}, name="body")
    body.trainable = False
    return body
