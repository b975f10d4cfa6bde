"""Experiments: trainings of one encoder with one loss, with soundscapes and mixup or without, kept as members of an ensemble.

A configuration is a dict: ``encoder`` (one of ``ENCODERS``), ``loss`` (a name of ``losses.classification``), ``soundscapes`` and
``mixup`` (bool). All are trained and evaluated on the same recordings, so their scores can be compared row by row.
"""

import dataclasses
import os
import shutil
import time
from pathlib import Path

import numpy as np

import birdlib
from birdlib import runtime, stages
from birdlib.metrics import classification
from birdlib.models import catalogue, embedders, weights
from birdlib.species import (
    ablation,
    block_probes,
    classifiers,
    distillation,
    soundscape_windows,
    train_heads,
    train_waveforms,
    waveform_networks,
)

ENCODERS = (*embedders.EMBEDDERS, *waveform_networks.ENCODERS)
CODE = f"recipe 3 of birdlib {birdlib.__version__}"  # raise it when the training code changes: older trainings are then not reused


class TrainingError(runtime.BirdlibError):
    """A configuration that cannot be trained."""


def key(config, data, inputs, seed, precision, **options):
    """Digest of all that changes the result of a training.

    Args:
        inputs: digests of the stages that are read; that of 06 counts only with soundscapes.
        options: as of ``run``; those of other encoders do not count.

    Raises:
        TrainingError: for an encoder that does not exist.
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    encoder = config["encoder"]
    if encoder not in ENCODERS:
        raise TrainingError(f"encoder {encoder!r} is unknown: choose of {', '.join(ENCODERS)}")
    own = _options(options, encoder)
    segments = train_waveforms.background_segments(config, data, own.augmentation) if encoder in waveform_networks.ENCODERS else []
    background = [_segment_record(segments, stages.recordings_root(data.outputs_dir))] if len(segments) else []
    settings = [config, dataclasses.asdict(own), _relevant_inputs(config, inputs), _teacher_digest(encoder, data, own)]
    return runtime.digest([*settings, _pretrained_digest(encoder, data), data.label_mode, seed, precision, *background])


def run(config, data, folder, inputs, *, seed, **options):
    """Train a configuration and save it in a folder, as a member with ``scores.npy`` (rows of the splits, classes).

    Args:
        inputs: as of ``key``; they are recorded.
        options: of ``train_heads.Options`` and ``train_waveforms.Options``, whose defaults are used otherwise.

    Returns:
        dict, the contents of ``training.json``, which is written last: ``training_s``; ``embedding_s``, almost 0 if stage 03 or the store has
        the embeddings; ``note``, what replaces weights that cannot be had, and how many recordings without scores get the prior; ``weights,
        inputs, history``.

    Raises:
        ablation.UntrainableError: see ``train_heads.pool_recordings``.
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    folder, encoder = Path(folder), config["encoder"]
    folder.mkdir(parents=True, exist_ok=True)
    train, source, started_s, embedding_s = train_waveforms.train, folder, time.monotonic(), 0.0
    if encoder not in waveform_networks.ENCODERS:
        train = block_probes.train if encoder in embedders.BLOCKS else train_heads.train
        source = train_heads.load_embeddings(encoder, data, folder, config["soundscapes"])
        embedding_s = time.monotonic() - started_s
    rng = runtime.set_seed(seed)
    model, scores, history, preprocessing, pretrained = train(config, data, source, rng, _options(options, encoder))
    is_missing = np.isnan(scores).any(axis=1)
    scores = np.where(is_missing[:, None], data.prior, scores)
    notes = [preprocessing.get("note"), is_missing.any() and f"{is_missing.sum()} of {len(scores)} recordings have no scores and get the prior"]
    save_member(folder, model, scores, data, preprocessing)
    with runtime.replacing(folder / "scores.npy") as temporary, open(temporary, "wb") as file:
        np.save(file, scores.astype(np.float32))
    record = {
        "training_s": time.monotonic() - started_s - embedding_s,
        "embedding_s": embedding_s,
        "note": "; ".join(note for note in notes if note),
        "weights": pretrained,
        "inputs": _relevant_inputs(config, inputs),
        "history": history.astype(object).where(history.notna(), None).to_dict("records"),
    }
    runtime.write_json(record, folder / "training.json")
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    for file in ("embeddings.npy", "window_embeddings.npy"):  # the store has these
        (folder / file).unlink(missing_ok=True)
    return record


