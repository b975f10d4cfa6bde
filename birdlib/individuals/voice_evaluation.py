"""Voices of named birds, evaluated on the recordings of a run: which known bird is it, is it a known bird at all, and is it the voice that tells?"""

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.audio import io as audio_io
from birdlib.individuals import background_swap, clustering, songs, voice_models, voices
from birdlib.metrics import bootstrap, classification
from birdlib.metrics import identity as identity_metrics
from birdlib.metrics.identity import UNKNOWN
from birdlib.models import embedders

_MIN_BIRDS = 4  # of a species, with two recordings or more
_MIN_CLUSTERED = 6  # birds, for some to be clustered with what is fitted on the others
_MAX_RECORDINGS = 1000  # each is compared with each
_MAX_OWN = 100  # recordings that are mixed with their own background, to measure the effect of mixing
_N_CACHED = 64  # waveforms in memory


def select_singers(splits):
    """Recordings of the species with the most named birds.

    Args:
        splits: the table of stage 01.

    Returns:
        its rows with sound and ``individual_id``, of birds with two recordings or more; empty for fewer than ``_MIN_BIRDS`` birds.
    """
    named = splits[(splits["audio_path"] != "") & (splits["individual_id"] != "") & ~splits["is_repeated"]].drop_duplicates("recording_id")
    named = _recorded_twice(named)
    n_birds = named.groupby("species")["individual_id"].nunique()
    if not len(n_birds) or n_birds.max() < _MIN_BIRDS:
        return named[:0]
    return named[named["species"] == n_birds.idxmax()].reset_index(drop=True)


def require(false_accept, n_swapped, voice_features):
    """Raise ParameterError for what ``evaluate`` cannot use; it names it."""
    if not 0 < false_accept < 1 or n_swapped < 0:
        raise runtime.ParameterError(f"false_accept is {false_accept:g} and n_swapped {n_swapped}: choose a share between 0 and 1, such as 0.1, and 0 recordings or more")
    voice_models.resolve_features(voice_features)


def evaluate(singers, outputs_dir, *, false_accept, n_swapped, voice_features="auto", weights_dir="", rng):
    """Closed set, open set, clusters of unknown birds, and the background test.

    Args:
        singers: from ``select_singers``; of more than ``_MAX_RECORDINGS`` some of each bird.
        outputs_dir: of stages 02 and 03.
        false_accept: as in ``voice_models.open_set``.
        n_swapped: recordings that are mixed with another bird's background, for the background test and to train with; 0 for none.
        voice_features: one of ``voice_models.FEATURES``.
        weights_dir: of the embedder, as in ``weights.find``.

    Returns:
        (figures, shares, shares_background): tables of ``figures`` and ``background_swap.background_shares``, the latter empty without background
        test, both if there are too few birds, or too few are left after stages 02 and 03; and whether every bird was recorded in one session
        only, so that background may be mistaken for voice.

    Raises:
        MissingStageError: if stage 03 is not finished.
        ParameterError: for unknown ``voice_features``.
        VoicesError: as of ``voices`` and ``voice_models``.
    """
    features = voice_models.resolve_features(voice_features)
    nothing = pd.DataFrame(columns=["figure", "value", "low", "high", "n"]), pd.DataFrame(columns=background_swap.SHARE_COLUMNS), False
    if not len(singers):
        return nothing
    parameters = stages.receipt(outputs_dir, "03_embed")["parameters"]
    cleaned_dir = Path(outputs_dir) / "02_clean"
    cleaned = pd.read_parquet(cleaned_dir / "recordings.parquet").set_index("recording_id")["audio_path"]
    singers = _thinned(_recorded_twice(singers[singers["recording_id"].isin(cleaned.index)])).reset_index(drop=True)
    if singers["individual_id"].nunique() < _MIN_BIRDS:
        return nothing
    chosen = {name: parameters[name] for name in ("octave_down", "backend", "resampler")}
    embedder = embedders.load(parameters["embedder"], weights_dir, **chosen)
    paths = [cleaned_dir / path for path in cleaned[singers["recording_id"]]]
    birds, sessions = singers["individual_id"].to_numpy(), voices.sessions(singers)
    data, own = load_voices(birds, sessions, paths, embedder, features=features, n_swapped=n_swapped, rng=rng)
    closed, swapped = identify(data, own)
    shares = background_swap.background_shares(swapped, rng=rng) if len(swapped) else nothing[1]
    opened = voice_models.open_set(data, false_accept, rng=rng)
    clustered = cluster_unknown(data.recorded.vectors, data.birds, data.sessions, rng=rng)
    return figures(closed, opened, clustered, rng=rng), shares, bool(data.sessions["shares_background"].all())


