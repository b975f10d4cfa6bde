"""Do two files belong together? The trained matcher of stage 05 on a film or photo and a sound."""

from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.data import manifest
from birdlib.multimodal import match_experiments, scene_pairs, scenes
from birdlib.store import EmbeddingStore
from birdlib.video import kinds as media_kinds


def match(picture_path, sound_path, outputs_dir, weights_dir=""):
    """The probability that a film or photo and a sound belong together.

    Args:
        picture_path: a film or a picture.
        sound_path: a sound, or a film, whose soundtrack is used.
        outputs_dir, weights_dir: where stage 05 is; as in ``weights.find``.

    Returns:
        (probability, table, basis): the probability, if matches and mismatches are equally frequent; a DataFrame, a row for each pair of
        scenes: ``picture_s, sound_s, probability, cosine``, the most probable first, whose mean is the probability; and a sentence on
        the matcher and its ROC-AUC on unseen data.

    Raises:
        MissingStageError: if stage 05 is not finished.
        CorrespondenceError: if a file has no scene, with the reason, or the two are the wrong way round.
        MediaError: if a file is missing, or is neither a picture, nor a film or a sound.
    """
    from birdlib.multimodal import match_training, scene_encoders

    spectrogram = stages.receipt(outputs_dir, "05_match")["parameters"].get("spectrogram", "bands")
    folder = Path(outputs_dir) / "05_match"
    config = runtime.read_json(folder / "best.json")
    model = scene_encoders.load(folder / match_experiments.MATCHER)
    library = _library_of(Path(picture_path), Path(sound_path), folder.parent / "store", weights_dir, spectrogram)
    table = pd.DataFrame([(p, s) for p in library.pictures.index for s in library.sounds.index], columns=["picture", "sound"])
    probability, cosine = match_training.scores(model, library, table)
    rows = pd.DataFrame({
        "picture_s": library.pictures["start_s"].to_numpy()[table["picture"]],
        "sound_s": library.sounds["start_s"].to_numpy()[table["sound"]],
        "probability": probability,
        "cosine": cosine,
    })  # fmt: skip
    rows = rows.sort_values("probability", ascending=False, kind="stable").reset_index(drop=True)
    return float(probability.mean()), rows, _basis(folder, config)


def examples(model, library, rows, rng, n=2):
    """Pairs to show: the most confident true matches, false matches and missed matches.

    Returns:
        DataFrame, ``n`` rows of each: ``picture, sound, match, probability, is_right``; no picture twice.
    """
    from birdlib.multimodal import match_training

    table = scene_pairs.pair(*rows, rng, n_each=4)
    table["probability"], _ = match_training.scores(model, library, table)
    table["is_right"] = (table["probability"] >= 0.5) == (table["match"] == 1)
    remaining = table.iloc[np.argsort(-(table["probability"] - 0.5).abs(), kind="stable")]
    found = []
    for match, is_right in ((1, True), (0, False), (1, False)):
        is_wanted = (remaining["match"] == match) & (remaining["is_right"] == is_right)
        found.append(remaining[is_wanted].drop_duplicates("picture").head(n))
        remaining = remaining[~remaining["picture"].isin(found[-1]["picture"])]
    return pd.concat(found, ignore_index=True)


def card(library, row):
    """The card of a pair, for ``result_sheets.match_cards``: frames, spectrogram, title and whether the prediction is right."""
    picture, sound = library.pictures.loc[row.picture], library.sounds.loc[row.sound]
    return {
        "title": f"picture of {picture['category']}, sound of {sound['category']}: {row.probability:.0%}",
        "frames": library.picture_arrays["pixels"](row.picture),
        "spectrogram": library.sound_arrays["spectrogram"](row.sound),
        "is_right": bool(row.is_right),
    }


def true_species(root):
    """{recording_id of a film: set of species} where the truth is known, as in the sample, for evaluation only; else None."""
    path = Path(root) / "truth" / "video_tracks.csv"
    if not path.is_file():
        return None
    tracks = pd.read_csv(path, dtype={"label": str})
    return {f"video-{Path(video).stem}": set(labels) for video, labels in tracks.groupby("video")["label"]}


def _basis(folder, config):
    own = match_experiments.figures_of(pd.read_parquet(folder / "results.parquet"), config)["roc_auc"]
    figures = ", ".join(f"{own[name]:.2f} on {name}" for name in match_experiments.SETS[1:] if np.isfinite(own.get(name, np.nan)))
    names = f"{config['audio']} (sound) and {config['video']} (picture), trained with {config['loss']}"
    return f"matcher: {names}; ROC-AUC {figures or 'not known'}"


def _library_of(picture_path, sound_path, store_dir, weights_dir, spectrogram):
    kinds = media_kinds.kind_of(picture_path), media_kinds.kind_of(sound_path)
    if kinds[0] == "sound":
        raise scene_pairs.CorrespondenceError(f"{runtime.printable(picture_path)}: is a sound: give a film or photo first, then the sound")
    if kinds[1] == "image":
        raise scene_pairs.CorrespondenceError(f"{runtime.printable(sound_path)}: is a picture: give a film or photo first, then a sound or film")
    files = [
        {"recording_id": "query", "image_path" if kinds[0] == "image" else "video_path": str(picture_path.absolute())},
        {"recording_id": "query", "video_path" if kinds[1] == "film" else "audio_path": str(sound_path.absolute())},
    ]
    table = pd.DataFrame(files, columns=["recording_id", "species", "group_id", "split", *manifest.PATH_COLUMNS]).fillna("")
    table = table.assign(is_repeated=False, start_s=np.nan, end_s=np.nan)
    with EmbeddingStore(store_dir, scenes.STORE_KEY) as store:
        pictures, skipped_pictures = scenes.picture_scenes(table[:1], Path(), scenes.load_backbone(weights_dir), store)
        sounds, skipped_sounds = scenes.sound_scenes(table[1:], Path(), store, spectrogram=spectrogram)
        for path, found, skipped in ((picture_path, pictures, skipped_pictures), (sound_path, sounds, skipped_sounds)):
            if not len(found):
                reason = skipped["reason"].iloc[0] if len(skipped) else "it has no scene"
                raise scene_pairs.CorrespondenceError(f"{runtime.printable(path)}: {reason}")
        return scene_pairs.library(pictures, sounds, store, spectrogram)
