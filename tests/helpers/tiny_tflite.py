"""Networks of the tests in the files and the form of BirdNET's."""

from birdlib.models import catalogue, weights


def source(name, folder, network, labels):
    """Write a ``tf.function`` as the TFLite model ``name`` of the catalogue, with the list of its classes."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()])
    model_name, labels_name = catalogue.MODELS[name].files
    (folder / model_name).write_bytes(converter.convert())
    (folder / labels_name).write_text("\n".join(labels), encoding="utf-8")
    return weights.Source(name, folder, "made for the test", "ab" * 32, "CC BY-NC-SA 4.0", "tflite")
