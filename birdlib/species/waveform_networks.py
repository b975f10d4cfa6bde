"""Networks on waveforms: mel models, and Bird-MAE with a head, from published weights or pretrained on the project's own recordings."""

import dataclasses
import os
import shutil

from birdlib import runtime, stages
from birdlib.audio import augment
from birdlib.models import weights
from birdlib.species import dataset, soundscape_windows

MEL = {"mel_cnn": "cnn", "mobilenetv2": "mobilenetv2", "efficientnetb0": "efficientnetb0"}  # encoder → backbone
MAE = {"mae": "", "mae_base": "bird_mae"}  # encoder → published weights; "" is pretrained here
MAE_TRAININGS = ("auto", "probe", "finetune")
ENCODERS = (*MEL, *MAE)


@dataclasses.dataclass(frozen=True)
class Network:
    """A model to be trained.

    Attributes:
        model: keras.Model, waveforms (batch, samples) → (batch, classes), with the parts ``front_end`` and ``body``.
        learning_rate: the highest.
        keeps_level: whether its spectrogram depends on the level of the sound.
        scale: of its spectrogram, as of ``augment.spectrograms``.
        weights: the receipt of its pretrained weights.
        note: what was built instead of what was named; empty: that itself.
    """

    model: object
    learning_rate: float
    keeps_level: bool
    weights: dict
    note: str = ""
    scale: dict | None = None


def published_weights(encoder, weights_dir):
    """The published weights of an encoder of ``MAE``, fetched; None for one without, and where they cannot be had.

    Returns:
        weights.Source or None; a tiny encoder is then pretrained on the recordings.
    """
    try:
        return weights.fetch(MAE[encoder], weights_dir) if MAE[encoder] else None
    except weights.MissingWeightsError:
        return None


def build(config, data, folder, rng, options):
    """The network of a configuration, with the masks of its augmentation.

    Args:
        folder: of the training; an encoder that is pretrained here is kept beside it.
        options: ``train_waveforms.Options``.

    Returns:
        Network.
    """
    masking = augment.masking(augment.parse(options.augmentation), options.masks, int(rng.integers(2**31)))
    if config["encoder"] in MEL:
        return _mel_model(config, data, masking, options)
    return _bird_mae(config, data, folder, masking, rng, options)


def _mel_model(config, data, masking, options):
    from birdlib.species import mel_models

    model, receipt = mel_models.build(
        len(data.classes), backbone=MEL[config["encoder"]], head=options.mel_head, mode=dataset.mode_of(config["loss"]), masking=masking,
        weights_dir=data.weights_dir,
    )  # fmt: skip
    return Network(model, options.mel_learning_rate, keeps_level=False, weights=receipt)


def _bird_mae(config, data, folder, masking, rng, options):
    """Bird-MAE with its published weights, or a tiny one that is pretrained on these recordings, with a head."""
    from birdlib.models import fbanks, mae_checkpoints, mae_heads

    encoder, source = config["encoder"], published_weights(config["encoder"], data.weights_dir)
    network = mae_checkpoints.load(source.path) if source else _pretrain(data, folder, rng, options)
    head = mae_heads.build_head(options.mae_head, network, len(data.classes), mode=dataset.mode_of(config["loss"]))
    is_frozen = {"auto": bool(source), "probe": True, "finetune": False}[options.mae_training]
    model = mae_heads.classifier(network, head, freeze=is_frozen, masking=masking)
    rate = options.mae_learning_rate if source and not is_frozen else options.mel_learning_rate
    note = "" if source or not MAE[encoder] else f"the weights {MAE[encoder]} cannot be had: a tiny encoder was pretrained on these recordings instead"
    return Network(model, rate, keeps_level=True, weights={MAE[encoder]: source.receipt()} if source else {}, note=note, scale=fbanks.SCALE)


def _pretrain(data, folder, rng, options):
    """The tiny encoder. Trainings on the same recordings share it: it is kept beside their folders, until ``experiments.remove_stale``."""
    import keras

    from birdlib.species import mae_pretraining

    paths = data.clip_paths(data.is_train) + soundscape_windows.available(stages.recordings_root(data.outputs_dir))
    numbers = {"epochs": options.mae_epochs, "max_clips": options.mae_clips}
    stats = [[os.path.relpath(path, data.outputs_dir), os.path.getsize(path)] for path in paths]
    digest = runtime.digest([stats, numbers, rng.bit_generator.state, keras.config.dtype_policy().name])
    shared = folder.parent / f"pretraining_{digest[:16]}"
    shared.mkdir(parents=True, exist_ok=True)
    encoder = mae_pretraining.pretrain(paths, data.clip_paths(data.is_validation), shared, "07_classify", **numbers, rng=rng)
    if (shared / mae_pretraining.RECONSTRUCTIONS).is_file():
        shutil.copyfile(shared / mae_pretraining.RECONSTRUCTIONS, folder / mae_pretraining.RECONSTRUCTIONS)
    keras.utils.set_random_seed(int(rng.integers(2**31)))  # the head starts alike, whether the encoder was trained now or before
    return encoder
