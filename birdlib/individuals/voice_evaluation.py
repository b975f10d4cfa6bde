"""Voices of named birds, judged on the recordings of a run: ``voices`` and ``background_swap`` applied to what stages 02 and 03 have written."""

from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import stages
from birdlib.audio import io as audio_io
from birdlib.individuals import background_swap, voices
from birdlib.models import embedders

_LEAST_BIRDS = 4  # of a species, recorded twice or more, to be told apart


def singers_of(splits):
    """Recordings of the species with the most named birds.

    Args:
        splits: the table of stage 01.

    Returns:
        its rows with sound and ``individual_id``, of birds that were recorded twice or more; none where fewer than ``_LEAST_BIRDS`` are.
    """
    named = splits[(splits["audio_path"] != "") & (splits["individual_id"] != "") & ~splits["is_repeated"]].drop_duplicates("recording_id")
    named = _recorded_twice(named)
    birds = named.groupby("species")["individual_id"].nunique()
    if not len(birds) or birds.max() < _LEAST_BIRDS:
        return named[:0]
    return named[named["species"] == birds.idxmax()].reset_index(drop=True)


def judge(singers, outputs_dir, *, false_accept, n_swapped, weights_dir="", rng):
    """Closed set, open set, birds without names, and the background swap.

    Args:
        singers: from ``singers_of``.
        outputs_dir: where stages 02 and 03 are.
        false_accept: as of ``voices.open_set``.
        n_swapped: recordings judged over another bird's background; 0 for none.
        weights_dir: of the embedder, as in ``weights.find``.

    Returns:
        (figures, shares, shares_background): tables of ``voices.figures`` and ``background_swap.shares``, the latter without rows if nothing is
        swapped, both if stages 02 and 03 could use recordings of too few birds; and whether every bird was recorded in one session only, so that
        background may pass for voice.

    Raises:
        MissingStageError: if stage 03 is not finished.
        VoicesError: as of ``voices``.
    """
    made_with = stages.receipt(outputs_dir, "03_embed")["parameters"]
    embedded = Path(outputs_dir) / "03_embed"
    names, found = voices.vectors(np.load(embedded / "embeddings.npy", mmap_mode="r"), pd.read_parquet(embedded / "patches.parquet"))
    places = pd.Index(names).get_indexer(singers["recording_id"])
    singers = _recorded_twice(singers.assign(place=places)[places >= 0]).reset_index(drop=True)
    shares = pd.DataFrame(columns=["kind", "taken_for", "share", "low", "high", "n"])
    if singers["individual_id"].nunique() < _LEAST_BIRDS:
        return pd.DataFrame(columns=["figure", "value", "low", "high", "n"]), shares, False
    vectors = found[singers["place"]]
    birds, sessions = singers["individual_id"].to_numpy(), voices.sessions(singers)
    closed = voices.closed_set(vectors, birds, sessions)
    opened = voices.open_set(vectors, birds, sessions, false_accept, rng=rng)
    if n_swapped:
        listener = embedders.load(made_with["embedder"], weights_dir, made_with["octave_down"], made_with["backend"])
        cleaned = pd.read_parquet(Path(outputs_dir) / "02_clean" / "recordings.parquet").set_index("recording_id")["audio_path"]

        def read(row):
            return audio_io.read(Path(outputs_dir) / "02_clean" / cleaned[singers["recording_id"][row]], listener.sample_rate_hz)[0]

        def hear(waveform):
            return voices.hear(waveform, listener)

        swapped = background_swap.swap(read, hear, vectors, birds, sessions, listener.sample_rate_hz, n_swapped, rng=rng)
        shares = background_swap.shares(swapped, rng=rng)
    grouped = voices.unlabelled(vectors, birds, sessions, rng=rng)
    return voices.figures(closed, opened, grouped, rng=rng), shares, bool(sessions["shares_background"].all())


def bars(shares, singers, ax=None):
    """``background_swap.bars`` of the shares of some singers."""
    return background_swap.bars(shares, singers["individual_id"].nunique(), ax)


def _recorded_twice(table):
    """The recordings of birds that have two or more; a name is of a species."""
    return table[table.groupby(["species", "individual_id"])["recording_id"].transform("size") > 1]
