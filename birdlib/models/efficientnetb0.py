"""EfficientNetB0 without its top, trained on ImageNet ("EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019).

Images in are (batch, 224, 224, 3) RGB in [0, 255]: the model scales them itself; features out, averaged over the image, are (batch, 1280).
The weights are Keras' own HDF5 file; no package carries them.
"""

IMAGE_SIZE = 224
FEATURES = 1280
_STD_RGB = (0.229, 0.224, 0.225)  # of ImageNet


def load(source):
    """Build EfficientNetB0 with weights from ``weights.fetch("efficientnetb0")``.

    Returns:
        keras.Model, images (batch, 224, 224, 3) → features (batch, 1280), under Keras' current dtype policy.
    """
    import keras

    shape = (IMAGE_SIZE, IMAGE_SIZE, 3)
    model = keras.applications.EfficientNetB0(weights=None, include_top=False, pooling="avg", input_shape=shape)
    load_weights(model, source.path)
    return model


def load_weights(network, path):
    """Load Keras' own file into an EfficientNetB0 of any input size that was built with ``weights=None, include_top=False``.

    The file holds the deviations of ImageNet where the network has variances. ``keras.applications`` divides once more by their root where it
    downloads the file itself; here the variances are corrected instead, and the network needs no further layer.
    """
    import keras
    import numpy as np

    network.load_weights(path)
    layer = next(layer for layer in network.layers if isinstance(layer, keras.layers.Normalization))
    mean, variance, count = layer.get_weights()
    layer.set_weights([mean, variance * np.array(_STD_RGB, np.float32), count])
    layer.finalize_state()
