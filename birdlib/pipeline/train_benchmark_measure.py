"""How long a training step of Keras takes, how much it computes, and how fast the device multiplies: what a process of ``bench train`` measures."""

import contextlib
import dataclasses
import json
import time

import numpy as np

from birdlib import devices, runtime
from birdlib.pipeline import train_benchmark_cases as cases

_PRODUCT = {False: 1024, True: 8192}  # rows and columns of the matrices whose product is timed: on a CPU, on a GPU
_PRODUCT_S = 1.0
_TRAINING = 3.0  # operations of a step, forward and backward, over those forward
_MIN_STEPS = 3


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured of a case.

    Attributes:
        items_per_s: in steps that follow each other.
        first_step_s: from building the model to the end of the first step, nothing being compiled yet.
        again_s: the same with the compiled program in the cache; NaN where there is none.
        flops: of a step; ``flops_by``: "compiler", or "counted" from the layers.
        peak_tflops: of the device, by a matrix product in the same precision.
        memory_mb: of the device, else of the process; most at once.
        loss: after the timed steps; NaN where nothing is trained.
    """

    items_per_s: float
    first_step_s: float
    again_s: float
    flops: float
    flops_by: str
    peak_tflops: float
    memory_mb: float
    loss: float
    device: str
    precision: str


def main(name, size, seconds, precision):
    """Measure a case in this process and print the figures as a line of JSON."""
    print(json.dumps(dataclasses.asdict(measure(name, size, float(seconds), precision))))


def measure(name, size, seconds, precision="auto"):
    """Measure a case.

    Args:
        name, size: as of ``train_benchmark_cases.build``.
        seconds: of steps that are timed, after the first; at least three.
        precision: as of ``devices.prepare``.

    Returns:
        Measured.
    """
    import keras

    devices.prepare("default", precision)
    n = cases.batch_size(name, size)
    case, run, first_step_s = _first_step(name, size)
    steps = max(_MIN_STEPS, round(seconds / max(_seconds(run, 2) / 2, 1e-6)))
    elapsed_s = _seconds(run, steps)
    loss, memory_mb = run(1), _memory_mb()
    flops, flops_by = _flops(case)
    peak = matrix_product_tflops()
    again_s = np.nan
    if devices.backend() == "jax":
        import jax

        jax.clear_caches()
        _, _, again_s = _first_step(name, size)
    return Measured(
        n * steps / elapsed_s, first_step_s, again_s, flops, flops_by, peak, memory_mb, loss, ", ".join(devices.names()), keras.config.dtype_policy().name
    )


def _first_step(name, size):
    start = time.perf_counter()
    case = cases.build(name, size)
    run = _training(case) if case.targets is not None else _embedding(case)
    run(1)
    return case, run, time.perf_counter() - start


def _training(case):
    """Function of a number of steps that trains, by ``fit`` as in the stages, and returns the loss."""
    import keras

    class Same(keras.utils.PyDataset):
        """The same batch again and again; its arrays go to the device each time."""

        def __init__(self, steps):
            super().__init__()
            self.steps = steps

        def __len__(self):
            return self.steps

        def __getitem__(self, step):
            return case.inputs, case.targets

    return lambda steps: case.model.fit(Same(steps), shuffle=False, verbose=0).history["loss"][-1]


def _embedding(case):
    from birdlib.models import litert

    compute = litert.compiled(case.model, "patches", case.inputs.shape)

    def run(steps):
        for _ in range(steps):
            compute(case.inputs)
        return np.nan

    return run


def _seconds(run, steps):
    start = time.perf_counter()
    run(steps)
    return time.perf_counter() - start


def _memory_mb():
    if devices.backend() == "jax":
        import jax

        found = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    else:
        import tensorflow as tf

        found = tf.config.experimental.get_memory_info("GPU:0")["peak"] if devices.has_gpu() else None
    return found / 1e6 if found else runtime.peak_mb()


# Operations


def matrix_product_tflops():
    """What the device reaches in the product of two large square matrices in the current precision, the fastest of a second, in 1e12 operations/s."""
    import keras

    n, dtype = _PRODUCT[devices.has_gpu()], keras.config.dtype_policy().compute_dtype
    multiply = _compiled_product()
    a = keras.ops.cast(np.random.default_rng(0).standard_normal((n, n)).astype(np.float32) / n**0.5, dtype)
    keras.ops.convert_to_numpy(multiply(a))
    fastest, start = np.inf, time.perf_counter()
    while time.perf_counter() - start < _PRODUCT_S:
        fastest = min(fastest, _seconds(lambda _: keras.ops.convert_to_numpy(multiply(a)), 1))
    return 4 * 2 * n**3 / fastest / 1e12


def _compiled_product():
    """Four products, one after the other, of which one number is returned, so that no copy to the host counts."""

    def multiply(a):
        x = a
        for _ in range(4):
            x = x @ a
        return x[0, 0]

    if devices.backend() == "jax":
        import jax

        return jax.jit(multiply)
    import tensorflow as tf

    return tf.function(multiply)


def _flops(case):
    """(operations of a step, who says so)."""
    if devices.backend() == "jax" and not case.has_loop and (found := _compilers_flops(case)):
        return found, "compiler"
    return counted_flops(case.model, case.inputs, case.targets is not None), "counted"


def _compilers_flops(case):
    """By XLA's cost analysis, before it optimises; 0 where it gives none."""
    import jax

    model = case.model

    def forward(trainable, fixed, inputs, targets):
        outputs, _ = model.stateless_call(trainable, fixed, inputs, training=targets is not None)
        if targets is None:
            return sum(x.sum() for x in jax.tree.leaves(outputs))
        return model.compute_loss(inputs, targets, outputs)

    function = forward if case.targets is None else jax.value_and_grad(forward)
    weights = [[variable.value for variable in variables] for variables in (model.trainable_variables, model.non_trainable_variables)]
    found = jax.jit(function).lower(*weights, case.inputs, case.targets).cost_analysis()
    return float((found or {}).get("flops", 0.0))


