"""The walls of the house: which room may import which, and what every module owes its reader."""

import ast
import importlib

import pytest

from birdlib import runtime

GROUND = {"runtime"}  # every module may import it
FLOORS = [
    {
        "manifest",
        "audio",
        "metrics",
        "plots",
        "stages",
        "downloads",
        "catalogue",
        "yamnet",
        "songs",
        "fieldwork",
        "plumage",
        "embedding_store",
        "pooling",
        "vectors",
        "cross_losses",
        "mining",
        "vgg16",
        "resnet50",
        "pictures",
        "tiles",
        "recorder",
        "individuals",
        "splits",
        "track_crops",
        "patchwise",
        "identity_relations",
        "distortions",
        "calibration",
        "fbanks",
        "mae_layers",
        "spec_augment",
        "offline",
        "journals",
        "locks",
        "kernels",
        "window_scores",
        "deadline",
        "checkpoints",
    },
    {"classifier_plots", "pseudolabel_plots", "counts", "ensembles", "known_birds", "weights", "birdnet", "speech", "noise", "films", "video", "aviary", "encoders", "pairs", "fusion", "galleries", "retrieval", "losses", "scene_encoders", "track_bridges", "identity_metrics", "label_losses", "mae", "mixing", "perch", "pseudolabels", "taxonomy", "exported", "detections"},
    {"expedition", "birdclef", "duplicates", "cleaning", "embedders", "evaluation", "photos", "triplet_batches", "seeing", "hearing", "motion", "annotations", "tracks", "backbones", "voices", "ambience", "augment", "crops", "mae_checkpoints", "mae_heads", "mae_pretraining", "noisy_student", "occurrence", "head_epochs", "soundscape_labels", "ablation"},
    {"individual_plots", "sample", "clips", "classifiers", "modalities", "nearest", "triplets", "scenes", "detectors", "background_swap", "track_encoders", "aviary_tracks", "mel_models", "training_data", "hidden_sets", "ears"},
    {"kaggle_packages", "members", "scene_pairs", "identity_training", "track_embedders", "sightings", "voice_tests", "mel_training", "soundscape_windows", "students"},
    {"correspondence", "identity_sets", "soundscapes", "teachers", "wave_trainings", "head_trainings"},
    {"match_grid", "trainings", "panel"},
    {"match"},
    {"report", "executions", "rehearsal", "pipeline", "benchmarks", "film_benchmarks", "__main__"},
]
MODULES = sorted((runtime.repository() / "birdlib").glob("*.py"))


def floor(module):
    return -1 if module in GROUND else next(i for i, names in enumerate(FLOORS) if module in names)


def imported(tree):
    """Names of the birdlib modules that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "birdlib":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("birdlib."):
            yield node.module.split(".")[1]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_imports_only_lower_floors(path):
    """The top floor holds the runner, its report and the command line, which lean on each other."""
    if path.stem == "__init__":
        return
    mine = floor(path.stem)
    for name in imported(ast.parse(path.read_text())):
        assert floor(name) < mine or mine == len(FLOORS) - 1, f"{path.stem} imports {name}"


def test_every_room_has_a_floor_and_every_floor_only_rooms():
    assert GROUND.union(*FLOORS) == {path.stem for path in MODULES} - {"__init__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_public_functions_say_what_they_do(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.stem}.{node.name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_what_a_module_takes_from_another_is_there(path):
    """Names that are moved leave callers behind, which nobody notices where the call is rare, as in a benchmark."""
    tree = ast.parse(path.read_text())
    rooms = {alias.asname or alias.name: alias.name for node in ast.walk(tree) if getattr(node, "module", "") == "birdlib" for alias in node.names}
    own = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in rooms.keys() - own:
            room = importlib.import_module(f"birdlib.{rooms[node.value.id]}")
            assert hasattr(room, node.attr), f"{path.stem}, line {node.lineno}: {room.__name__} has no {node.attr}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_pickle(path):
    """Tables, arrays and models only: a pickle runs code when it is opened."""
    assert "pickle" not in {
        name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for name in [a.name for a in node.names]
    }
