"""Trainings: one encoder, one loss, with soundscapes and mixtures or without, learnt and kept as a member of an ensemble.

A training is a dict: ``encoder`` (one of ``ENCODERS``), ``loss`` (one of ``label_losses.NAMES``), ``soundscapes`` and ``mixup`` (bool). All of them learn
from the same recordings and are judged on the same, so that their scores can be compared row by row.
"""

import os
import shutil
import time
from pathlib import Path

import numpy as np

import birdlib
from birdlib import runtime, stages
from birdlib.metrics import classification
from birdlib.models import catalogue, embedders, weights
from birdlib.species import classifiers, soundscape_labels, train_heads, train_waveforms

_WAVES = (*train_waveforms.MEL, *train_waveforms.MAE)
ENCODERS = (*embedders.NAMES, *_WAVES)
CODE = f"recipe 2 of birdlib {birdlib.__version__}"  # raise it when a training changes: none of before is taken for one of now


class TrainingError(runtime.BirdlibError):
    """A training that cannot be done as asked."""


def key(one, data, inputs, seed, precision, **options):
    """Digest of all that changes what comes of a training.

    Args:
        inputs: digests of the stages that are read; that of 06 counts only where its windows are learnt.
        options: of ``run``; those that this encoder does not look at do not count.

    Raises:
        TrainingError: for an encoder that does not exist.
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    if one["encoder"] not in ENCODERS:
        raise TrainingError(f"encoder {one['encoder']!r} is unknown: choose of {', '.join(ENCODERS)}")
    name = train_waveforms.MAE.get(one["encoder"]) or one["encoder"]
    is_fetched = name in catalogue.MODELS and name != data.embedder  # what stage 03 heard with is in its digest
    pretrained = weights.fetch(name, data.weights_dir).sha256 if is_fetched else ""
    own = _own(options, one["encoder"])
    heard = train_waveforms.listened(one, data, own["augmentation"]) if one["encoder"] in _WAVES else []
    beside = [_stretches(heard, stages.recordings_root(data.outputs_dir))] if len(heard) else []
    return runtime.digest([one, own, _inputs_of(one, inputs), pretrained, data.label_mode, seed, precision, *beside])


def run(one, data, folder, inputs, *, seed, **options):
    """Do a training and keep it in a folder: what ``classifiers.save`` writes, ``scores.npy`` (rows of the splits, classes) and last ``training.json``.

    Args:
        inputs: as of ``key``; they are written down.
        options: of ``head_trainings.OPTIONS`` and ``wave_trainings.OPTIONS``, which stand where none are given.

    Returns:
        dict, the contents of ``training.json``: ``training_s``, and beside it ``embedding_s``, which an embedder has for nothing if it is that of
        stage 03, or if the store knows the recordings; ``note``, how many have the prior because nothing was heard of them; ``weights, inputs,
        history``.

    Raises:
        ablation.UntrainableError: see ``head_trainings.pooled``.
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    train, source, started_s, embedding_s = train_waveforms.train, folder, time.monotonic(), 0.0
    if one["encoder"] not in _WAVES:
        train, source = train_heads.train, train_heads.listen(one["encoder"], data, folder, one["soundscapes"])
        embedding_s = time.monotonic() - started_s
    rng = runtime.set_seed(seed)
    model, scores, history, preprocessing, used = train(one, data, source, rng, **_own(options, one["encoder"]))
    unheard = np.isnan(scores).any(axis=1)
    scores = np.where(unheard[:, None], data.prior, scores)
    note = f"{unheard.sum()} of {len(scores)} recordings were not heard and have the prior" if unheard.any() else ""
    keep(folder, model, scores, data, preprocessing)
    with runtime.replacing(folder / "scores.npy") as temporary, open(temporary, "wb") as file:
        np.save(file, scores.astype(np.float32))
    told = {"training_s": time.monotonic() - started_s - embedding_s, "embedding_s": embedding_s, "note": note}
    told |= {"weights": used, "inputs": _inputs_of(one, inputs)}
    told |= {"history": history.astype(object).where(history.notna(), None).to_dict("records")}
    runtime.write_json(told, folder / "training.json")
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    for file in ("encoder.keras", "embeddings.npy", "window_embeddings.npy"):  # the store has these
        (folder / file).unlink(missing_ok=True)
    return told


def keep(folder, model, scores, data, preprocessing):
    """Save a model as a member, with thresholds for F1 on validation and the prior."""
    cleaned = stages.receipt(data.outputs_dir, "02_clean")["parameters"]
    thresholds = classification.best_thresholds(data.truth[data.is_validation], scores[data.is_validation])
    told = {**preprocessing, "denoise": cleaned["denoise"], "thresholds": thresholds.tolist(), "prior": data.prior.tolist()}
    classifiers.save(folder, model, data.classes, told)


