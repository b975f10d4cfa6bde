"""ResNet50 without its top, trained on ImageNet ("Deep Residual Learning for Image Recognition", 2016).

Images in are (batch, 224, 224, 3) as ``keras.applications.resnet.preprocess_input`` makes them (BGR, 0-255 less ``MEANS_RGB``
reversed), which is not part of the model; features out, averaged over the image, are (batch, 2048). The weights are Keras' own
HDF5 file, or a mirror of it for TensorFlow.js.

The mirror was made for the batch-norm epsilon of early Keras, 1e-3; here it is that of Keras today and of the authors' Caffe network,
1e-5, whichever file is read. The features of a photo then differ by a cosine of 0.001.
"""

from birdlib.models import mirrors

IMAGE_SIZE = 224
FEATURES = 2048
MEANS_RGB = (123.68, 116.779, 103.939)  # of ImageNet


def load(source):
    """Build ResNet50 with weights from ``weights.fetch("resnet50")``.

    Returns:
        keras.Model, images (batch, 224, 224, 3) → features (batch, 2048), under Keras' current dtype policy.
    """
    import keras

    shape = (IMAGE_SIZE, IMAGE_SIZE, 3)
    model = keras.applications.ResNet50(weights=None, include_top=False, pooling="avg", input_shape=shape)
    if source.format == "h5":
        model.load_weights(source.path)
        return model
    weights_of = mirrors.resnet50_weights(source.path)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(weights_of(layer))
    return model
