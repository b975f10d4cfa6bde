"""Inference with the ensemble of stage 07: loads its ``members`` and combines their scores."""

import warnings
from pathlib import Path

from birdlib import runtime
from birdlib.models import embedders
from birdlib.species import classifiers, ensembles, file_embedding, front_ends
from birdlib.species.members import EmbeddingMember, WaveformMember

_BACKENDS = ("auto", "tensorflow", "litert")


class MemberError(runtime.BirdlibError):
    """A member that cannot be loaded."""


# Loading


def load_config(folder):
    """The ensemble's configuration by stage 07; a folder without ``ensemble.json`` holds an ensemble of one classifier.

    Returns:
        dict: ``rule``, ``kept``, ``members`` (their folders, which are their ids), ``sha256`` of their models, ``classes``, ``thresholds``,
        ``prior``, ``calibration`` ({} if there is none), and maybe ``validation``, {member: macro ROC-AUC}.

    Raises:
        ClassifierError: if there is no classifier.
    """
    folder = Path(folder)
    missing = [name for name in classifiers.FILES[1:] if not (folder / name).is_file()]
    if missing:
        raise classifiers.ClassifierError(f"{folder} has no {', '.join(missing)}: run notebooks/07_classify.ipynb first")
    preprocessing = runtime.read_json(folder / "preprocessing.json")
    config = {"rule": "mean", "members": ["."], "thresholds": preprocessing.get("thresholds"), "prior": preprocessing["prior"]}
    if (folder / "ensemble.json").is_file():
        config = runtime.read_json(folder / "ensemble.json")
    elif (folder / classifiers.FILES[0]).is_file():
        config["sha256"] = {".": runtime.digest_file(folder / classifiers.FILES[0])}
    return {"kept": {}, "calibration": {}, **config, "classes": runtime.read_json(folder / "classes.json")}


def load(folder, weights_dir="", backend="auto", n_threads=2):
    """Load the members of the ensemble of stage 07.

    A member whose files or weights are missing or do not fit is left out with a warning, as long as others remain.

    Args:
        folder: of the stage, or a copy of it.
        weights_dir: where the embedders' weights are, see ``weights.find``.
        backend: "tensorflow", "litert" or "auto", see ``embedders.load`` and ``certify``.
        n_threads: of LiteRT.

    Returns:
        list of members, in the order of ``load_config``.

    Raises:
        BirdlibError: that of the first, if none remains.
    """
    folder, config = Path(folder), load_config(folder)
    file_embedders, members, failed = {}, [], []
    for member_id in config["members"]:
        try:
            members.append(_load_member(folder, member_id, config["classes"], file_embedders, weights_dir, backend, n_threads))
        except (runtime.BirdlibError, OSError, ValueError, TypeError, KeyError) as error:  # the last: of a damaged file
            failed.append((member_id, error))
    if not members:
        raise failed[0][1]
    for member_id, error in failed:
        warnings.warn(f"the member {member_id} is left out: {error}", stacklevel=2)
    front_ends.share(members)
    return members


def load_classifier(folder, file_embedder):
    """The classifier in a folder, on a ``file_embedding.FileEmbedder`` that is there already.

    Raises:
        ClassifierError: if there is none, or it was trained on another embedder.
    """
    model, classes, preprocessing = classifiers.load(folder)
    return EmbeddingMember(preprocessing["embedder"], ".", classes, preprocessing, model, file_embedder)


def _load_member(folder, member_id, classes, file_embedders, weights_dir, backend, n_threads):
    if backend not in _BACKENDS:
        raise MemberError(f"backend is {backend!r}: choose {', '.join(_BACKENDS)}")
    from birdlib.models import mae_heads  # noqa: F401  registers its layers with Keras
    from birdlib.species import mel_models  # noqa: F401  registers its layers with Keras

    model, own_classes, preprocessing = classifiers.load(folder / member_id)
    if own_classes != classes:
        raise MemberError(f"{folder / member_id} knows other species than {folder}: run notebooks/07_classify.ipynb again")
    if preprocessing.get("kind", "embeddings") == "waveform":
        name, key = Path(member_id).name or "classifier", runtime.digest_file(folder / member_id / classifiers.FILES[0])
        return WaveformMember(name, member_id, classes, preprocessing, model, key, backend, n_threads)
    embedder_name, octave_down = preprocessing["embedder"], preprocessing["octave_down"]
    resampler = preprocessing.get("resampler", "soxr_hq")  # earlier classifiers had no other
    key = embedder_name, octave_down, resampler
    if key not in file_embedders:
        own_backend = backend if embedder_name == "yamnet" else "auto"  # the others have one backend only
        embedder = embedders.load(embedder_name, weights_dir, octave_down, own_backend, n_threads, resampler)
        file_embedders[key] = file_embedding.FileEmbedder(embedder)
    name = embedder_name if member_id == "." else Path(member_id).name
    return EmbeddingMember(name, member_id, classes, preprocessing, model, file_embedders[key])


def combine(config, scores):
    """The scores of the ensemble, or of those members that have any.

    Args:
        config: from ``load_config``.
        scores: {member_id: (spans, classes)}.

    Returns:
        (spans, classes) float32.
    """
    present = [number for number, member_id in enumerate(config["members"]) if member_id in scores]
    kept = config["kept"]
    if "quantiles" in kept:
        kept = {"quantiles": [kept["quantiles"][number] for number in present]}
    return ensembles.combine([scores[config["members"][number]] for number in present], config["rule"], kept)