def counted_flops(model, inputs, is_trained):
    """Multiplications and additions of the dense layers, convolutions, LSTMs and attentions of a model for one batch, three times where it is trained.

    Args:
        inputs: an array, or {name: array}, of a batch.
    """
    import keras

    n = len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)
    one = keras.tree.map_structure(lambda array: array[:1], inputs)
    with _counting() as counts:
        model(one, training=False)
    return float(sum(counts)) * n * (_TRAINING if is_trained else 1.0)


@contextlib.contextmanager
def _counting():
    """Collects the operations of each layer that is called in the block."""
    import keras

    counts, originals = [], {}

    def patch(kind, count):
        originals[kind] = kind.call

        def call(layer, inputs, *arguments, **options):
            outputs = originals[kind](layer, inputs, *arguments, **options)
            counts.append(count(layer, inputs, outputs))
            return outputs

        kind.call = call

    try:
        for kind, count in _COUNTS.items():
            patch(getattr(keras.layers, kind), count)
        yield counts
    finally:
        for kind, call in originals.items():
            kind.call = call


def _of_kernel(layer, inputs, outputs):
    """Of dense layers and convolutions: each weight of the kernel is used once for each position of the output."""
    return 2.0 * np.prod(layer.kernel.shape) * np.prod(outputs.shape[:-1])


def _of_separable(layer, inputs, outputs):
    weights = np.prod(layer.depthwise_kernel.shape) + np.prod(layer.pointwise_kernel.shape)
    return 2.0 * weights * np.prod(outputs.shape[:-1])


def _of_attention(layer, inputs, outputs):
    """The two products of queries with keys, and of weights with values, and the four projections."""
    n, dim, inner = inputs.shape[1], inputs.shape[-1], layer.num_heads * layer.key_dim
    return 2.0 * inputs.shape[0] * (2 * n * n * inner + 4 * n * dim * inner)


def _of_lstm(layer, inputs, outputs):
    return 2.0 * inputs.shape[0] * inputs.shape[1] * (inputs.shape[-1] + layer.units) * 4 * layer.units


_COUNTS = {
    "Dense": _of_kernel, "Conv1D": _of_kernel, "Conv2D": _of_kernel, "Conv3D": _of_kernel, "DepthwiseConv2D": _of_kernel,
    "SeparableConv2D": _of_separable, "MultiHeadAttention": _of_attention, "LSTM": _of_lstm,
}  # fmt: skip