def candidates(text, results, own):
    """Which encoders are, or may be, members of the ensemble.

    Args:
        text: comma list of encoders, which are all members then; or ``auto``: who may be chosen, all that were trained and whose weights'
            licence allows any use. What a classifier hears through BirdNET is under its licence, CC BY-NC-SA; so it joins by its name only,
            or as the embedder of stage 03.
        results: of ``ablation.run``, a row an encoder.
        own: the embedder of stage 03; it is the first candidate, and the only member where none is named.

    Returns:
        {encoder: ablation.Result}.

    Raises:
        TrainingError: for a name that was not trained.
    """
    trained = {result.row.training["encoder"]: result for result in results if result.scores is not None}
    if text == "auto":
        return {own: trained[own]} | {name: result for name, result in trained.items() if _is_free(name)}
    asked = runtime.names(text) or [own]
    if missing := [name for name in asked if name not in trained]:
        raise TrainingError(f"members {', '.join(missing)} were not trained: name them in encoders, and see the table for why not")
    return {name: trained[name] for name in asked}


def weights_of(results):
    """The pretrained weights of trainings, for the receipt: of those that are kept, since their licences hold for what is saved.

    That the weights of an encoder that was only compared have changed is seen by ``key``, when the stage runs for another reason.
    """
    told = [runtime.read_json(result.folder / "training.json")["weights"] for result in results if result.folder]
    return {name: record for one in told for name, record in one.items()}


def keep_ensemble(folder, own, chosen, results, told):
    """Put the members of the ensemble beside the classifier of stage 03's embedder, and last ``ensemble.json``.

    Args:
        folder: of the stage; it holds the classifier of ``own``.
        chosen: names of the members, in their order.
        results: from ``candidates``.
        told: ``rule, kept, thresholds, calibration, prior``, and ``validation``, {name: macro ROC-AUC}.

    Returns:
        the contents of ``ensemble.json``: ``told``, ``members`` (their folders), and by folder ``sha256`` of each model and ``validation``.
    """
    folder = Path(folder)
    places = {name: "." if name == own else f"members/{name}" for name in chosen}
    shutil.rmtree(folder / "members", ignore_errors=True)
    for name, place in places.items():
        (folder / place).mkdir(parents=True, exist_ok=True)
        for file in classifiers.FILES if name != own else ():
            with runtime.replacing(folder / place / file) as temporary:
                shutil.copyfile(results[name].folder / file, temporary)
    digests = {place: runtime.digest_file(folder / place / classifiers.FILES[0]) for place in places.values()}
    trust = {place: told["validation"][name] for name, place in places.items() if np.isfinite(told["validation"][name])}
    written = {**told, "members": list(places.values()), "sha256": digests, "validation": trust}
    runtime.write_json(written, folder / "ensemble.json")
    return written


def sweep(folder, inputs):
    """Remove trainings that nothing can ask for any more: of recordings, labels or code as they were, or never ended.

    Args:
        folder: of the trainings.
        inputs: digests of the stages that are read.
    """
    now = {"code": CODE, **inputs}
    for place in Path(folder).glob("*/"):
        path = place / "training.json"
        told = runtime.read_json(path)["inputs"] if path.is_file() else {}
        if "code" not in told or any(now.get(name) != digest for name, digest in told.items()):
            shutil.rmtree(place)


def watched(results, data, augmentation):
    """Files that trainings heard beside what the stages before wrote: another stage 07 is due where they change."""
    heard = [train_waveforms.listened(result.row.training, data, augmentation) for result in results if result.row.training["encoder"] in _WAVES]
    return sorted({path for table in heard for path in table["path"]})


def _stretches(table, root):
    """A table of stretches, JSON-able, with the size and time of each file and without the place of the folder."""
    stat = {path: Path(path).stat() for path in table["path"].unique() if Path(path).exists()}
    files = [[os.path.relpath(path, root), one.st_size, one.st_mtime_ns] for path, one in stat.items()]
    return [files, table.assign(path=[os.path.relpath(path, root) for path in table["path"]]).to_csv(index=False)]


def _inputs_of(one, inputs):
    read = {name: digest for name, digest in inputs.items() if name != soundscape_labels.STAGE or one["soundscapes"]}
    return {"code": CODE, **read}


def _is_free(encoder):
    model = catalogue.MODELS.get(train_waveforms.MAE.get(encoder) or encoder)
    return model is None or not ("NC" in model.licence or model.licence.startswith("none"))


def _own(options, encoder):
    """The options that this encoder looks at."""
    known = train_waveforms.OPTIONS if encoder in _WAVES else train_heads.OPTIONS
    return known | {name: value for name, value in options.items() if name in known}
