import keras
import numpy as np
import pandas as pd
import pytest
from models import run

from birdlib.losses.distillation import CosineDistance
from birdlib.models import weights
from birdlib.species import distillation, mel_models, objective


@pytest.fixture
def teacher():
    """Patches of 5 s, side by side, of a recording of 10 s and of a window of a soundscape from 20 to 25 s."""
    recording = pd.DataFrame({"recording_id": "r", "start_s": [0.0, 5.0], "end_s": [5.0, 10.0]})
    window = pd.DataFrame({"recording_id": "scape_25", "start_s": [20.0], "end_s": [25.0]})
    return distillation.Teacher("perch_v2", [(np.float32([[1, 0], [0, 1]]), recording), (np.float32([[3, 4]]), window)])


@pytest.mark.parametrize(("start_s", "expected"), [(0, [1, 0]), (5, [0, 1]), (2.5, [0.5, 0.5]), (4, [0.2, 0.8]), (12, [0, 1])])
def test_crop_takes_the_patches_by_the_seconds_that_it_shares(teacher, start_s, expected):
    """The last crop lies behind all patches, and takes the nearest."""
    assert np.allclose(teacher.embed("r", start_s, start_s + 5.0), expected)


def test_windows_have_their_own_embedding_and_unknown_recordings_none(teacher):
    assert teacher.dim == 2 and teacher.embed("scape_25", 20.0, 25.0).tolist() == [3, 4]
    assert teacher.embed("unreadable", 0.0, 5.0).tolist() == [0, 0]


def test_first_teacher_that_can_be_had_is_taken(monkeypatch):
    def fetch(name, folder=""):
        if name == "perch_v2":
            raise weights.MissingWeightsError("perch_v2 is nowhere")
        return name

    monkeypatch.setattr(weights, "fetch", fetch)
    assert distillation.choose("perch_v2, birdnet") == "birdnet"
    with pytest.raises(distillation.DistillationError, match="perch_v2 is nowhere"):
        distillation.choose("perch_v2")
    with pytest.raises(distillation.DistillationError, match="'parch' is unknown"):
        distillation.choose("parch,birdnet")


def test_cosine_distance_compares_directions():
    """Equal, opposite, orthogonal; and no teacher, which costs nothing whatever the student says."""
    teacher, student = np.float32([[2, 0], [2, 0], [2, 0], [0, 0]]), np.float32([[5, 0], [-1, 0], [0, 3], [1, 1]])
    distances = CosineDistance(reduction="none")(teacher, student)
    assert np.allclose(distances, [0, 2, 1, 0], atol=1e-5)


# The objective


def body(head="sed_gem", mode="multi"):
    keras.utils.set_random_seed(0)
    return mel_models.body(mel_models.build(3, head=head, mode=mode, window_s=1.0)[0])


def test_network_in_training_has_an_output_for_each_loss():
    inner = body()
    network = objective.Objective(0.5, 0.1, 1536).network(inner)
    images = np.random.default_rng(0).random((2, *inner.input_shape[1:]), dtype=np.float32)
    found = {name: np.asarray(output) for name, output in network(images).items()}
    assert {name: output.shape for name, output in found.items()} == {"clip": (2, 3), "frames": (2, 3), "teacher": (2, 1536)}
    assert np.allclose(found["clip"], run(inner, images)) and (found["frames"] >= found["clip"]).all()


def test_losses_are_half_on_the_clip_and_half_on_the_frames():
    losses, shares = objective.Objective(0.5, 0.1, 8).losses("binary_crossentropy")
    assert shares == {"clip": 0.5, "frames": 0.5, "teacher": 0.1}
    assert losses["clip"] == losses["frames"] == "binary_crossentropy" and isinstance(losses["teacher"], CosineDistance)


def test_without_further_losses_the_body_is_trained_alone():
    inner = body("pooled")
    assert objective.Objective().network(inner) is inner
    assert objective.Objective().losses("bce") == ("bce", None)


def test_teacher_is_predicted_by_one_linear_layer():
    """From the mean over the maps: channels * dim + dim weights."""
    inner = body("pooled")
    network = objective.Objective(distillation=0.1, teacher_dim=1536).network(inner)
    layer = network.get_layer("teacher_embedding")
    assert layer.get_config()["activation"] == "linear" and layer.units == 1536
    assert network.count_params() - inner.count_params() == (128 + 1) * 1536


def test_frames_need_a_head_that_has_them():
    with pytest.raises(objective.ObjectiveError, match="sed or sed_gem"):
        objective.Objective(frame_share=0.5).network(body("pooled"))
    with pytest.raises(objective.ObjectiveError, match="share from 0 to 1"):
        objective.Objective(frame_share=1.5).network(body())
