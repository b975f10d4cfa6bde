"""What Keras computes on: its backend, the devices, their number, and the precision.

TensorFlow is the default backend. With ``KERAS_BACKEND=jax`` in the environment everything runs on JAX, TensorFlow need not be installed, and compiled
programs are kept in the cache folder (or in ``BIRDLIB_COMPILED``), so that a second run compiles nothing.
"""

import contextlib
import importlib.util
import os
import sys

from birdlib import runtime

STRATEGIES = ("auto", "default", "mirrored", "tpu")
PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
_MIN_COMPILE_S = 0.3  # a program that compiles faster is not kept
_BFLOAT16_CAPABILITY = (8, 0)  # of NVIDIA's cards: Ampere and later


def choose_backend():
    """Where TensorFlow is not installed but JAX is, let Keras run on JAX, unless the environment says otherwise; before Keras is imported."""
    if "keras" not in sys.modules and not has_tensorflow() and importlib.util.find_spec("jax"):
        os.environ.setdefault("KERAS_BACKEND", "jax")


def has_tensorflow():
    """Whether TensorFlow is installed."""
    return importlib.util.find_spec("tensorflow") is not None


def backend():
    """Keras' backend: ``"tensorflow"`` or ``"jax"``; ``""`` where Keras is not imported."""
    return sys.modules["keras"].backend.backend() if "keras" in sys.modules else ""


def prepare(strategy="auto", precision="float32"):
    """Set up the backend and return the distribution whose ``scope()`` models are built and trained in.

    On TensorFlow, the memory of a GPU grows on demand. On JAX, compiled programs are kept, and on several devices each batch is divided over them
    (``keras.distribution.DataParallel``): losses that mine a batch mine all of it, so figures do not depend on the number of devices.

    Args:
        strategy: ``"auto"`` (all GPUs if there are several, else the one device), ``"default"`` (one device), ``"mirrored"`` (all devices) or ``"tpu"``.
        precision: a Keras policy, ``"float32"``, ``"mixed_float16"`` or ``"mixed_bfloat16"``, or ``"auto"``: bfloat16 on a device that
            multiplies it fast, else float32.

    Raises:
        ParameterError: for another strategy or precision, or a TPU where there is none.
    """
    for what, value, known in (("strategy", strategy, STRATEGIES), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise runtime.ParameterError(f"{what} {value!r} is unknown: use {', '.join(known[:-1])} or {known[-1]}")
    import keras

    distribution = (_prepare_jax if backend() == "jax" else _prepare_tensorflow)(strategy)
    if precision == "auto":
        precision = "mixed_bfloat16" if has_bfloat16() else "float32"
    keras.config.set_dtype_policy(precision)
    return distribution


def has_bfloat16():
    """Whether every device multiplies bfloat16 fast: TPUs, and NVIDIA's cards since Ampere."""
    if backend() == "jax":
        import jax

        found = [_jax_capability(device) for device in jax.devices()]
    else:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        found = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
    return bool(found) and min(found) >= _BFLOAT16_CAPABILITY


def has_gpu():
    """Whether Keras computes on a GPU or TPU."""
    if backend() == "jax":
        import jax

        return jax.default_backend() != "cpu"
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def fits(n_bytes):
    """Whether arrays may stay on the device through a training: up to a quarter of the memory of JAX's device, which a CPU does not have."""
    if backend() != "jax":
        return False
    import jax

    return n_bytes <= (jax.devices()[0].memory_stats() or {}).get("bytes_limit", 0) / 4


def n_replicas():
    """Number of parts that the current distribution cuts a batch into, each with a loss of its own; 1 on JAX, where the loss is of the whole batch."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def names():
    """The backend's devices, e.g. ``["CPU"]`` or ``["GPU: NVIDIA L4"]``; on JAX each with the backend, e.g. ``["JAX, GPU: NVIDIA L4"]``."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return [f"JAX, {device.platform.upper()}" + (f": {device.device_kind}" if device.platform != "cpu" else "") for device in jax.devices()]
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    found = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    return [f"GPU: {name}" for name in found] or ["CPU"]


# TensorFlow


def _prepare_tensorflow(strategy):
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        with contextlib.suppress(RuntimeError):  # already in use
            tf.config.experimental.set_memory_growth(gpu, True)
    if strategy == "mirrored" or (strategy == "auto" and len(gpus) > 1):
        return tf.distribute.MirroredStrategy()
    if strategy == "tpu":
        return tf.distribute.TPUStrategy(tf.distribute.cluster_resolver.TPUClusterResolver.connect())
    return tf.distribute.get_strategy()


# JAX


class _OneDevice:
    """The distribution of one device: nothing is divided."""

    def scope(self):
        return contextlib.nullcontext()


def _prepare_jax(strategy):
    import jax
    import keras

    jax.config.update("jax_compilation_cache_dir", os.environ.get("BIRDLIB_COMPILED") or str(runtime.cache_dir() / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_COMPILE_S)
    platform, n_devices = jax.default_backend(), len(jax.devices())
    if strategy == "tpu" and platform != "tpu":
        raise runtime.ParameterError(f"strategy is 'tpu', but JAX has {', '.join(names())}: use auto")
    if strategy == "default" or n_devices == 1 or (strategy == "auto" and platform == "cpu"):
        return _OneDevice()
    _replicate_what_does_not_divide()
    return keras.distribution.DataParallel(auto_shard_dataset=False)


def _jax_capability(device):
    """(major, minor) of a device; (0, 0) of a CPU, and a TPU has all."""
    if device.platform == "tpu":
        return 99, 0
    major, _, minor = str(getattr(device, "compute_capability", "0.0")).partition(".")
    return int(major), int(minor or 0)


def _replicate_what_does_not_divide():
    """Let the last batch of a data set be computed by every device where its rows do not divide.

    Keras 3.15 divides all batches of a data set as its first, and JAX raises an error for the last of another size.
    """
    import jax
    from keras.src.backend import distribution_lib

    divide = distribution_lib.distribute_data_input
    if hasattr(divide, "of_birdlib"):
        return

    def divide_or_replicate(batch, layout, batch_dim_name):
        sharding = getattr(layout, "backend_layout", layout)
        if batch.ndim and batch.shape[0] % sharding.mesh.shape[batch_dim_name]:
            sharding = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
        return divide(batch, sharding, batch_dim_name)

    divide_or_replicate.of_birdlib = True
    distribution_lib.distribute_data_input = divide_or_replicate
