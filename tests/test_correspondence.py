"""Which sound and which picture are a pair, what is learnt of them, and what the figures say."""

import numpy as np
import pandas as pd
import pytest

from birdlib import correspondence, losses, scene_encoders

DIM = 8
PERFECT, BLIND = "perfect", "blind"
SIDES = correspondence.SOUGHT


def rng(seed=0):
    return np.random.default_rng(seed)


def scene(kind, category, recording_id, split="train", start_s=0.0, is_repeated=False):
    moment = f"{recording_id}@{start_s:.1f}" if kind == "film" else ""
    own = {"scene_id": f"{recording_id}/{kind}@{start_s}", "recording_id": recording_id, "kind": kind}
    own |= {"category": category, "split": split, "moment": moment, "start_s": start_s}
    return own | {"is_repeated": is_repeated, "path": f"{recording_id}.{kind}"}


def film(recording_id, split="train", species="", n=2, **options):
    """The scenes of a film, the same for both sides."""
    category = species or f"film:{recording_id}"
    return [scene("film", category, recording_id, split, 2.0 * k, **options) for k in range(n)]


def media(species, split="train", n=3, kind="photo"):
    return [scene(kind, species, f"{species}-{split}-{kind}-{k}", split) for k in range(n)]


def library(pictures, sounds, noise=0.3, seed=0):
    """Its arrays are the mark of the category, and noise: (2, 8) for each side."""
    pictures, sounds = (pd.DataFrame(rows, columns=list(scene("", "", ""))) for rows in (pictures, sounds))
    categories = sorted({*pictures["category"], *sounds["category"]})
    marks = dict(zip(categories, rng(1).normal(size=(len(categories), 2, 8)), strict=True))

    def arrays(table, draw):
        values = [marks[category] + noise * draw.normal(size=(2, 8)) for category in table["category"]]
        return lambda row: values[row]

    seen, heard = arrays(pictures, rng(seed)), arrays(sounds, rng(seed + 1))
    return correspondence.Library(pictures, sounds, {"features": seen, "pixels": seen}, {"spectrogram": heard})


def birds(n_species=6, splits=("train", "validation", "test"), n=3, **options):
    pictures = [one for k in range(n_species) for split in splits for one in media(f"s{k}", split, n)]
    sounds = [one for k in range(n_species) for split in splits for one in media(f"s{k}", split, n, "recording")]
    return library(pictures, sounds, **options)


def everything(seed):
    """Photos, recordings and films, with and without species, in any split, some repeated."""
    draw, sides = rng(seed), ([], [])
    for k in range(draw.integers(3, 9)):
        for side, kind in zip(sides, ("photo", "recording"), strict=True):
            for n in range(draw.integers(0, 7)):
                split = draw.choice(["train", "validation", "test"])
                is_repeated = bool(draw.random() < 0.1)
                side.append(scene(kind, f"s{k}", f"{kind} {k} {n}", split, is_repeated=is_repeated))
    for k in range(draw.integers(0, 8)):
        species = draw.choice(["", f"s{draw.integers(6)}"])
        split = draw.choice(["train", "validation", "test"])
        for side in sides:
            side += film(f"v{k}", split, species, is_repeated=bool(draw.random() < 0.1))
    return library(*sides)


def small_encoder(name, kind):
    import keras

    from birdlib import pooling

    inputs = keras.Input((2, 8), name=name)
    x = keras.layers.Dense(DIM, name="dense")(keras.layers.Flatten()(inputs))
    return keras.Model({name: inputs}, pooling.unit_vector("unit")(x), name=f"{kind}_encoder")


def small_matcher(joint=False, seed=0):
    import keras

    if seed is not None:
        keras.utils.set_random_seed(seed)
    return scene_encoders.matcher(small_encoder("spectrogram", "audio"), small_encoder("features", "video"), joint)


def put_scorer(monkeypatch, who):
    """In place of the network: who knows all categories, or none."""

    def scores(model, library, table):
        match = library.pictures["category"].to_numpy()[table["picture"].to_numpy(int)]
        match = match == library.sounds["category"].to_numpy()[table["sound"].to_numpy(int)]
        values = match.astype(float) if who == PERFECT else rng(7).random(len(table))
        return values, values

    def embed(model, library, table, side):
        names = sorted({*library.pictures["category"], *library.sounds["category"]})
        if who == PERFECT:
            return np.eye(len(names))[[names.index(category) for category in table["category"]]]
        return rng(SIDES.index(side)).normal(size=(len(table), 5))

    monkeypatch.setattr(correspondence, "scores", scores)
    monkeypatch.setattr(correspondence, "embed", embed)


