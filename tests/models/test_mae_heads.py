import numpy as np
import pytest
from models import outputs_in_another_process, run
from tiny_mae import SIZE, arrays, encoder, spectrograms

from birdlib.audio import spec_augment
from birdlib.models import mae, mae_heads

DIM, TOKENS = 16, 9


@pytest.fixture(scope="module")
def tiny_encoder():
    return encoder()


def test_the_deep_head_has_the_layers_of_the_recipe(tiny_encoder):
    """768 → dropout .3 → 512 GELU → .2 → 256 GELU → .1 → classes, after the encoder's own dim."""
    head = mae_heads.build_head("mlp", tiny_encoder, 5)
    layers = [
        layer.rate if "dropout" in layer.name else (layer.units, layer.activation.__name__)
        for layer in head.layers
        if hasattr(layer, "rate") or hasattr(layer, "units")
    ]
    assert layers == [0.3, (512, "gelu"), 0.2, (256, "gelu"), 0.1, (5, "linear")]


@pytest.mark.parametrize("kind", mae_heads.HEADS)
@pytest.mark.parametrize("mode", mae_heads.ACTIVATIONS)
def test_heads_output_probabilities(tiny_encoder, kind, mode):
    scores = run(
        mae_heads.build_head(kind, tiny_encoder, 3, mode=mode), arrays(tiny_encoder(spectrograms(4, np.random.default_rng(0))))
    )
    assert scores.shape == (4, 3) and (scores > 0).all() and (scores < 1).all()
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5) == (mode == "single")


def test_a_prototype_matches_in_any_patch(tiny_encoder):
    """Its cosine is then 1, so the logit is at least w * 1 - 2; where all patches point the other way it is -w - 2."""
    head = mae_heads.build_head("prototypical", tiny_encoder, 2, n_prototypes=1)
    prototypes = np.zeros((2, 1, DIM), np.float32)
    prototypes[0, 0, 0] = prototypes[1, 0, 1] = 3.0
    head.get_layer("prototypes").set_weights([prototypes])
    class_token = np.random.default_rng(0).normal(size=DIM)
    tokens = np.tile(class_token, (2, TOKENS, 1)).astype(np.float32)
    tokens[:, 1:, 0] -= 1.0
    tokens[1, 5] = class_token + 7.0 * np.eye(DIM)[0]
    scores = run(head, {"tokens": tokens})
    logits = np.log(scores / (1 - scores))
    assert np.allclose(logits, [[-3.0, -2.0], [-1.0, -2.0]], atol=1e-4)


def test_similar_prototypes_of_a_species_are_penalised(tiny_encoder):
    """Three alike cost 3 * 2 products of 1, orthogonal ones nothing; half of the species alike, half of it."""
    head = mae_heads.build_head("prototypical", tiny_encoder, 2, n_prototypes=3, orthogonality=0.01)
    alike, apart = np.ones((3, DIM)), np.eye(3, DIM)
    for prototypes, cost in (([alike, alike], 0.06), ([apart, 5 * apart], 0.0), ([apart, alike], 0.03)):
        head.get_layer("prototypes").set_weights([np.array(prototypes)])
        assert float(sum(head.losses)) == pytest.approx(cost, abs=1e-6)


def test_weights_of_prototypes_stay_non_negative(tiny_encoder):
    """Trained on what it likes being absent, its weight ends at 0, not below."""
    head = mae_heads.build_head("prototypical", tiny_encoder, 1, n_prototypes=2)
    tokens = np.random.default_rng(0).normal(size=(8, TOKENS, DIM)).astype(np.float32)
    head.compile("sgd", "binary_crossentropy")
    head.optimizer.learning_rate = 50.0
    head.fit({"tokens": tokens}, np.zeros((8, 1)), epochs=3, verbose=0)
    assert (head.get_layer("evidence").get_weights()[0] >= 0).all()


def test_attention_does_not_depend_on_the_order_of_tokens(tiny_encoder):
    head = mae_heads.build_head("attentive", tiny_encoder, 3)
    tokens = np.random.default_rng(0).normal(size=(4, TOKENS, DIM)).astype(np.float32)
    assert np.allclose(run(head, {"tokens": tokens}), run(head, {"tokens": tokens[:, ::-1]}), atol=1e-5)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind != "prototypical")) for kind in mae_heads.HEADS]
)
def test_each_head_learns_to_separate_two_species(tiny_encoder, kind):
    """A bird is a direction in which one patch, and so the mean, is moved."""
    import keras

    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=64)
    tokens = rng.normal(size=(64, TOKENS, DIM)).astype(np.float32)
    tokens[np.arange(64), rng.integers(1, TOKENS, 64), labels] += 12.0
    inputs = {"tokens": tokens, "embedding": tokens[:, 1:].mean(axis=1)}
    keras.utils.set_random_seed(0)
    head = mae_heads.build_head(kind, tiny_encoder, 2, mode="single", n_prototypes=3)
    head.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    head.fit({name: inputs[name] for name in head.input}, labels, epochs=25, batch_size=32, verbose=0)
    assert (run(head, inputs).argmax(axis=1) == labels).mean() > 0.9


