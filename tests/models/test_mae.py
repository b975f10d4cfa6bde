import numpy as np
import pytest
from models import gradients
from tiny_mae import N_FRAMES, N_MELS, N_PATCHES, SIZE, arrays, encoder, spectrograms

from birdlib.models import mae, mae_layers
from birdlib.species import mae_pretraining

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def tiny_encoder():
    return encoder()


@pytest.fixture(scope="module")
def pretrainer(tiny_encoder):
    return mae.build_pretrainer(tiny_encoder, SIZE)


def make_batch(n=3, seed=0):
    rng = np.random.default_rng(seed)
    return {"spectrogram": spectrograms(n, rng), "order": mae_pretraining.orders(n, N_PATCHES, rng)}


def patch_of(number):
    step, band = divmod(number, N_MELS // 16)
    return slice(16 * step, 16 * step + 16), slice(16 * band, 16 * band + 16)


def test_patches_come_in_the_order_of_time_and_a_frame_stays_together():
    frames, mels = np.meshgrid(np.arange(N_FRAMES), np.arange(N_MELS), indexing="ij")
    place = (frames // 16 * 2 + mels // 16).astype(np.float32)
    inside = (frames % 16 * 16 + mels % 16).astype(np.float32)
    cut = mae_layers.Patches(16)
    assert (np.asarray(cut(place[None]))[0] == np.arange(8)[:, None]).all()
    assert (np.asarray(cut(inside[None]))[0] == np.arange(256)).all()


def test_positions_are_distinct_and_neighbours_share_half():
    positions = mae_layers.sine_positions(4, 2, 16)
    assert len(np.unique(positions.round(4), axis=0)) == 8
    assert (positions[0, :8] == positions[2, :8]).all()  # the same band, a step later
    assert (positions[2, 8:] == positions[3, 8:]).all()  # the same step, the next band
    assert np.allclose(positions[0], [0, 0, 0, 0, 1, 1, 1, 1] * 2)  # sin 0 and cos 0


def test_a_quarter_of_the_patches_and_the_class_token_reach_the_encoder(tiny_encoder, pretrainer):
    assert pretrainer.get_layer("shown").output.shape == (None, 2, 16)
    outputs = arrays(tiny_encoder(make_batch()["spectrogram"]))
    assert outputs["embedding"].shape == (3, 16) and outputs["tokens"].shape == (3, 9, 16)


def test_masked_patches_do_not_reach_the_encoder(pretrainer):
    batch = make_batch()
    before = arrays(pretrainer(batch))["patches"]
    changed = batch["spectrogram"].copy()
    for clip, order in zip(changed, batch["order"], strict=True):
        for place in order[2:]:
            clip[patch_of(place)] = RNG.normal(size=(16, 16))
    after = arrays(pretrainer(batch | {"spectrogram": changed}))["patches"]
    assert np.allclose(before, after, atol=1e-6)
    changed[0][patch_of(batch["order"][0, 0])] += RNG.normal(size=(16, 16))
    assert np.abs(arrays(pretrainer(batch | {"spectrogram": changed}))["patches"][0] - before[0]).max() > 1e-3


def test_the_loss_is_the_mean_square_error_of_the_masked_patches_alone(pretrainer):
    batch = make_batch()
    outputs = arrays(pretrainer(batch))
    for clip in range(3):
        costs = []
        for place in batch["order"][clip, 2:]:
            truth = batch["spectrogram"][clip][patch_of(place)].ravel().astype(float)
            truth = (truth - truth.mean()) / np.sqrt(truth.var() + 1e-6)
            costs.append(np.mean((outputs["patches"][clip, place] - truth) ** 2))
        assert outputs["loss"][clip] == pytest.approx(np.mean(costs), rel=1e-4)


def test_the_order_of_visible_patches_does_not_matter(pretrainer):
    batch = make_batch()
    again = np.concatenate([batch["order"][:, 1::-1], batch["order"][:, :1:-1]], axis=1)
    one, other = arrays(pretrainer(batch)), arrays(pretrainer(batch | {"order": again.astype(np.int32)}))
    assert np.allclose(one["patches"], other["patches"], atol=1e-5) and np.allclose(
        one["loss"], other["loss"], atol=1e-5
    )


def test_the_position_of_a_patch_matters_by_its_encoding_only():
    """Without positions the mean of the tokens is the same however the patches are shuffled."""
    tiny_encoder, batch = encoder(), make_batch(1)
    shuffled = batch["spectrogram"].copy()
    shuffled[0, :16], shuffled[0, 16:32] = batch["spectrogram"][0, 16:32], batch["spectrogram"][0, :16]
    embeddings = [arrays(tiny_encoder(x))["embedding"] for x in (batch["spectrogram"], shuffled)]
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-4
    places = tiny_encoder.get_layer("stem").get_layer("positions")
    places.set_weights([np.zeros_like(places.get_weights()[0])])
    embeddings = [arrays(tiny_encoder(x))["embedding"] for x in (batch["spectrogram"], shuffled)]
    assert np.allclose(embeddings[0], embeddings[1], atol=1e-5)


def test_all_weights_are_trained_except_the_norm_that_pretraining_does_not_use(pretrainer):
    """A bias of the keys changes no attention: the softmax takes it away."""
    import keras

    found = gradients(pretrainer, make_batch(), lambda outputs: keras.ops.sum(outputs["loss"]))
    assert len(found) == len(pretrainer.trainable_variables)
    assert all(np.abs(slope).max() > 0 for path, slope in found.items() if "key" not in path or "bias" not in path)
    assert not any("positions" in path or "embedding_norm" in path for path in found)


def test_a_loaded_encoder_and_pretrainer_have_the_same_outputs(tiny_encoder, pretrainer, tmp_path):
    batch = make_batch()
    for name, model, x in (("encoder", tiny_encoder, batch["spectrogram"]), ("pretrainer", pretrainer, batch)):
        model.save(tmp_path / f"{name}.keras")
        expected, found = arrays(model(x)), arrays(mae.load(tmp_path / f"{name}.keras")(x))
        assert all(np.array_equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize("precision", ["mixed_bfloat16"], indirect=True)
def test_outputs_are_float32_in_half_precision(precision):
    outputs = mae.build_pretrainer(mae.build_encoder(SIZE, N_FRAMES, N_MELS), SIZE)(make_batch())
    assert {str(x.dtype).replace("<dtype: '", "").rstrip("'>") for x in outputs.values()} == {"float32"}


def test_invalid_sizes_and_mask_ratios_are_errors(tiny_encoder):
    with pytest.raises(mae.MaeError, match="choose one of tiny, base, large, huge"):
        mae.build_encoder("small")
    with pytest.raises(mae.MaeError, match="500 × 128 is not cut into patches of 16"):
        mae.build_encoder("tiny", n_frames=500)
    with pytest.raises(mae.MaeError, match="multiple of 4"):
        mae.build_encoder({"dim": 18, "depth": 1, "heads": 3})
    for masked in (0.0, 1.0):
        with pytest.raises(mae.MaeError, match="choose another share"):
            mae.build_pretrainer(tiny_encoder, SIZE, masked)


@pytest.mark.slow
def test_the_base_size_is_vit_b_16():
    """A projection of 256 to 768, a class token, 12 blocks of 7,087,872 and two norms."""
    model = mae.build_encoder("base")
    n = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert n == 256 * 768 + 768 + 768 + 12 * 7_087_872 + 2 * 2 * 768
    assert model.output["tokens"].shape == (None, 257, 768)
