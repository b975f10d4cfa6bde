"""Losses in ``keras.ops``, for TensorFlow and JAX. The modules import Keras, so they are imported by the functions that train."""