def load_voices(birds, sessions, paths, embedder, *, features, n_swapped, rng):
    """Isolate the songs of recordings, embed them, compare them with each other; the same over other backgrounds. Of long ones the loudest part.

    Args:
        birds, sessions: as in ``voice_models.Voices``.
        paths: of the sound of each recording.
        embedder: of ``embedders.load``.
        features: of ``voice_models.FEATURES``.
        n_swapped: as in ``evaluate``.

    Returns:
        (data, own): ``voice_models.Voices``; View of at most ``_MAX_OWN`` recordings over the background of their own bird. ``data.swapped`` and
        ``own`` are None for ``n_swapped`` = 0.
    """
    rate_hz, n = embedder.sample_rate_hz, len(birds)

    @functools.lru_cache(_N_CACHED)
    def read(row):
        waveform = audio_io.read(paths[row], rate_hz, resampler=embedder.resampler)[0]
        return waveform[songs.loudest(waveform**2, round(songs.MAX_S * rate_hz))]

    def view(waveforms, rows, hosts, references=None):
        vectors, contours = [], []
        for waveform in waveforms:
            vectors.append(voices.embed(songs.isolate(waveform, rate_hz), embedder))
            contours.append(songs.contour(waveform, rate_hz) if "songs" in features else None)
        references = contours if references is None else references
        similarities = songs.similarities(contours, references) if "songs" in features else np.zeros((len(rows), n), np.float32)
        return voice_models.View(_scattered(vectors, rows, n), _scattered(similarities, rows, n), hosts), contours

    def mixed(kind, rows):
        hosts, rows_of = background_swap.choose_hosts(birds, sessions["fold"].to_numpy(), kind, rng=rng)
        rows = np.sort(rows[hosts[rows] != ""])
        hosts[np.setdiff1d(np.arange(n), rows)] = ""
        waveforms = (background_swap.transplant(read(row), [read(host) for host in rows_of[row]], rate_hz, rng=rng) for row in rows)
        return view(runtime.progress(waveforms, len(rows), f"songs over {kind}"), rows, hosts, references)[0] if len(rows) else None

    recordings = runtime.progress((read(row) for row in range(n)), n, "songs")
    recorded, references = view(recordings, np.arange(n), np.asarray(birds, dtype=object))
    rows = rng.permutation(n)[:n_swapped]
    swapped, own = (mixed(background_swap.OTHER, rows), mixed(background_swap.OWN, rows[:_MAX_OWN])) if n_swapped else (None, None)
    return voice_models.Voices(birds, sessions, recorded, swapped, features), own


def identify(data, own=None, other=None):
    """Closed-set identification of recordings, and of those that are mixed with backgrounds too.

    Args:
        data, own: of ``load_voices``.
        other: View over other birds' backgrounds; None: ``data.swapped``, which are trained with as well.

    Returns:
        (closed, swapped): tables of ``voice_models.closed_set``: of all recordings as recorded, and of those that were mixed under each condition.
    """
    views = {"as recorded": data.recorded, background_swap.OWN: own, background_swap.OTHER: other or data.swapped}
    found = voice_models.closed_set(data, {kind: view for kind, view in views.items() if view is not None})
    mixed = found.index[found["kind"] == background_swap.OTHER]
    return found[found["kind"] == "as recorded"], found[found.index.isin(mixed)]


def cluster_unknown(vectors, birds, sessions, n_rounds=3, *, rng):
    """Cluster recordings of unknown birds.

    In each round a part of the birds is clustered; half of the others fit the space, the other half the threshold.

    Args:
        vectors: (recordings, dim), as of ``voices.embed``.
        birds, sessions: as in ``voice_models.Voices``.
        n_rounds: every bird is clustered in one of them.
        rng: assigns birds to rounds.

    Returns:
        DataFrame: ``bird, predicted`` (int, the cluster), ``unit``; the index is the recording's row. Empty for fewer than
        ``_MIN_CLUSTERED`` birds.
    """
    vectors, birds, units = np.asarray(vectors), np.asarray(birds), sessions["unit"].to_numpy()
    names = rng.permutation(np.unique(birds))
    if len(names) < _MIN_CLUSTERED:
        return pd.DataFrame({"bird": birds[:0], "predicted": np.zeros(0, int), "unit": units[:0]})
    tables = []
    for number in range(n_rounds):
        clustered, others = names[number::n_rounds], names[np.arange(len(names)) % n_rounds != number]
        for_space, for_threshold, query = (np.isin(birds, part) for part in (others[::2], others[1::2], clustered))
        space = voices.fit_space(vectors[for_space], birds[for_space])
        projected = space.project(vectors[for_threshold])
        relations = np.where(birds[for_threshold][:, None] == birds[for_threshold], 1, -1)
        threshold, _, _ = clustering.choose_threshold(clustering.distances(projected), relations)
        predicted = clustering.cluster(space.project(vectors[query]), None, threshold) + number * len(birds)
        tables.append(pd.DataFrame({"bird": birds[query], "predicted": predicted, "unit": units[query]}, index=np.flatnonzero(query)))
    return pd.concat(tables)


