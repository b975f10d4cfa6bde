"""Probes on the inner blocks of a frozen network: which of its blocks separates these species best, and by which simple classifier.

A probe is logistic regression on recordings, or a vote of the nearest training examples, recordings and labelled windows of soundscapes alike. Block and
probe are chosen together by macro ROC-AUC on validation. A bronze medal of BirdCLEF+ 2026 came from such a probe on Perch v2: the last block of a
network is the most specialised to the classes that it was trained on.
"""

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.metrics import classification
from birdlib.models import embedders, pooling
from birdlib.species import ablation, classifiers, train_heads

NEIGHBOURS = (5, 20)  # to choose from
_N_WINDOWS = 2  # of a recording, besides the whole
_MAX_EXAMPLES = 20_000  # that a vote is taken of: with 1,000 numbers each they take 80 MB
_MIN_DEVIATION = 1e-4


def train(config, data, embedded, rng, options):
    """Train the probes of all blocks and keep the best on validation; arguments and result as of ``train_heads.train``.

    The loss and mixup of ``config`` do not apply. ``preprocessing["note"]`` names block and probe, and the history has a row for each that was tried:
    ``block, probe, validation_auc``.

    Args:
        embedded: from ``train_heads.load_embeddings`` of one of ``embedders.BLOCKS``.

    Raises:
        ablation.UntrainableError: if the embeddings are of no blocks, or as of ``train_heads.pool_recordings``.
    """
    if "blocks" not in embedded.preprocessing:
        raise ablation.UntrainableError(f"{embedded.preprocessing['embedder']} is for the encoders of 07, not the embedder of 03: run 03 with another")
    patch_pooling = pooling.of_embedder(embedded.preprocessing["embedder"], embedded.embeddings.shape[1], "mean")
    features = train_heads.pool_recordings(embedded, data, patch_pooling)
    examples = _examples(config, data, embedded, patch_pooling, options, rng)
    is_validation = data.is_validation & np.isfinite(features[:, 0])
    validation = features[is_validation], data.truth[is_validation]
    rows = data.is_train & np.isfinite(features[:, 0])
    best, tried = None, []
    for block, span in embedded.preprocessing["blocks"].items():
        for probe, head in _probes(span, features[rows], data.labels[rows], examples, validation):
            auc = classification.macro_roc_auc(validation[1], classifiers.predict(head, validation[0]))
            tried.append((block, probe, auc))
            if best is None or auc > best[0]:
                best = auc, head, f"block {block}, {probe}"
    scores = np.where(np.isfinite(features[:, :1]), classifiers.predict(best[1], np.nan_to_num(features)), np.nan)
    note = f"{best[2]}, the best of {len(tried)} on validation"
    model = classifiers.join(patch_pooling, best[1], embedded.embeddings.shape[1])
    history = pd.DataFrame(tried, columns=["block", "probe", "validation_auc"])
    return model, scores, history, embedded.preprocessing | {"note": note}, embedded.weights


def table(results):
    """Validation figures by block and probe of trained rows: DataFrame with a row a block, a column a probe, and the encoder as outer index.

    Args:
        results: of ``ablation.run``; rows of other encoders are left out.
    """
    histories = {
        result.row.name: pd.DataFrame(runtime.read_json(result.folder / "training.json")["history"])
        for result in results
        if result.folder is not None and result.row.name in embedders.BLOCKS
    }
    tables = {name: history.pivot(index="block", columns="probe", values="validation_auc").loc[history["block"].unique()] for name, history in histories.items()}
    return pd.concat(tables, names=["encoder"]) if tables else pd.DataFrame()


def _examples(config, data, embedded, patch_pooling, options, rng):
    """(features, labels) of training recordings, whole and in windows, and of labelled windows of soundscapes if ``config`` has them."""
    from birdlib.species import fit_heads

    recordings, truth = data.splits[data.is_train], data.truth[data.is_train]
    features, labels, _ = fit_heads.training_set(
        embedded.embeddings, embedded.patches, patch_pooling, recordings, truth, options.window_patches, 0.0, rng, _N_WINDOWS
    )
    if config["soundscapes"]:
        windows, targets = train_heads.pool_windows(embedded, data, patch_pooling)
        features, labels = np.concatenate([features, windows]), np.concatenate([labels, targets])
    if len(features) > _MAX_EXAMPLES:
        kept = rng.choice(len(features), _MAX_EXAMPLES, replace=False)
        features, labels = features[kept], labels[kept]
    return features, labels.astype(np.float32)


def _probes(span, features, labels, examples, validation):
    """Yields (name, head: features → probabilities) of one block."""
    import keras

    from birdlib.models import probe_layers
    from birdlib.species import fit_heads

    given = keras.Input(features.shape[1:], name="features")
    block = probe_layers.BlockFeatures([span])
    scaled = block(given)
    parts = np.asarray(block.part(examples[0]))
    block.set_weights([parts.mean(axis=0), np.maximum(parts.std(axis=0), _MIN_DEVIATION)])

    logistic, _ = fit_heads.fit_logistic_regression(np.asarray(block(features)), labels, (np.asarray(block(validation[0])), validation[1]))
    yield "logistic regression", keras.Model(given, logistic(scaled))
    for k in NEIGHBOURS:
        vote = probe_layers.NearestNeighbours(*examples[1].shape, k)
        head = keras.Model(given, vote(scaled))
        vote.set_weights([np.asarray(block(examples[0])), examples[1]])
        yield f"{k} neighbours", head
