"""Training losses in ``keras.ops``, a formula each."""
