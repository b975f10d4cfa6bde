"""A Keras model computed in another way where that is faster, with a certificate that it still says the same.

LiteRT runs convolutions fast on a CPU, but its Fourier transform is slow: a model of two parts, ``front_end`` and ``body``, keeps the
first in TensorFlow and hands only the second over. There is no ONNX: Keras needs tf2onnx to write it from TensorFlow.
"""

import contextlib
import importlib.util
import io
import tempfile
import time

import numpy as np

from birdlib import runtime

MAX_DIFFERENCE = 1e-3  # of scores in [0, 1]
BATCH = 8  # windows; the last batch of a file is padded
_REPEATS = 3  # of which the fastest counts


def has_litert():
    """Whether LiteRT may be faster here: its package is installed, and there is no GPU. That inside older TensorFlows is slow."""
    import tensorflow as tf

    return importlib.util.find_spec("ai_edge_litert") is not None and not tf.config.list_physical_devices("GPU")


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


def traced(model, name, shape):
    """A Keras model of one input as a TensorFlow function that takes exactly this shape, and is traced once.

    Args:
        name: of its argument.
        shape: of the whole batch.
    """
    import tensorflow as tf

    given = tf.TensorSpec(shape, name=name)
    return tf.function(lambda batch: model(batch, training=False), input_signature=[given])


def in_batches(run, size):
    """Make ``run``, which takes exactly ``size`` rows, take any number; what it gives may be an array or a dict of them."""

    def run_all(rows):
        n = len(rows)
        rows = np.concatenate([rows, np.zeros((-n % size, *rows.shape[1:]), rows.dtype)])
        heard = [run(rows[start : start + size]) for start in range(0, n, size)]
        if isinstance(heard[0], dict):
            return {name: np.concatenate([some[name] for some in heard])[:n] for name in heard[0]}
        return np.concatenate(heard)[:n]

    return run_all


def convert(model, shape, path):
    """Write a Keras model of one input, for batches of exactly this shape, as a float LiteRT file."""
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()  # the one way to a TFLite file that keeps Keras 3 variables in every version
    archive.track(model)
    archive.add_endpoint("serve", traced(model, "given", shape))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):  # it lists every variable
        archive.write_out(folder)
        converted = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    with runtime.replacing(path) as temporary:
        temporary.write_bytes(converted)


def lite(path, n_threads):
    """A LiteRT file as a function: batch → dict of its outputs."""
    run = open_interpreter(path, n_threads=n_threads).get_signature_runner()
    [name] = run.get_input_details()
    return lambda batch: run(**{name: batch})


def keras_way(model):
    """A model of waveforms (batch, samples) → (batch, classes) as Keras computes it, for any number of rows."""
    import keras

    shape = (BATCH, *model.input_shape[1:])
    if keras.backend.backend() != "tensorflow":
        return in_batches(lambda batch: np.asarray(model.predict_on_batch(batch)), BATCH)
    run = traced(model, "waveforms", shape)
    return in_batches(lambda batch: run(batch).numpy(), BATCH)


def lite_way(model, key, n_threads):
    """The same with its body in LiteRT, or the whole where it has no two parts; converted once for each key.

    Args:
        key: digest of the model's file.
    """
    front, body = None, model
    if {"front_end", "body"} <= {layer.name for layer in model.layers}:
        front, body = model.get_layer("front_end"), model.get_layer("body")
    path = lite_path(key)
    if not path.is_file():
        convert(body, (BATCH, *body.input_shape[1:]), path)
    run = lite(path, n_threads)
    hear = traced(front, "waveforms", (BATCH, *front.input_shape[1:])) if front else None

    def listen(batch):
        [scores] = run(hear(batch).numpy() if hear else batch).values()
        return scores

    return in_batches(listen, BATCH)


def lite_path(key):
    """Where the LiteRT file of a model lies once it is converted."""
    return runtime.cache_dir() / "litert" / f"member-{key[:16]}-{BATCH}.tflite"


def certificate(plain, other, rows, names=("keras", "litert")):
    """Compare two ways to compute on the same rows: the other is chosen where it says the same and is faster.

    Args:
        plain, other: functions, rows → scores (rows, classes).
        rows: what they are given: real sound.

    Returns:
        dict for the receipt: ``chosen``, ``why``, ``max_difference`` of scores, ``times_as_fast`` as the plain way, ``n_windows``.
    """
    expected, found = plain(rows), other(rows)  # the first run of each is slow, and does not count
    timed = [(_seconds(plain, rows), _seconds(other, rows)) for _ in range(_REPEATS)]  # in turns, on a busy machine
    seconds, other_seconds = map(min, zip(*timed, strict=True))
    difference, ratio = float(np.abs(found - expected).max()), seconds / other_seconds
    agrees = difference <= MAX_DIFFERENCE  # False for NaN
    why = f"{names[1]} is {ratio:.2f} times as fast" if agrees else f"{names[1]} differs by more than {MAX_DIFFERENCE:g}"
    return {
        "chosen": names[1] if agrees and ratio > 1.0 else names[0],
        "why": why,
        "max_difference": difference,
        "times_as_fast": round(ratio, 2),
        "n_windows": len(expected),
    }


def only(way, why):
    """The certificate of a model that has one way only."""
    return {"chosen": way, "why": why, "max_difference": 0.0, "times_as_fast": 1.0, "n_windows": 0}


def sentence(facts):
    """A certificate in words."""
    if not facts.get("n_windows"):
        return facts.get("why", "it could not hear")
    return f"{facts['chosen']}: {facts['why']}; scores differ by at most {facts['max_difference']:.1g} on {facts['n_windows']} windows"


def _seconds(run, rows):
    began = time.perf_counter()
    run(rows)
    return time.perf_counter() - began