# Pairs


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("n_each", [1, 3])
def test_pairs_are_balanced_and_a_match_is_of_one_category(seed, n_each):
    whole = everything(seed)
    pictures, sounds = correspondence.rows(whole, "train")
    table = correspondence.pair(pictures, sounds, rng(seed), n_each)
    assert set(table["picture"]) <= set(pictures.index) and set(table["sound"]) <= set(sounds.index)
    seen = whole.pictures["category"].reindex(table["picture"]).to_numpy()
    heard = whole.sounds["category"].reindex(table["sound"]).to_numpy()
    assert ((seen == heard) == (table["match"] == 1)).all()
    counts = table.groupby(["picture", "match"]).size().unstack()
    assert (counts == n_each).all(axis=None)
    complete = set(pictures["category"]) & set(sounds["category"])
    if sounds["category"].nunique() > 1:
        assert set(table["picture"]) == set(pictures.index[pictures["category"].isin(complete)])


def test_the_picture_of_a_film_takes_the_sound_of_its_moment():
    scenes = film("v0", species="wren", n=3) + film("v1", species="wren", n=3)
    whole = library(scenes, scenes + media("wren", kind="recording") + media("crow", kind="recording"))
    table = correspondence.pair(whole.pictures, whole.sounds, rng(), n_each=5)
    matches = table[table["match"] == 1]
    assert (matches["picture"] == matches["sound"]).all() and len(matches) == 30


def test_a_moment_that_is_silent_takes_another_sound_of_its_category():
    whole = library(film("v0", n=2), film("v0", n=1) + film("v1", n=1))
    table = correspondence.pair(whole.pictures, whole.sounds, rng())
    assert table["match"].tolist() == [1, 0, 1, 0] and table["sound"].tolist() == [0, 1, 0, 1]


def test_a_category_with_one_side_matches_nothing():
    whole = library(media("wren") + media("crow"), media("wren", kind="recording") + media("tit", kind="recording"))
    table = correspondence.pair(whole.pictures, whole.sounds, rng(), n_each=4)
    assert set(whole.pictures["category"].iloc[table["picture"]]) == {"wren"}
    assert set(whole.sounds["category"].iloc[table.loc[table["match"] == 0, "sound"]]) == {"tit"}


@pytest.mark.parametrize(("pictures", "sounds"), [([], []), (media("wren"), []), ([], media("wren"))])
def test_of_nothing_there_are_no_pairs(pictures, sounds):
    whole = library(pictures, sounds)
    table = correspondence.pair(whole.pictures, whole.sounds, rng())
    assert table.empty and list(table) == ["picture", "sound", "match"]


# Who is learnt from


def test_species_left_out_are_never_more_than_fit():
    """Two or more, so that they can be told from each other, and two or more are left to be learnt."""
    for n_species in range(9):
        for share in (0, 0.01, 0.25, 0.5, 1):
            left_out = correspondence.left_out(birds(n_species, n=1), share, rng())
            expected = min(max(2, round(share * n_species)), n_species - 2) if share and n_species > 3 else 0
            assert len(set(left_out)) == len(left_out) == expected and left_out == sorted(left_out)


def test_only_species_with_both_sides_in_train_and_test_are_left_out():
    pictures = [one for k in range(8) for split in ("train", "test") for one in media(f"s{k}", split)]
    sounds = [one for k in range(5) for split in ("train", "test") for one in media(f"s{k}", split, kind="recording")]
    sounds += media("s5", "train", kind="recording") + film("v0") + film("v0", "test")
    for seed in range(10):
        assert set(correspondence.left_out(library(pictures, sounds), 1, rng(seed))) < {f"s{k}" for k in range(5)}


def test_films_without_species_are_not_learnt_from_where_there_are_species():
    named = birds(3)
    films = film("v0") + film("v1", "test")
    pictures, sounds = (t.to_dict("records") + films for t in (named.pictures, named.sounds))
    whole = library(pictures, sounds)
    assert correspondence.nameless_films(whole) == ["film:v0", "film:v1"]
    assert not correspondence.false_negatives(*correspondence.rows(whole, "train", ["film:v0", "film:v1"]))