def figures(closed, opened, clustered, n_draws=1000, *, rng):
    """Metrics of ``closed_set``, ``open_set`` and ``cluster_unknown``, with intervals over sessions.

    Returns:
        DataFrame: ``figure, value, low, high, n``: 90 % intervals; n recordings. Balanced is the mean over birds; of the open set these
        are BAKS and BAUS (``metrics.identity``), AUROC that of known against unknown birds, and of unknown birds the F1 of pairs of recordings of
        two sessions. An empty table has no row.
    """
    known, unknown = opened[opened["is_known"]], opened[~opened["is_known"]]
    by_condition = [
        (f"closed set, {name}", closed[closed["condition"] == name], ("bird", "predicted"), identity_metrics.accuracy)
        for name in ("another session", "another day")
    ]
    rows = []
    for name, table, names, metric in (
        ("closed set, accuracy", closed, ("bird", "predicted"), identity_metrics.accuracy),
        *by_condition,
        ("closed set, balanced", closed, ("bird", "predicted", "bird"), identity_metrics.baks),
        ("open set, BAKS", known, ("bird", "predicted", "bird"), identity_metrics.baks),
        ("open set, BAUS", unknown, ("bird", "predicted"), lambda bird, predicted: identity_metrics.baus(bird, predicted, ())),
        ("open set, unknown birds identified as a known bird", unknown, ("predicted",), lambda predicted: np.mean(predicted != UNKNOWN)),
        ("open set, AUROC", opened, ("is_known", "margin"), known_or_new_auroc),
        ("no bird known, F1 of pairs", clustered, ("bird", "predicted", "unit"), lambda *columns: identity_metrics.pairwise_precision_recall_f1(*columns)["f1"]),
    ):
        if len(table):
            arrays = [table[column].to_numpy() for column in names]
            rows.append((name, *bootstrap.interval(metric, *arrays, groups=table["unit"].to_numpy(), n=n_draws, rng=rng), len(table)))
    return pd.DataFrame(rows, columns=["figure", "value", "low", "high", "n"])


def known_or_new_auroc(is_known, margins):
    """The AUROC of known birds' recordings against those of new birds, by the margin to the threshold; NaN if there are only one kind."""
    return float(classification.roc_auc(is_known[:, None], margins[:, None])[0])


def describe(figures, shares, shares_background):
    """Sentences about ``evaluate``: whether birds were recorded in several sessions, and whether their names follow the background."""
    if not len(figures):
        return "Fewer than four birds of one species have an individual_id and two recordings, so voices are not evaluated."
    text = "Test recordings are of other sessions than those of training."
    if shares_background:
        text = "Every bird was recorded in one session, so place and microphone may pass for its voice: record each bird on several days."
    swapped = shares[shares["kind"] == "other background"].set_index("taken_for")["share"]
    if {"the bird", "the background's bird"} <= set(swapped.index):
        own, host = swapped["the bird"], swapped["the background's bird"]
        text += f" Over another bird's background, {own:.0%} of recordings are taken for the bird and {host:.0%} for the bird of the background"
        text += ": identity follows the background." if host > own else ": identity follows the voice."
    return text


def _scattered(values, rows, n):
    """Values of some rows as an array of all ``n``, zeros elsewhere."""
    values = np.asarray(values, np.float32)
    found = np.zeros((n, *values.shape[1:]), np.float32)
    found[rows] = values
    return found


def _thinned(table):
    """At most ``_MAX_RECORDINGS``: of each bird no more than a number, evenly spaced in the order of the table."""
    by_bird = table.groupby("individual_id")
    limit = next(n for n in range(len(table), -1, -1) if by_bird.size().clip(upper=n).sum() <= _MAX_RECORDINGS)
    rank, sizes = by_bird.cumcount(), by_bird["recording_id"].transform("size")
    return table[(rank * limit) // sizes != ((rank - 1) * limit) // sizes]


def _recorded_twice(table):
    """The recordings of birds that have two or more; a name is of a species."""
    return table[table.groupby(["species", "individual_id"])["recording_id"].transform("size") > 1]
