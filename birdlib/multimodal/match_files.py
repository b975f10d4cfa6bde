"""The question the matchers are for: how probable is it that these two belong together?"""

from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.data import manifest
from birdlib.multimodal import match_experiments, match_training, scene_encoders, scene_pairs, scenes
from birdlib.store import EmbeddingStore
from birdlib.video import images
from birdlib.video import io as video_io


def judge(picture_path, sound_path, outputs_dir, weights_dir=""):
    """How probable it is that a film or photo and a sound belong together, and what that rests on.

    Args:
        picture_path: a film or a picture.
        sound_path: a sound, or a film, whose soundtrack is taken.
        outputs_dir: where stage 05 is.
        weights_dir: as in ``weights.find``.

    Returns:
        (probability, table, basis): of matching, where matches and mismatches are as frequent; a DataFrame, a row for each pair of scenes:
        ``picture_s, sound_s, probability, cosine``, the most probable first, whose mean is the probability; and in words which
        combination judged, and how well it does on what it never met.

    Raises:
        MissingStageError: if stage 05 is not finished.
        CorrespondenceError: if a file holds no scene; it says why.
    """
    stages.receipt(outputs_dir, "05_match")
    folder = Path(outputs_dir) / "05_match"
    chosen = runtime.read_json(folder / "best.json")
    model = scene_encoders.load(folder / match_experiments.MATCHER)
    library = _library_of(Path(picture_path), Path(sound_path), folder.parent / "store", weights_dir)
    table = pd.DataFrame([(p, s) for p in library.pictures.index for s in library.sounds.index], columns=["picture", "sound"])
    probability, cosine = match_training.scores(model, library, table)
    facts = pd.DataFrame({
        "picture_s": library.pictures["start_s"].to_numpy()[table["picture"]],
        "sound_s": library.sounds["start_s"].to_numpy()[table["sound"]],
        "probability": probability,
        "cosine": cosine,
    })  # fmt: skip
    facts = facts.sort_values("probability", ascending=False, kind="stable").reset_index(drop=True)
    return float(probability.mean()), facts, _basis(folder, chosen)


def examples(model, library, some, rng, n=2):
    """Pairs worth a look: the surest that match, the mismatches taken for matches, the matches that were missed.

    Args:
        model: a trained matcher.
        some: (pictures, sounds), rows of the library.
        n: of each kind.

    Returns:
        DataFrame: ``picture, sound, match, probability, is_right``; no picture twice.
    """
    table = scene_pairs.pair(*some, rng, n_each=4)
    table["probability"], _ = match_training.scores(model, library, table)
    table["is_right"] = (table["probability"] >= 0.5) == (table["match"] == 1)
    left = table.iloc[np.argsort(-(table["probability"] - 0.5).abs(), kind="stable")]
    found = []
    for match, is_right in ((1, True), (0, False), (1, False)):
        found.append(left[(left["match"] == match) & (left["is_right"] == is_right)].drop_duplicates("picture").head(n))
        left = left[~left["picture"].isin(found[-1]["picture"])]
    return pd.concat(found, ignore_index=True)


def card(library, row):
    """The card of a pair, for ``galleries.match_cards``: frames, spectrogram, title and whether it was told rightly."""
    seen, heard = library.pictures.loc[row.picture], library.sounds.loc[row.sound]
    return {
        "title": f"{seen['category']} seen, {heard['category']} heard: {row.probability:.0%}",
        "frames": library.picture_arrays["pixels"](row.picture),
        "spectrogram": library.sound_arrays["spectrogram"](row.sound),
        "is_right": bool(row.is_right),
    }


def true_casts(root):
    """{recording_id of a film: set of species}, where the truth is known, as of the sample: for scores only; else None."""
    path = Path(root) / "truth" / "video_tracks.csv"
    if not path.is_file():
        return None
    tracks = pd.read_csv(path, dtype={"label": str})
    return {f"video-{Path(video).stem}": set(labels) for video, labels in tracks.groupby("video")["label"]}


def _basis(folder, chosen):
    own = match_experiments.figures_of(pd.read_parquet(folder / "results.parquet"), chosen)["roc_auc"]
    figures = ", ".join(f"{own[name]:.2f} on {name}" for name in match_experiments.SETS[1:] if np.isfinite(own.get(name, np.nan)))
    return f"judged by {chosen['audio']} (sound) and {chosen['video']} (picture), learnt with {chosen['loss']}; ROC-AUC {figures or 'not known'}"


def _library_of(picture_path, sound_path, store_dir, weights_dir):
    is_photo, is_film = picture_path.suffix.lower() in images.SUFFIXES, sound_path.suffix.lower() in video_io.SUFFIXES
    asked = [
        {"recording_id": "asked", "image_path" if is_photo else "video_path": str(picture_path.absolute())},
        {"recording_id": "asked", "video_path" if is_film else "audio_path": str(sound_path.absolute())},
    ]
    table = pd.DataFrame(asked, columns=["recording_id", "species", "group_id", "split", *manifest.PATH_COLUMNS]).fillna("")
    table = table.assign(is_repeated=False, start_s=np.nan, end_s=np.nan)
    with EmbeddingStore(store_dir, scenes.STORE_KEY) as store:
        seen, bad = scenes.picture_scenes(table[:1], Path(), scenes.load_backbone(weights_dir), store)
        heard, unheard = scenes.sound_scenes(table[1:], Path(), store)
        for path, found, skipped in ((picture_path, seen, bad), (sound_path, heard, unheard)):
            if not len(found):
                reason = skipped["reason"].iloc[0] if len(skipped) else "it holds no scene"
                raise match_training.CorrespondenceError(f"{path}: {reason}")
        return scene_pairs.library(seen, heard, store)
