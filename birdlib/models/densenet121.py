"""DenseNet121 without its top, trained on ImageNet ("Densely Connected Convolutional Networks", 2017).

Images in are (batch, 224, 224, 3) as ``keras.applications.densenet.preprocess_input`` makes them (RGB, scaled to mean 0 and deviation 1 of
ImageNet), which is not part of the model; features out, averaged over the image, are (batch, 1024). The weights are Keras' own HDF5 file; no
package carries them.
"""

IMAGE_SIZE = 224
FEATURES = 1024


def load(source):
    """Build DenseNet121 with weights from ``weights.fetch("densenet121")``.

    Returns:
        keras.Model, images (batch, 224, 224, 3) → features (batch, 1024), under Keras' current dtype policy.
    """
    import keras

    shape = (IMAGE_SIZE, IMAGE_SIZE, 3)
    model = keras.applications.DenseNet121(weights=None, include_top=False, pooling="avg", input_shape=shape)
    model.load_weights(source.path)
    return model