def run_rows(rows, *, data, folder, inputs, precision, **options):
    """Train rows of an ablation: ``ablation.run`` of ``run``.

    Args:
        rows: list of ``ablation.Row``.
        folder: of the stage; trainings are in its folder ``trainings``.
        inputs, options: as of ``run``; ``precision`` as of ``key``.
    """
    fixed = {"data": data, "inputs": inputs, **options}
    for encoder in (embedders.NAMES[0], waveform_networks.ENCODERS[0]):
        _options(options, encoder)  # a wrong one is refused before the first training

    def train(config, training_dir):
        return run(config, folder=training_dir, **fixed)

    def digest(config):
        return key(config, precision=precision, **fixed)

    return ablation.run(rows, train, digest, Path(folder) / "trainings", data.windows is not None)


def require_names(*, components, losses, encoders, members, own):
    """Refuse wrong names of the parameters of stage 07 before the first training.

    Args:
        components, losses, encoders: as of ``ablation``. members: as ``text`` of ``candidates``.
        own: the embedder of stage 03.

    Raises:
        ablation.AblationError: for a component, loss or encoder that does not exist.
        TrainingError: for a member that is not trained.
    """
    if components != "auto":
        ablation.components(components, [], None, None)
    ablation.loss_rows(losses, {"loss": ""})
    ablation.encoder_rows(encoders, {"encoder": own}, ENCODERS)
    untrained = [name for name in runtime.names(members) if members != "auto" and name not in (own, *runtime.names(encoders))]
    if untrained:
        raise TrainingError(f"members {', '.join(untrained)} are not trained: name them in encoders, too; there are {', '.join(ENCODERS)}")


def save_member(folder, model, scores, data, preprocessing):
    """Save a model as a member, with thresholds for F1 on validation and the prior."""
    denoise = stages.receipt(data.outputs_dir, "02_clean")["parameters"]["denoise"]
    thresholds = classification.best_thresholds(data.truth[data.is_validation], scores[data.is_validation])
    rules = {"denoise": denoise, "thresholds": thresholds.tolist(), "prior": data.prior.tolist()}
    classifiers.save(folder, model, data.classes, preprocessing | rules)


def candidates(text, results, own):
    """The encoders that are, or may become, members of the ensemble.

    Args:
        text: comma list of encoders, which are all members then; or ``auto``: all that were trained and whose weights' licence allows any use.
            BirdNET's licence, CC BY-NC-SA, extends to classifiers on its embeddings and to what is distilled from them; so these join only by
            their names, or as the embedder of stage 03.
        results: of ``ablation.run``, a row an encoder.
        own: the embedder of stage 03; it is the first candidate, and the only member where none is named.

    Returns:
        {encoder: ablation.Result}.

    Raises:
        TrainingError: for a name that was not trained.
    """
    trained = {result.row.training["encoder"]: result for result in results if result.scores is not None}
    if text == "auto":
        free = {name: result for name, result in trained.items() if _is_free(name) and not _is_distilled_from_restricted(result)}
        return {own: trained[own]} | free
    names = runtime.names(text) or [own]
    if missing := [name for name in names if name not in trained]:
        raise TrainingError(f"members {', '.join(missing)} were not trained: name them in encoders, and see the table for why not")
    return {name: trained[name] for name in names}


def weights_of(results):
    """The pretrained weights of trainings that are saved, for the receipt, since their licences apply to the saved models.

    Changed weights of other encoders are noticed by ``key`` when the stage runs for another reason.
    """
    used = [runtime.read_json(result.folder / "training.json")["weights"] for result in results if result.folder]
    return {name: record for weights_used in used for name, record in weights_used.items()}


