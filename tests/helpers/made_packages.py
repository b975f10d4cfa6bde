"""Outputs of which packages for Kaggle are made, and what is in the packages."""

import hashlib

from birdlib import runtime, stages
from birdlib.models import catalogue
from birdlib.pipeline import kaggle

FREE, BOUND = "Apache-2.0", "CC BY-NC-SA 4.0"


def network(licence, file):
    return catalogue.Model(licence=licence, files={file: ("", hashlib.sha256(file.encode()).hexdigest())})


def put_member(folder, **preprocessing):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classifier.keras").write_bytes(b"numbers")
    runtime.write_json(["crow", "wren"], folder / "classes.json")
    runtime.write_json(preprocessing, folder / "preprocessing.json")


def finish(outputs, used=None):
    stages.finish(stages.Stage("07_classify", outputs / "07_classify", {}, {}), {}, weights=used)


def write(outputs, **options):
    return kaggle.write(outputs, outputs / "kaggle", with_wheels=False, **options).set_index("folder")


def files(folder):
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def metadata(outputs, name):
    return runtime.read_json(outputs / "kaggle" / name / "dataset-metadata.json")
