"""Keras models converted to LiteRT where that is faster, with a certificate that the scores stay the same.

LiteRT runs convolutions fast on a CPU, but its Fourier transform is slow: of a model of two parts, ``front_end`` and ``body``, only the
second is converted. There is no ONNX: Keras needs tf2onnx to write it from TensorFlow.
"""

import contextlib
import importlib.util
import io
import tempfile
import time

import numpy as np

from birdlib import devices, runtime

_MAX_DIFFERENCE = 1e-3  # of scores in [0, 1]
BATCH = 8  # windows; the last batch of a file is padded
_REPEATS = 3  # timings, of which the fastest counts


def has_litert():
    """Whether LiteRT may be faster: its package is installed (the one inside older TensorFlows is slow), TensorFlow is there to convert for it, and there is no GPU."""
    return devices.backend() == "tensorflow" and importlib.util.find_spec("ai_edge_litert") is not None and not devices.has_gpu()


def open_interpreter(path, n_threads=1, **options):
    """A LiteRT interpreter, allocated: from ai-edge-litert where it is installed, else the one inside TensorFlow.

    Raises:
        BirdlibError: if neither is installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:  # there is no wheel for some machines, e.g. macOS on Intel
        if not devices.has_tensorflow():
            raise runtime.BirdlibError(f"{path} is a TFLite file and needs an interpreter: install ai-edge-litert or tensorflow") from None
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter
    interpreter = Interpreter(model_path=str(path), num_threads=n_threads, **options)
    interpreter.allocate_tensors()
    return interpreter


def compiled(model, name, shape):
    """A Keras model of one input as a compiled function of its backend, for batches of exactly this shape; arrays of NumPy in and out.

    Args:
        name: of its argument.
        shape: (batch, ...); a dimension may be None on TensorFlow.

    Returns:
        function, batch → an array, or a dict of arrays.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        run = traced(model, name, shape)
    else:
        import jax

        of_weights = jax.jit(lambda trainable, fixed, batch: model.stateless_call(trainable, fixed, batch, training=False)[0])

        def run(batch):
            weights = ([variable.value for variable in variables] for variables in (model.trainable_variables, model.non_trainable_variables))
            return of_weights(*weights, batch)

    return lambda batch: keras.tree.map_structure(keras.ops.convert_to_numpy, run(batch))


def traced(model, name, shape):
    """A Keras model of one input as a TensorFlow function for batches of exactly this shape; ``name`` is its argument's."""
    import tensorflow as tf

    return tf.function(lambda batch: model(batch, training=False), input_signature=[tf.TensorSpec(shape, name=name)])


def in_batches(run, size):
    """Make ``run``, which takes exactly ``size`` rows, take any number; its output is an array or a dict of arrays."""

    def run_all(rows):
        n = len(rows)
        rows = np.concatenate([rows, np.zeros((-n % size, *rows.shape[1:]), rows.dtype)])
        outputs = [run(rows[start : start + size]) for start in range(0, n, size)]
        if isinstance(outputs[0], dict):
            return {name: np.concatenate([output[name] for output in outputs])[:n] for name in outputs[0]}
        return np.concatenate(outputs)[:n]

    return run_all


def convert(model, shape, path):
    """Write a Keras model of one input, for batches of exactly this shape, as a float LiteRT file."""
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()  # the only way to a TFLite file that keeps Keras 3 variables in every version
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


def keras_predictor(model):
    """A model of waveforms (batch, samples) → (batch, classes) computed by Keras, as a function of any number of rows."""
    return in_batches(compiled(model, "waveforms", (BATCH, *model.input_shape[1:])), BATCH)


def litert_predictor(model, key, n_threads):
    """The same with its body, or the whole model where it has no two parts, in LiteRT; converted once for each key.

    Args:
        key: digest of the model's file.
    """
    if not has_two_parts(model):
        return litert_body_predictor(model, key, n_threads)
    front, body = keras_predictor(model.get_layer("front_end")), litert_body_predictor(model, key, n_threads)
    return in_batches(lambda batch: body(front(batch)), BATCH)


def litert_body_predictor(model, key, n_threads):
    """The body of a model in LiteRT, as a function of any number of spectrograms; of the whole model where it has no two parts."""
    body = model.get_layer("body") if has_two_parts(model) else model
    path = converted_path(key)
    if not path.is_file():
        convert(body, (BATCH, *body.input_shape[1:]), path)
    run = lite(path, n_threads)

    def predict(batch):
        [scores] = run(batch).values()
        return scores

    return in_batches(predict, BATCH)


def has_two_parts(model):
    """Whether a model is ``front_end`` and ``body``."""
    return {"front_end", "body"} <= {layer.name for layer in model.layers}


def converted_path(key):
    """Path of the LiteRT file of a model, once it is converted."""
    return runtime.cache_dir() / "litert" / f"member-{key[:16]}-{BATCH}.tflite"


def certificate(plain, other, rows, names=("keras", "litert")):
    """Compare two predictors on the same rows: the other is chosen where its scores are the same and it is faster.

    Args:
        plain, other: functions, rows → scores (rows, classes).
        rows: their input: real sound.

    Returns:
        dict for the receipt: ``chosen``, ``why``, ``max_difference`` of scores, ``times_as_fast`` as the plain one, ``n_windows``.
    """
    expected, found = plain(rows), other(rows)  # the first run of each is slow, and does not count
    timed = [(_seconds(plain, rows), _seconds(other, rows)) for _ in range(_REPEATS)]  # in turns, on a busy machine
    seconds, other_seconds = map(min, zip(*timed, strict=True))
    difference, ratio = float(np.abs(found - expected).max()), seconds / other_seconds
    agrees = difference <= _MAX_DIFFERENCE  # False for NaN
    why = f"{names[1]} is {ratio:.2f} times as fast" if agrees else f"{names[1]} differs by more than {_MAX_DIFFERENCE:g}"
    chosen = names[1] if agrees and ratio > 1.0 else names[0]
    return _certificate(chosen, why, difference, round(ratio, 2), len(expected))


def without_comparison(chosen, why):
    """The certificate of a model that has one predictor only."""
    return _certificate(chosen, why, 0.0, 1.0, 0)


def describe(certificate):
    """A certificate in words."""
    if not certificate.get("n_windows"):
        return certificate.get("why", "not available")
    return "{chosen}: {why}; scores differ by at most {max_difference:.1g} on {n_windows} windows".format_map(certificate)


def _certificate(chosen, why, max_difference, times_as_fast, n_windows):
    return {"chosen": chosen, "why": why, "max_difference": max_difference, "times_as_fast": times_as_fast, "n_windows": n_windows}


def _seconds(run, rows):
    start = time.perf_counter()
    run(rows)
    return time.perf_counter() - start