@pytest.mark.parametrize(
    ("photos", "recordings"),
    [
        ([], []),
        (media("wren"), []),
        (media("wren"), media("crow", kind="recording")),  # no match among them
        (media("wren"), media("wren", kind="recording")),  # no mismatch
        (media("wren", "test"), media("wren", "test", kind="recording")),
    ],
)
def test_films_without_species_are_learnt_from_where_there_is_nothing_else(photos, recordings):
    films = film("v0") + film("v1") + film("v2", "test")
    whole = library(films + photos, films + recordings)
    assert correspondence.nameless_films(whole) == []
    assert "2 films without species are learnt from" in correspondence.false_negatives(
        *correspondence.rows(whole, "train")
    )


def test_rows_leave_out_what_is_repeated_and_what_is_asked():
    whole = library(
        media("wren") + [scene("photo", "wren", "again", is_repeated=True)] + media("tit"), media("tit", "test")
    )
    pictures, sounds = correspondence.rows(whole, "train", ["tit"])
    assert pictures.index.tolist() == [0, 1, 2] and sounds.empty


def test_thin_categories_are_told():
    pictures = media("wren") + media("crow") + media("jay", n=1) + media("owl", "test")
    sounds = [one for name, n in (("wren", 2), ("tit", 1), ("jay", 1)) for one in media(name, n=n, kind="recording")]
    assert correspondence.thin_categories(library(pictures, sounds)) == [
        ("category crow", "no sound in training: it is not learnt"),
        ("category jay", "one picture and one sound in training: one pair that matches"),
        ("category tit", "no picture in training: it serves for mismatches only"),
    ]


# Training


@pytest.mark.parametrize("loss", [pytest.param("bce", marks=pytest.mark.slow), "info_nce"])
def test_what_can_be_told_apart_is_learnt(loss):
    whole = birds(6, n=6)
    model = small_matcher(joint=loss == "bce")
    sides = [correspondence.rows(whole, split) for split in ("train", "validation", "test")]
    before = correspondence.evaluate(model, whole, sides[2], rng())
    options = {"epochs": 8, "patience": 8, "learning_rate": 0.01, "batch_size": 32}
    history = correspondence.fit(model, whole, *sides[:2], loss, **options)
    figures = correspondence.evaluate(model, whole, sides[2], rng())
    assert before["roc_auc"] < 0.75 < 0.9 < figures["roc_auc"] and figures["equal_error_rate"] < 0.2
    assert list(history) == ["epoch", "loss", "validation_roc_auc", "is_kept"] and history["is_kept"].sum() == 1
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    if loss == "info_nce":
        assert figures["sound_mrr"] > 0.9 and figures["picture_recall_at_1"] > 0.9


def test_the_best_epoch_is_kept_and_patience_is(monkeypatch):
    """Of five epochs the second is the best by what is said of them; three more do not surpass it."""
    said, weights, model, whole = [0.6, 0.8, 0.7, 0.8, 0.5], [], small_matcher(), birds(4)

    def auc(truth, values):
        weights.append([np.array(one) for one in model.get_weights()])
        return said[len(weights) - 1]

    monkeypatch.setattr(correspondence, "_auc", auc)
    sides = [correspondence.rows(whole, split) for split in ("train", "validation")]
    history = correspondence.fit(model, whole, *sides, "cosine", epochs=20, patience=3)
    assert history["validation_roc_auc"].tolist() == said
    assert history["is_kept"].tolist() == [False, True, False, False, False]
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights[-1], strict=True))


def test_without_validation_the_last_epoch_is_kept():
    whole = birds(3, splits=("train",))
    sides = [correspondence.rows(whole, split) for split in ("train", "validation")]
    history = correspondence.fit(small_matcher(), whole, *sides, "contrastive", epochs=3, patience=1)
    assert history["is_kept"].tolist() == [False, False, True] and history["validation_roc_auc"].isna().all()


@pytest.mark.parametrize("whole", [birds(1), library(media("wren"), media("tit")), library([], [])])
def test_where_nothing_can_be_told_apart_it_says_so(whole):
    sides = [correspondence.rows(whole, split) for split in ("train", "validation")]
    with pytest.raises(correspondence.CorrespondenceError, match="nothing to learn from"):
        correspondence.fit(small_matcher(), whole, *sides, "bce")


# Figures


