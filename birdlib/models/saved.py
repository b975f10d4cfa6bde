"""Opening saved Keras models, which may be a stranger's: a ``.keras`` file is an archive of a description and of weights.

A description can name any function that Python can import, and weights can link to other files. Here a model has layers of Keras and of
birdlib only, none that runs code or opens files, and all its numbers are in the file. Otherwise it is refused before Keras opens it.
"""

import json
import zipfile

from birdlib import runtime

_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
_MAX_EXPANSION = 100  # bytes of a member for each in the archive; Keras does not compress
_MODULES = tuple(f"keras.{name}" for name in "layers initializers regularizers constraints activations optimizers losses metrics dtype_policies models ops src.models src.ops".split())
_OF_KERAS = {"DTypePolicy", "FloatDTypePolicy", "Functional", "Model", "Sequential"}  # in the module "keras"
_REFUSED = set("Lambda TorchModuleWrapper TFSMLayer JaxLayer FlaxLayer StringLookup IntegerLookup TextVectorization".split())  # run code, or open files
_VALUES = {"__keras_tensor__", "__slice__", "__tensor__", "__numpy__", "__ellipsis__"}  # and not "__lambda__"
_REMEDY = "run the stage that wrote it again, or use a model whose maker you trust"


class SavedModelError(runtime.FileError):
    """A saved model that is damaged, or holds what might do harm."""


def load(path):
    """A saved model, ready to use, not compiled.

    Args:
        path: of a ``.keras`` file.

    Raises:
        SavedModelError: if it is missing or damaged, holds a layer that is neither Keras' nor birdlib's or that runs code or opens files,
            or its weights are in other files.
    """
    import keras

    try:
        _require_harmless(path)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except SavedModelError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise SavedModelError(path, f"cannot be opened ({reason}), damaged or of another version: {_REMEDY}") from error


def _require_harmless(path):
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if {member.filename for member in members} != _MEMBERS or len(members) > len(_MEMBERS):
            raise SavedModelError(path, f"holds {', '.join(member.filename for member in members[:5])}, not what Keras writes: {_REMEDY}")
        if any(member.file_size > _MAX_EXPANSION * max(1, member.compress_size) for member in members):
            raise SavedModelError(path, f"would unpack to more than {_MAX_EXPANSION} times its size: {_REMEDY}")
        if refused := next(_unknown(json.loads(archive.read("config.json"))), None):
            raise SavedModelError(path, f"holds {refused}, which is no layer of Keras or birdlib, runs code or opens files: {_REMEDY}")
        with archive.open("model.weights.h5") as file:
            _require_own_weights(path, file)


def _unknown(value):
    """Yields the names of the classes and functions in a description that are not allowed."""
    if isinstance(value, dict):
        if "class_name" in value and not _is_known(value):
            yield ".".join(str(value[name]) for name in ("module", "class_name") if value.get(name))
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _unknown(item)


def _is_known(described):
    name, module, registered = str(described["class_name"]), str(described.get("module") or ""), str(described.get("registered_name") or "")
    if not module:
        return name in _VALUES
    if module.startswith("birdlib."):
        return registered == f"birdlib>{name}"
    if name in _REFUSED or ">" in registered:
        return False
    return name in _OF_KERAS if module == "keras" else any(module == known or module.startswith(f"{known}.") for known in _MODULES)


def _require_own_weights(path, file):
    """Refuse links and data sets that are in other files, which HDF5 would open."""
    import h5py

    with h5py.File(file, "r") as weights:
        groups = [weights]
        for group in groups:
            for name in group:
                is_own = isinstance(group.get(name, getlink=True), h5py.HardLink)
                item = group[name] if is_own else None
                if item is None or isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
                    raise SavedModelError(path, f"has weights in another file ({group.name}/{name}): {_REMEDY}")
                if isinstance(item, h5py.Group) and item not in groups:
                    groups.append(item)
