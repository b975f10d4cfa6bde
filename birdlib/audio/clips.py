"""From recordings to cleaned audio, to clips, to one array of patch embeddings: the work of stages 02 and 03.

A *clip* is a part of a cleaned recording that is embedded as one; a *patch* is the input of the embedder. Every file is
one task whose result is stored at once, so a killed run continues where it stopped.
"""

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import resume, runtime, stages
from birdlib.audio import cleaning, media_files, noise
from birdlib.audio import io as audio_io
from birdlib.models import embedders
from birdlib.models.base import PATCH_COLUMNS
from birdlib.store import write_rows

RECIPES = ("whole", "random")
_MAX_MAP_PATCHES = 4096  # of a recording, half an hour, spread over it: enough for its place in the map
_NOISE_LEVEL_DB = -40.0  # of clips that are white noise (the seed recipe)


def clean_recordings(table, root, folder, *, policy, denoise, threshold, seed, n_jobs=-1):
    """Clean every recording of a table into ``folder/audio/<recording_id>.flac``.

    Args:
        table: manifest rows with ``audio_path``; a recording that appears in several splits is cleaned once.
        root: folder of the table's paths.
        folder: of the stage.
        policy, denoise, threshold: as in ``cleaning.clean_recording``.
        seed: of the padding noise.

    Returns:
        (cleaned, skipped): a table with one row a recording (``recording_id``, ``start_s`` and ``end_s`` in the source,
        ``audio_path, digest, duration_s, ...`` as ``cleaning.clean_recording`` measures them, ``note`` where the file is not used as it
        stands), and the skipped table.

    Raises:
        NothingToDoError: if none of the recordings can be used.
    """
    folder = Path(folder)
    table = table[table["audio_path"] != ""].drop_duplicates("recording_id")
    options = {"policy": policy, "denoise": denoise, "threshold": threshold, "seed": seed}
    tasks = {}
    for row in table.itertuples():
        start_s, end_s = (None if np.isnan(seconds) else float(seconds) for seconds in (row.start_s, row.end_s))
        files = {"source": row.audio_path, "target": f"audio/{row.recording_id}.flac"}
        version = _version(Path(root) / row.audio_path)
        tasks[row.recording_id] = {**files, "version": version, "start_s": start_s, "end_s": end_s, **options}

    def is_whole(row):
        path = folder / row["audio_path"]
        return path.is_file() and path.stat().st_size == row["bytes"]

    clean = functools.partial(_clean, str(root), str(folder))
    rows = resume.map_resumable(clean, tasks, folder / ".journal.jsonl", is_whole, n_jobs, desc="cleaning")
    good, bad = [], []
    for name, row in rows.items():
        source, start_s = tasks[name]["source"], tasks[name]["start_s"] or 0.0
        if "skipped_reason" in row:
            bad.append((source, row["skipped_reason"].removeprefix(f"{Path(root) / source}: ")))
        else:
            good.append({"recording_id": name, "start_s": start_s, "end_s": start_s + row["duration_s"], **row})
    if not good:
        example = f", e.g. {': '.join(bad[0])}" if bad else ""
        raise stages.NothingToDoError(f"none of {len(tasks)} recordings can be used: check the manifest's paths{example}")
    return pd.DataFrame(good), stages.skipped_table(bad, folder.name)


def notes(cleaned, table):
    """Files that were used, but not as they stand, in the form of the skipped table: ``path``, ``stage``, ``reason``."""
    noted = cleaned.loc[cleaned["note"] != "", ["recording_id", "note"]]
    paths = table.drop_duplicates("recording_id").set_index("recording_id")["audio_path"]
    return stages.skipped_table([(paths[name], f"used, but {note}") for name, note in noted.itertuples(index=False)], "02_clean")


def speech_segments(cleaned):
    """A row per span of speech: ``recording_id``, ``start_s``, ``end_s`` in seconds of the recording, ``policy``."""
    rows = [(row.recording_id, *span, row.policy) for row in cleaned.itertuples() for span in row.speech_spans]
    return pd.DataFrame(rows, columns=["recording_id", "start_s", "end_s", "policy"])


def describe_noise(cleaned, min_snr_db=6.0):
    """Sentences about the noise of cleaned recordings: the median, how many have less signal than ``min_snr_db``, and silent ones."""
    if not len(cleaned):
        return "No recording was cleaned."
    n_noisy, n_silent = int((cleaned["snr_db"] < min_snr_db).sum()), int(cleaned["is_silent"].sum())
    text = f"The median signal is {cleaned['snr_db'].median():.0f} dB above the floor; {n_noisy} of {len(cleaned)} recordings have less than {min_snr_db:g} dB."
    return text + (f" {n_silent} are silent: check their files." if n_silent else "")