def test_scores_are_those_of_the_whole_matcher_whatever_the_batches(monkeypatch):
    model, whole = small_matcher(), birds(3)
    table = correspondence.pair(whole.pictures, whole.sounds, rng(), n_each=2)
    audio, video, logit = scene_encoders.parts(
        model.predict(correspondence.inputs(whole, table, ["features", "spectrogram"]), verbose=0)
    )
    for batch in (256, 7):
        monkeypatch.setattr(correspondence, "BATCH", batch)
        probability, cosine = correspondence.scores(model, whole, table)
        assert probability == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)
        assert cosine == pytest.approx((audio * video).sum(axis=1), abs=1e-5)
        assert correspondence.embed(model, whole, whole.sounds, "sound")[table["sound"]] == pytest.approx(
            audio, abs=1e-5
        )
    assert [len(values) for values in correspondence.scores(model, whole, table[:0])] == [0, 0]


def test_who_knows_all_has_full_marks(monkeypatch):
    put_scorer(monkeypatch, PERFECT)
    whole = birds(5)
    figures = correspondence.evaluate(None, whole, correspondence.rows(whole, "test"), rng())
    assert figures.pop("equal_error_rate") == 0
    assert len(figures) == 11 and all(value == 1 for value in figures.values())


def test_who_knows_nothing_is_at_chance(monkeypatch):
    """Of 10 species with 10 scenes each, one of ten is found at the first place."""
    put_scorer(monkeypatch, BLIND)
    whole = birds(10, n=10, splits=("test",))
    figures = correspondence.evaluate(None, whole, correspondence.rows(whole, "test"), rng())
    for name in correspondence.PAIR_FIGURES:
        assert figures[name] == pytest.approx(0.5, abs=0.05)
    for side in correspondence.SOUGHT:
        assert figures[f"{side}_recall_at_1"] == pytest.approx(0.1, abs=0.1)
        assert figures[f"{side}_recall_at_1"] <= figures[f"{side}_recall_at_5"] <= figures[f"{side}_recall_at_10"]


@pytest.mark.parametrize(
    "whole",
    [
        library([], []),
        library(media("wren", "test"), []),
        library(media("wren", "test"), media("tit", "test", kind="recording")),
    ],
)
def test_where_nothing_can_be_compared_figures_are_nan(whole):
    some = correspondence.rows(whole, "test")
    assert all(np.isnan(value) for value in correspondence.evaluate(small_matcher(), whole, some, rng()).values())
    assert correspondence.best_threshold(small_matcher(), whole, some, rng()) == 0.5


def test_one_species_can_be_sought_and_not_told_apart(monkeypatch):
    put_scorer(monkeypatch, PERFECT)
    whole = birds(1)
    figures = correspondence.evaluate(None, whole, correspondence.rows(whole, "test"), rng())
    assert np.isnan([figures[name] for name in correspondence.PAIR_FIGURES]).all() and figures["sound_mrr"] == 1


def test_the_threshold_tells_most_pairs_rightly(monkeypatch):
    """Matches are said 0.9 and mismatches 0.7: only a threshold between them tells all."""
    whole = birds(4)
    monkeypatch.setattr(
        correspondence, "scores", lambda model, library, table: (0.7 + 0.2 * table["match"].to_numpy(), None)
    )
    cut = correspondence.best_threshold(None, whole, correspondence.rows(whole, "validation"), rng())
    assert 0.7 < cut <= 0.9
    monkeypatch.setattr(correspondence, "embed", lambda model, library, table, side: np.ones((len(table), 2)))
    said = [correspondence.evaluate(None, whole, correspondence.rows(whole, "test"), rng(), at) for at in (0.5, cut)]
    assert [one["accuracy"] for one in said] == [0.5, 1] and said[0]["roc_auc"] == 1


# Films


def test_films_are_compared_by_the_mean_of_their_scenes(monkeypatch):
    films = film("a") + film("b") + film("b", "test")[:1]
    whole = library(films + media("wren"), films + media("wren", kind="recording"))
    said = np.array([[0.9, 0.7, 0.1, 0.3], [0.5, 0.5, 0.2, 0.2], [0, 0, 1, 1], [0, 1, 1, 1]])

    def scores(model, library, table):
        assert table[["picture", "sound"]].max(axis=None) == 3  # each scene once, films only
        return said[table["picture"], table["sound"]], None

    monkeypatch.setattr(correspondence, "scores", scores)
    table = correspondence.film_pairs(None, whole, (whole.pictures, whole.sounds))
    assert table.to_numpy().tolist() == [
        ["a", "a", 1, pytest.approx(0.65)],
        ["a", "b", 0, pytest.approx(0.2)],
        ["b", "a", 0, pytest.approx(0.25)],
        ["b", "b", 1, pytest.approx(1.0)],
    ]


