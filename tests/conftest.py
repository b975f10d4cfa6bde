import hypothesis
import pytest

hypothesis.settings.register_profile("same every time", derandomize=True, deadline=None)  # machines differ in speed
hypothesis.settings.load_profile("same every time")


@pytest.fixture
def drawn():
    """Every figure has to survive being drawn."""
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("Agg")
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")


@pytest.fixture
def precision(request):
    """Keras' policy for one test."""
    import keras

    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")