def cut_clips(cleaned, recipe, seed):
    """Choose the clips of each cleaned recording.

    Args:
        cleaned: from ``clean_recordings``.
        recipe: ``"whole"``, the recording as one clip, or ``"random"``, three random clips of one second, white noise
            replacing those for which a recording is too short.

    Returns:
        DataFrame: ``clip_id, recording_id, audio_path, digest, start_s, end_s, is_noise``; times in the cleaned audio.
    """
    if recipe not in RECIPES:
        raise runtime.BirdlibError(f"clip recipe {recipe!r} is unknown: use {' or '.join(RECIPES)}")
    rows = []
    for row in cleaned.itertuples():
        if recipe == "whole":
            spans = [(0.0, float(row.cleaned_s), False)]
        else:
            spans = cleaning.random_clips(row.cleaned_s, cleaning.recording_rng(row.digest, seed))
        rows += [(f"{row.recording_id}-{i}", row.recording_id, row.audio_path, row.digest, *span) for i, span in enumerate(spans)]
    return pd.DataFrame(rows, columns=["clip_id", "recording_id", "audio_path", "digest", "start_s", "end_s", "is_noise"])


def embed_clips(clips, folder, embedder, store):
    """Embed every clip that the store does not hold yet, one at a time, in blocks.

    Args:
        clips: from ``cut_clips``.
        folder: of the clips' ``audio_path``.
        embedder: from ``embedders.load``.
        store: ``EmbeddingStore`` of that embedder.

    Returns:
        the skipped table: clips whose audio can no longer be read.
    """
    skipped = []
    with store:
        for clip in runtime.progress(list(clips.itertuples()), desc="embedding"):
            key = _clip_key(clip)
            if key in store:
                continue
            try:
                store.put_stream(key, embedder.embed_stream(_clip_blocks(clip, folder, embedder.sample_rate_hz, embedder.resampler)))
            except audio_io.AudioError as error:
                skipped.append((clip.audio_path, error.reason))
    return stages.skipped_table(skipped, "03_embed")


def assemble(clips, store, embedder, path):
    """Write the embeddings of all clips as one array and return the table that is row-aligned with it.

    Args:
        clips, store, embedder: as in ``embed_clips``; clips that the store lacks are left out.
        path: of the ``.npy`` file to write, (patches, dim) float32, for memory-mapping.

    Returns:
        DataFrame, a row per patch: ``PATCH_COLUMNS``; times in the cleaned audio.
    """
    found = [(clip, key) for clip in clips.itertuples() if (key := _clip_key(clip)) in store]
    n_patches = np.array([last - first for first, last in (store.span(key) for _, key in found)], np.int64)
    bird_scores = []

    def embeddings():
        for _, key in found:
            for block, block_scores in store.blocks(key):
                bird_scores.append(np.array(block_scores))
                yield block

    write_rows(path, embeddings(), n_patches.sum(), embedder.dim)
    patch = np.arange(n_patches.sum()) - np.repeat(np.cumsum(n_patches) - n_patches, n_patches)
    clip_start_s = np.array([0.0 if clip.is_noise else clip.start_s for clip, _ in found])
    names = ([getattr(clip, name) for clip, _ in found] for name in PATCH_COLUMNS[:2])
    start_s = np.repeat(clip_start_s, n_patches) + patch * embedder.hop_s
    columns = *(np.repeat(np.array(column, object), n_patches) for column in names), patch, start_s, start_s + embedder.patch_s
    return pd.DataFrame(dict(zip(PATCH_COLUMNS, [*columns, np.concatenate([np.zeros(0, np.float32), *bird_scores])], strict=True)))


def describe_bird_scores(patches, min_score=0.1):
    """A sentence about the bird scores of patches: the median, and the recordings in which no patch exceeds ``min_score``."""
    if not len(patches):
        return "There are no patches."
    highest = patches.groupby("recording_id")["bird_score"].max()
    n_low = int((highest < min_score).sum())
    text = f"Median bird score of a patch: {patches['bird_score'].median():.2f}. In {n_low} of {len(highest)} recordings no patch exceeds {min_score:g}"
    return text + (": check by ear whether they have a bird." if n_low else ".")


def speech_excerpt(row, longest_s=120.0, lead_s=10.0):
    """A part of a recording with speech that is short enough to be drawn: all of it, or ``longest_s`` from ``lead_s`` before the first speech on.

    Args:
        row: of ``clean_recordings``, with speech.

    Returns:
        (start_s, end_s, spans): in seconds of the recording; as nothing is removed before the first speech, ``start_s`` is also that of the
        cleaned one. ``spans`` are of the speech in the part, in seconds of it.
    """
    spans = np.asarray(row.speech_spans)
    start_s = max(0.0, spans[0, 0] - lead_s) if row.duration_s > longest_s else 0.0
    end_s = min(row.duration_s, start_s + longest_s)
    return start_s, end_s, np.clip(spans[spans[:, 0] < end_s], start_s, end_s) - start_s