@pytest.mark.parametrize("freeze", [True, False])
def test_probing_trains_the_head_alone(freeze):
    tiny_encoder = mae.build_encoder(SIZE, 512, 128)
    head = mae_heads.build_head("linear", tiny_encoder, 3)
    model = mae_heads.classifier(tiny_encoder, head, freeze)
    assert len(model.trainable_variables) == len(head.trainable_variables) + (
        0 if freeze else len(tiny_encoder.trainable_variables)
    )
    assert {"front_end", "body"} <= {layer.name for layer in model.layers}


@pytest.mark.parametrize("kind", ["linear", "attentive"])
@pytest.mark.filterwarnings("error:Gradients do not exist")
def test_every_trained_weight_gets_a_gradient(kind):
    tiny_encoder = mae.build_encoder(SIZE, 512, 128)
    body = mae_heads.classifier(tiny_encoder, mae_heads.build_head(kind, tiny_encoder, 2), freeze=False).get_layer("body")
    before = [np.array(weight) for weight in body.trainable_variables]
    body.compile("sgd", "binary_crossentropy")
    body.optimizer.learning_rate = 1.0
    images = np.random.default_rng(0).normal(size=(2, 512, 128)).astype(np.float32)
    body.fit(images, np.eye(2, dtype=np.float32), verbose=0)
    assert all((np.array(weight) != old).any() for weight, old in zip(body.trainable_variables, before, strict=True))


def test_masks_of_spec_augment_reach_the_encoder_in_training_only(tmp_path):
    """A linear head without dropout gives other scores in training, and the saved classifier those of the classifier."""
    import keras

    tiny_encoder = mae.build_encoder(SIZE, 512, 128)
    head = mae_heads.build_head("linear", tiny_encoder, 3)
    masking = spec_augment.SpecAugment(n_time_masks=4, longest_frames=200, seed=1)
    plain, masked = (mae_heads.classifier(tiny_encoder, head, masking=layer) for layer in (None, masking))
    images = np.random.default_rng(0).normal(size=(2, 512, 128)).astype(np.float32)
    scores = {name: run(model.get_layer("body"), images) for name, model in (("plain", plain), ("masked", masked))}
    assert np.allclose(scores["masked"], scores["plain"])
    in_training = keras.ops.convert_to_numpy(masked.get_layer("body")(images, training=True))
    assert np.abs(in_training - scores["plain"]).max() > 1e-3
    masked.save(tmp_path / "model.keras")
    waveforms = np.float32(0.1 * np.random.default_rng(0).normal(size=(2, 160_000)))
    assert np.allclose(run(keras.saving.load_model(tmp_path / "model.keras"), waveforms), run(plain, waveforms), atol=1e-6)


@pytest.mark.slow
def test_a_saved_classifier_has_the_same_outputs_in_another_process(tmp_path):
    import keras

    tiny_encoder = mae.build_encoder(SIZE, 512, 128)
    waveforms = np.float32(0.1 * np.random.default_rng(0).normal(size=(2, 160_000)))
    models = []
    for kind in ("prototypical", "attentive"):
        model = mae_heads.classifier(tiny_encoder, mae_heads.build_head(kind, tiny_encoder, 3))
        waveform = keras.Input((160_000,), name="waveform")
        models.append(keras.Model({"waveform": waveform}, model(waveform)))
    scores = outputs_in_another_process(mae_heads, models, {"waveform": waveforms}, tmp_path)
    assert all(
        np.allclose(a, run(model, {"waveform": waveforms}), atol=1e-5) for a, model in zip(scores, models, strict=True)
    )


def test_unknown_kinds_and_modes_are_errors_that_list_the_known(tiny_encoder):
    with pytest.raises(mae_heads.HeadError, match="kind is 'knn': choose one of linear, mlp, attentive, prototypical"):
        mae_heads.build_head("knn", tiny_encoder, 3)
    with pytest.raises(mae_heads.HeadError, match="mode is 'both': choose one of single, multi"):
        mae_heads.build_head("mlp", tiny_encoder, 3, mode="both")
