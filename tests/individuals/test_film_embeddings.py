import cv2
import films_made
import made_tracks
import numpy as np
import pandas as pd
import pytest
from made_tracks import ringed, set_of, tables, together
from media import by_second, film, tone

from birdlib import runtime
from birdlib.individuals import backbones, film_embeddings, track_datasets, track_embeddings, track_encoder
from birdlib.individuals.film_embeddings import Options
from birdlib.video import io as video_io

OPTIONS = Options(parts="marks,looks,voice")


@pytest.fixture(scope="module")
def backbone():
    return made_tracks.backbone()


def test_with_too_few_relations_the_encoder_is_standardised_but_not_trained(backbone):
    """Two tracks are too few."""
    one = set_of(["", ""], together(2, (0, 1)))
    encoder, history, (halves, known, _) = film_embeddings.train_early_fusion(one, backbone, OPTIONS, rng=np.random.default_rng(0))
    assert len(history) == 0 and "validation" in history and halves.shape[0] == 4 and (known == -1).sum() == 8
    mean, _ = encoder.get_layer("feature_scale").get_weights()
    assert np.allclose(mean, one.crop_features[0].mean(axis=0), atol=1e-5)


def test_an_empty_set_gives_no_pairs(backbone):
    one = set_of([], together(0))
    _, history, (halves, known, _) = film_embeddings.train_early_fusion(one, backbone, OPTIONS, rng=np.random.default_rng(0))
    assert len(history) == 0 and len(halves) == 0 and known.shape == (0, 0)
    assert len(track_datasets.pair_table(halves, known)) == 0


def test_without_held_out_birds_all_pairs_are_returned(backbone, untrained):
    one = set_of(["anna"] * 5 + ["berta"] * 5, together(10), n_crops=2)
    _, history, (_, known, _) = film_embeddings.train_early_fusion(one, backbone, OPTIONS, rng=np.random.default_rng(0))
    assert len(history) == 1 and len(known) == 20 and set(np.unique(known)) == {-1, 1}


@pytest.fixture
def seen_files(tmp_path, backbone, monkeypatch):
    """A function that gives the vectors of crops on disk: a film of two birds and, if asked for, the portrait of one."""
    import keras

    monkeypatch.setattr(backbones, "load", lambda *_, **__: backbone)
    film(tmp_path / "film.mkv", by_second(3), sound=tone(3))

    def look(order=None, has_portrait=False, paths=None):
        summary, crops = tables(2)
        summary[["alone_from_s", "alone_until_s"]] = [[0.0, 1.5], [np.nan, np.nan]]
        if has_portrait:
            other = summary[:1].assign(recording_id="portrait", alone_from_s=np.nan, alone_until_s=np.nan)
            summary = pd.concat([summary, other], ignore_index=True)
            crops = pd.concat([crops, crops[:1].assign(recording_id="portrait", path="other.png")], ignore_index=True)
        for number, path in enumerate(crops["path"]):
            cv2.imwrite(str(tmp_path / path), ringed(np.random.default_rng(number), (20 * number, 100, 200)))
        crops = crops if order is None else crops.iloc[order]
        keras.utils.set_random_seed(0)
        n = len(summary)
        paths = {"film": tmp_path / "film.mkv"} if paths is None else paths
        given = summary, crops, together(n), np.array([""] * n), paths, tmp_path, tmp_path
        return film_embeddings.embed_tracks(*given, OPTIONS, np.random.default_rng(0))

    return look


def test_vectors_are_in_the_order_of_the_crops(seen_files):
    of_crops, encoder, history, pairs, receipt = seen_files()
    order = [4, 0, 5, 3, 1, 2]
    again = seen_files(order)[0]
    assert of_crops.shape == (6, track_encoder.EMBEDDING_DIM) and np.allclose(again, of_crops[order], atol=1e-5)
    assert len(history) == 0 and len(pairs[0]) == 4 and receipt == {"tiny": {}} and encoder is not None


def test_portraits_and_films_with_undecodable_sound_are_embedded_without_sound(seen_files, tmp_path):
    """The first bird of the film is heard while it is alone; it looks otherwise where the sound is of samples that are no numbers."""
    heard = seen_files(has_portrait=True)[0]
    films_made.steady(tmp_path / "bad.mkv", sound=np.full((1, 16_000), np.nan), codecs=("libx264", "pcm_f32le"))
    with pytest.warns(video_io.VideoWarning, match="bad.mkv.*NaN.*without sound"):
        deaf = seen_files(has_portrait=True, paths={"film": tmp_path / "bad.mkv"})[0]
    assert np.abs(heard[:3] - deaf[:3]).max() > 1e-3 and np.allclose(heard[3:], deaf[3:], atol=1e-5) and len(heard) == 7


@pytest.mark.parametrize("parts", ["", "voice", "marks,song"])
def test_unknown_parts_raise(parts):
    with pytest.raises(track_embeddings.TrackEmbedderError, match="marks or looks"):
        Options(parts=parts)


def test_other_options_that_cannot_be_raise_with_the_choices():
    with pytest.raises(track_embeddings.TrackEmbedderError, match="alone or crop"):
        Options(sound="song")
    with pytest.raises(runtime.ParameterError, match="sound_dim is 0"):
        Options(sound_dim=0)


def test_without_crops_no_network_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(backbones, "load", None)  # not to be called
    summary, crops = tables(1)
    given = summary[:0], crops[:0], together(0), np.array([]), {}, tmp_path, tmp_path
    of_crops, encoder, history, pairs, receipt = film_embeddings.embed_tracks(*given, Options(n_aviary=8), np.random.default_rng(0))
    assert of_crops.shape == (0, track_encoder.EMBEDDING_DIM) and encoder is None and len(history) == len(pairs[0]) == 0 and receipt == {}


def test_the_encoder_of_stage_04_embeds_without_training(tmp_path, seen_files, monkeypatch):
    class Whitish:
        def embed(self, images):
            return np.array([[1.0, 0.0] if image.mean() > 128 else [0.0, 1.0] for image in images], np.float32).reshape(-1, 2)

    monkeypatch.setattr(track_embeddings, "load", lambda name, path: Whitish())
    seen_files()
    summary, crops = tables(2)
    given = summary, crops, together(2, (0, 1)), np.array(["", ""]), {}, tmp_path, tmp_path
    of_crops, encoder, history, (halves, known, _), receipt = film_embeddings.embed_tracks(*given, Options("stage04"), np.random.default_rng(0))
    assert of_crops.shape == (6, 2) and encoder is None and len(history) == 0 and receipt == {}
    assert halves.shape == (4, 2) and (known == -1).sum() == 8


def test_synthetic_birds_are_the_default_for_drawn_films_only(tmp_path):
    assert film_embeddings.resolve_auto(-1, "auto", tmp_path) == (0, "marks,looks")
    (tmp_path / "sample.json").write_text("{}")
    assert film_embeddings.resolve_auto(-1, "auto", tmp_path) == (film_embeddings.N_SYNTHETIC, "marks")
    assert film_embeddings.resolve_auto(8, "voice", tmp_path) == (8, "voice")


def test_an_unknown_embedder_or_backbone_is_refused_before_films_are_read():
    for wrong in ({"embedder": "late_fusion"}, {"backbone": "resnet18"}, {"crop_px": 0}):
        with pytest.raises(runtime.BirdlibError, match=f"{next(iter(wrong))} is .*: (choose|give)"):
            Options(**wrong)