def bird_losses(recordings, paths, root, max_recordings=100):
    """The bird sound that is lost with the speech: ``cleaning.bird_loss`` per recording, with YAMNet's bird score.

    Args:
        recordings: rows of ``clean_recordings`` with speech; only the first ``max_recordings`` are measured.
        paths: {recording_id: audio path relative to root}.

    Returns:
        (losses, weights): DataFrame ``recording_id, speech_s, energy_share, bird_score_share``, the shares in [0, 1];
        and the weights used, for the receipt: none if there are no recordings.
    """
    rows = []
    embedder = embedders.load("yamnet", octave_down=False) if len(recordings) else None
    for row in runtime.progress(list(recordings.head(max_recordings).itertuples()), desc="bird loss"):
        blocks = audio_io.stream(Path(root) / paths[row.recording_id], sample_rate_hz=embedder.sample_rate_hz, start_s=row.start_s, end_s=row.end_s)
        measures = noise.Measures(embedder.sample_rate_hz)
        scores = np.concatenate([bird_scores for _, bird_scores in embedder.embed_stream(measures.update(blocks))])
        starts_s = np.arange(len(scores)) * embedder.hop_s
        loss = cleaning.bird_loss(measures.band_powers(), embedder.sample_rate_hz, row.speech_spans, scores, starts_s, embedder.patch_s)
        rows.append({"recording_id": row.recording_id, **loss})
    losses = pd.DataFrame(rows, columns=["recording_id", "speech_s", "energy_share", "bird_score_share"])
    return losses, embedder.weights if embedder else {}


def describe_bird_losses(losses, max_share=0.2):
    """A sentence about ``bird_losses``: the mean share of bird sound inside the speech, and whether to keep it."""
    if not len(losses):
        return "No recording has speech, so nothing is lost."
    share, n_high = losses["bird_score_share"].mean(), int((losses["bird_score_share"] > max_share).sum())
    text = f"On average {share:.0%} of the bird score is inside the speech; in {n_high} of {len(losses)} recordings it is more than {max_share:.0%}."
    return text + (" Where birds matter more than voices, use policy=soften or keep." if n_high else "")


def recording_map(path, patches, seed, max_recordings=2000):
    """A map of recordings by their mean embeddings, ``max_recordings`` of them chosen at random.

    Args:
        path: of ``embeddings.npy``, mapped anew for each recording, so that what was read does not stay in memory.
        patches: its rows, from ``assemble``.

    Returns:
        (points, recording_ids): (n, 2) and (n,).
    """
    rng = np.random.default_rng(seed)
    rows_of = patches.groupby("recording_id", sort=True).indices
    names = np.array(sorted(rows_of), dtype=object)
    names = np.sort(rng.choice(names, min(max_recordings, len(names)), replace=False))
    chosen = (rows_of[name][:: -(-len(rows_of[name]) // _MAX_MAP_PATCHES)] for name in names)
    return layout(np.stack([np.load(path, mmap_mode="r")[rows].mean(axis=0) for rows in chosen]), seed), names


def layout(vectors, seed):
    """(n, 2) map of (n, dim) vectors, by t-SNE of their directions ("Visualizing Data using t-SNE", 2008)."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    vectors = vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9)
    n = len(vectors)
    if n < 5 or np.allclose(vectors, vectors[0], atol=1e-6):  # too few or too similar for neighbourhoods
        return np.pad(vectors, ((0, 0), (0, 2)))[:, :2]
    reduced = PCA(min(50, n - 1, vectors.shape[1]), random_state=seed).fit_transform(vectors)
    return TSNE(perplexity=min(30.0, (n - 1) / 4), init="pca", random_state=seed).fit_transform(reduced)


def _clean(root, folder, source, version, target, start_s, end_s, policy, denoise, threshold, seed):
    """One task of ``clean_recordings``; ``version`` is that of the source when the run began."""
    path, source = Path(folder) / target, Path(root) / source
    if version is None:
        raise audio_io.AudioError(source, media_files.NO_SUCH_FILE)
    rng = cleaning.recording_rng(media_files.digest_file(source), seed)
    options = {"policy": policy, "denoise": denoise, "threshold": threshold}
    with runtime.collect_warnings(source) as notes:
        row = cleaning.clean_recording(source, path, rng, start_s=start_s, end_s=end_s, **options)
    if _version(source) != version:
        path.unlink()
        raise audio_io.AudioError(source, "changed while it was read: run again when it is complete")
    return {"audio_path": target, "bytes": path.stat().st_size, **row, "note": "; ".join(notes)}


def _version(path):
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else None


def _clip_key(clip):
    part = "noise" if clip.is_noise else [float(clip.start_s), float(clip.end_s)]
    return runtime.digest([clip.digest, part, clip.clip_id if clip.is_noise else ""])


def _clip_blocks(clip, folder, sample_rate_hz, resampler):
    if clip.is_noise:
        rng = cleaning.recording_rng(runtime.digest(clip.clip_id))
        return [audio_io.pad_with_noise(np.zeros(0, np.float32), sample_rate_hz, rng, _NOISE_LEVEL_DB)]
    part = {"start_s": clip.start_s, "end_s": clip.end_s}
    return audio_io.stream(Path(folder) / clip.audio_path, sample_rate_hz=sample_rate_hz, resampler=resampler, **part)