def test_without_films_there_are_no_pairs_of_films():
    whole = birds(2)
    table = correspondence.film_pairs(None, whole, (whole.pictures, whole.sounds))
    assert table.empty and list(table) == ["film", "sound_film", "is_own", "probability"]
    assert np.isnan(correspondence.film_auc(table, [], rng())).all()
    assert len(correspondence.share_species(table, {})) == 0


def film_table(n=6):
    """Film k is sure of its own sound, and nearly as sure of that of its neighbour."""
    rows = [
        (f"v{a}", f"v{b}", int(a == b), 0.9 if a == b else 0.8 if a // 2 == b // 2 else 0.1)
        for a in range(n)
        for b in range(n)
    ]
    return pd.DataFrame(rows, columns=["film", "sound_film", "is_own", "probability"])


def test_the_auc_of_films_and_of_their_species():
    table = film_table()
    assert correspondence.film_auc(table, table["is_own"], rng()) == [1, 1, 1]
    casts = {f"v{k}": {f"s{k // 2}", f"only {k}"} for k in range(6)}
    shared = correspondence.share_species(table, casts)
    assert shared.sum() == 12 and correspondence.film_auc(table, shared, rng()) == [1, 1, 1]
    value, low, high = correspondence.film_auc(table.assign(probability=rng().random(36)), table["is_own"], rng())
    assert low < value < high and 0 <= low and high <= 1


def test_one_film_has_nothing_to_be_compared_with():
    assert np.isnan(correspondence.film_auc(film_table(1), [1], rng())).all()


def test_a_film_in_which_no_bird_is_shares_no_species():
    assert correspondence.share_species(film_table(2), {"v0": {"wren"}}).tolist() == [1, 0, 0, 0]


# Combinations


def test_all_combinations_are_72():
    combinations = correspondence.grid("all", "all", "all", 1)
    assert len(combinations) == len({tuple(one.items()) for one in combinations}) == 3 * 4 * 6
    assert len(correspondence.grid("all", "all", "all", 3)) == 3 * 72


def test_combinations_that_are_named():
    combinations = correspondence.grid(" cnn, bilstm", "cnn3d", "bce,", 2)
    assert [tuple(one.values()) for one in combinations] == [
        (audio, "cnn3d", "bce", seed) for audio in ("cnn", "bilstm") for seed in (0, 1)
    ]
    assert list(combinations[0]) == ["audio", "video", "loss", "seed"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("cnm,cnn", "all", "all", 1), ["audio cnm", *scene_encoders.AUDIO]),
        (("all", "vgg", "all", 1), ["video vgg", *scene_encoders.VIDEO]),
        (("all", "all", "triplet", 1), ["loss triplet", *losses.MATCH_LOSSES]),
        (("all", "", "all", 1), ["video names nothing"]),
        (("all", "all", "all", 0), ["n_seeds = 0"]),
    ],
)
def test_a_name_that_is_not_known_is_told_with_those_that_are(names, words):
    with pytest.raises(correspondence.CorrespondenceError) as caught:
        correspondence.grid(*names)
    assert all(word in str(caught.value) for word in words)


def test_stage_05_is_left_out_where_nothing_can_be_both_seen_and_heard():
    """A BirdCLEF folder has recordings only; one species with a photo is still nothing to compare with."""
    rows = pd.DataFrame(
        [("a", "wren", "a.ogg", "", ""), ("b", "crow", "b.ogg", "", ""), ("c", "wren", "", "c.jpg", "")],
        columns=["recording_id", "species", "audio_path", "image_path", "video_path"],
    )
    assert not correspondence.can_learn(rows)
    crow = pd.DataFrame([("d", "crow", "", "d.jpg", "")], columns=rows.columns)
    assert correspondence.can_learn(pd.concat([rows, crow]))
    films = pd.DataFrame([(i, "", "", "", f"{i}.mp4") for i in "ef"], columns=rows.columns)
    assert correspondence.can_learn(films) and not correspondence.can_learn(films[:1])
