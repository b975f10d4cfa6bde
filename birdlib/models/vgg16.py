"""VGG16 without its top, trained on ImageNet ("Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015).

Images in are (batch, 224, 224, 3) as ``keras.applications.vgg16.preprocess_input`` makes them, which is not part of the model; features
out, those of block5_pool, are (batch, 7, 7, 512). The weights are Keras' own HDF5 file, or a mirror of it in ONNX.
"""

from birdlib.models import mirrors

IMAGE_SIZE = 224


def load(source):
    """Build VGG16 with weights from ``weights.fetch("vgg16")``.

    Returns:
        keras.Model, images (batch, 224, 224, 3) → features (batch, 7, 7, 512), under Keras' current dtype policy.
    """
    import keras

    model = keras.applications.VGG16(weights=None, include_top=False, input_shape=(IMAGE_SIZE, IMAGE_SIZE, 3))
    if source.format == "h5":
        model.load_weights(source.path)
        return model
    layers = [layer for layer in model.layers if layer.weights]
    for layer, arrays in zip(layers, mirrors.read_onnx(source.path), strict=True):
        layer.set_weights(arrays)
    return model