def save_ensemble(folder, own, chosen, results, settings):
    """Copy the members of the ensemble beside the classifier of stage 03's embedder, and write ``ensemble.json`` last.

    Args:
        folder: of the stage; it has the classifier of ``own``.
        chosen: names of the members, in their order.
        results: from ``candidates``.
        settings: ``rule, kept, thresholds, calibration, prior``, and ``validation``, {name: macro ROC-AUC}.

    Returns:
        the contents of ``ensemble.json``: ``settings``, ``members`` (their folders), and by folder ``sha256`` of each model and ``validation``.
    """
    folder = Path(folder)
    member_dirs = {name: "." if name == own else f"members/{name}" for name in chosen}
    shutil.rmtree(folder / "members", ignore_errors=True)
    for name, member_dir in member_dirs.items():
        (folder / member_dir).mkdir(parents=True, exist_ok=True)
        for file in classifiers.FILES if name != own else ():
            with runtime.replacing(folder / member_dir / file) as temporary:
                shutil.copyfile(results[name].folder / file, temporary)
    digests = {member_dir: runtime.digest_file(folder / member_dir / classifiers.FILES[0]) for member_dir in member_dirs.values()}
    aucs = {member_dir: settings["validation"][name] for name, member_dir in member_dirs.items()}
    validation = {member_dir: auc for member_dir, auc in aucs.items() if np.isfinite(auc)}
    written = {**settings, "members": list(member_dirs.values()), "sha256": digests, "validation": validation}
    runtime.write_json(written, folder / "ensemble.json")
    return written


def remove_stale(folder, inputs):
    """Remove trainings that cannot be reused: of other recordings, labels or code, or unfinished.

    Args:
        folder: of the trainings.
        inputs: digests of the stages that are read.
    """
    now = {"code": CODE, **inputs}
    for training_dir in Path(folder).glob("*/"):
        path = training_dir / "training.json"
        before = runtime.read_json(path)["inputs"] if path.is_file() else {}
        if "code" not in before or any(now.get(name) != digest for name, digest in before.items()):
            shutil.rmtree(training_dir)


def background_files(results, data, augmentation):
    """Files that trainings read besides the outputs of earlier stages: if they change, stage 07 is due again."""
    configs = [result.row.training for result in results if result.row.training["encoder"] in waveform_networks.ENCODERS]
    tables = [train_waveforms.background_segments(config, data, augmentation) for config in configs]
    return sorted({path for table in tables for path in table["path"]})


def _pretrained_digest(encoder, data):
    """sha256 of the weights that a training starts from; empty where it has none, or the digest of stage 03 includes them."""
    if encoder in waveform_networks.MAE:
        source = waveform_networks.published_weights(encoder, data.weights_dir)
        return source.sha256 if source else ""
    name = embedders.weights_name(encoder)
    is_fetched = name in catalogue.MODELS and encoder != data.embedder
    return weights.fetch(name, data.weights_dir).sha256 if is_fetched else ""


def _teacher_digest(encoder, data, options):
    """sha256 of the weights that a mel model is distilled from; empty without distillation."""
    is_distilled = encoder in waveform_networks.MEL and options.distillation
    return distillation.choose(options.distillation_teachers, data.weights_dir).sha256 if is_distilled else ""


def _segment_record(table, root):
    """A table of segments, JSON-able, with the size and time of each file, by paths relative to ``root``."""
    stats = {path: Path(path).stat() for path in table["path"].unique() if Path(path).exists()}
    files = [[os.path.relpath(path, root), stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()]
    return [files, table.assign(path=[os.path.relpath(path, root) for path in table["path"]]).to_csv(index=False)]


def _relevant_inputs(config, inputs):
    read = {name: digest for name, digest in inputs.items() if name != soundscape_windows.STAGE or config["soundscapes"]}
    return {"code": CODE, **read}


def _is_free(encoder):
    model = catalogue.MODELS.get(waveform_networks.MAE.get(encoder) or embedders.weights_name(encoder))
    return model is None or not _is_restricted(model.licence)


def _is_distilled_from_restricted(result):
    """Whether a training used pretrained weights, those of a teacher say, whose licence restricts use."""
    return any(_is_restricted(source["licence"]) for source in weights_of([result]).values())


def _is_restricted(licence):
    return "NC" in licence or licence.startswith("none")


def _options(given, encoder):
    """The options of this encoder: those that are given, else the defaults."""
    options = train_waveforms.Options if encoder in waveform_networks.ENCODERS else train_heads.Options
    return options(**{field.name: given[field.name] for field in dataclasses.fields(options) if field.name in given})
