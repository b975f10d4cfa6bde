import hypothesis
import pytest

hypothesis.settings.register_profile("same every time", derandomize=True, deadline=None)  # machines differ in speed
hypothesis.settings.load_profile("same every time")

LONGEST = ("test_jax.py", "test_chain.py", "test_accounts.py")  # minutes each


def pytest_collection_modifyitems(items):
    """Of several processes, none should begin the longest file when the others are done."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


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
