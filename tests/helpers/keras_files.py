"""Weight files laid out as those of ``keras.applications``."""

import numpy as np


def write(network, path, prefix=False, **changes):
    """A network's weights as HDF5, layers without weights among the others.

    Args:
        prefix: whether names of weights begin with that of their layer, as in older files.
        changes: name of a weight → its values in the file, in place of the network's.
    """
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in network.layers]
        for layer in network.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" if prefix else f"{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = np.array([name.encode() for name in names], "S60")
            for name, weight, values in zip(names, layer.weights, layer.get_weights(), strict=True):
                group[name] = changes.get(weight.name, values)


def randomise(network, seed=0):
    """Give every weight values of its own, near those it has."""
    rng = np.random.default_rng(seed)
    network.set_weights([0.1 * rng.random(weight.shape, np.float32) + np.float32(weight) for weight in network.get_weights()])
