"""Folders for Kaggle: code, models and wheels for ``kaggle datasets create``, and the submission for ``kaggle kernels push``.

    birdlib-code/        birdlib/  notebooks/  requirements.txt
    birdlib-models/      07_classify/ with its members/  weights/<model>/
    birdlib-wheels/      *.whl  birdlib-wheels.txt
    birdlib-submission/  notebook 08, which finds the three, and kernel-metadata.json

``contents.json`` in each lists the size and sha256 of every other file. A folder is renamed into place when complete; one that is up to date
is left unchanged.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pandas as pd

import birdlib
from birdlib import notebook_setup, runtime, stages
from birdlib.models import embedders, weights
from birdlib.species import classifiers, site_hour

_CONTENTS = "contents.json"
NOTEBOOK = "08_submit.ipynb"
_KAGGLE_LICENCES = {  # Kaggle's names, the strictest first; a licence not listed counts as stricter than all
    "CC BY-NC-SA 4.0": "CC-BY-NC-SA-4.0",
    "CC BY 4.0": "CC-BY-4.0",
    "Apache-2.0": "apache-2.0",
    "MIT": "other",
}
# What notebook 08 imports and Kaggle's image lacks. The image is Colab's with https://github.com/Kaggle/docker-python on top of it: numpy, pandas,
# pyarrow, scipy, scikit-learn, joblib, matplotlib, tqdm, soundfile, soxr, librosa, tensorflow, keras and kagglehub are there.
ABSENT = ("ai-edge-litert", "backports.strenum", "noisereduce", "resampy")  # the first needs the second; the last is for kaiser_best
_PYTHONS = ("3.11", "3.12")  # of Kaggle's images
_PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_27_x86_64", "manylinux_2_28_x86_64")
_ATTACHED_CELL = """# The datasets attached to this notebook on Kaggle; written by `python -m birdlib package`
classifier_dir = str(notebook_setup.attached("classifier.keras"))
data_dir = str(notebook_setup.attached("sample_submission.csv"))"""


class PackageError(runtime.BirdlibError):
    """A folder for Kaggle cannot be made."""


def write(outputs_dir, to, user="", competition="", with_wheels=True, weights_dir=""):
    """Write the folders, or those that have changed.

    Args:
        outputs_dir: where stage 07 has written.
        to: folder of the folders.
        user: Kaggle user name; empty: that of the last call, else INSERT_USER.
        competition: its name in Kaggle's addresses; empty: that of the last call, else birdclef-2025.
        with_wheels: False neither downloads nor changes wheels.
        weights_dir: see ``weights.find``; missing weights are fetched.

    Returns:
        DataFrame: ``folder, files, mb, licence, state``; the state is "written" or "already right".

    Raises:
        stages.MissingStageError, classifiers.ClassifierError: there is no classifier to package.
        weights.MissingWeightsError: see ``weights.fetch``.
        PackageError: the wheels cannot be downloaded, or a folder of that name holds something else.
    """
    outputs, to = Path(outputs_dir), Path(to)
    known_user, known_competition = _named_before(to)
    user, competition = user or known_user, competition or known_competition
    models, licences = _models(outputs, weights_dir)
    folders = {"birdlib-code": (_code(), "other", "The code and notebooks of birdlib.")}
    told = "Pretrained weights inside or learnt from: " + ("; ".join(sorted(licences)) or "none")
    folders["birdlib-models"] = models, _kaggle_licence(licences), told
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        if with_wheels:
            description = f"Wheels of {', '.join(ABSENT)}, each under the licence inside it."
            folders["birdlib-wheels"] = _wheels(to / "birdlib-wheels", Path(scratch)), "other", description
        for name, (files, licence, description) in folders.items():
            files["dataset-metadata.json"] = _json(
                {"title": name, "id": f"{user}/{name}", "licenses": [{"name": licence}], "description": description}
            )
            rows.append({**_put(to / name, files), "licence": licence})
    datasets = [f"{user}/{name}" for name in ("birdlib-code", "birdlib-models", "birdlib-wheels") if (to / name / _CONTENTS).is_file()]
    rows.append({**_put(to / "birdlib-submission", _submission(user, competition, datasets, recipe_parameters(outputs))), "licence": ""})
    return pd.DataFrame(rows)[["folder", "files", "mb", "licence", "state"]]


def recipe_parameters(outputs_dir):
    """{parameter: value} of notebook 08 in the recipe that an outputs folder is of; {} without one."""
    path = Path(outputs_dir) / stages.RECIPE
    settings = runtime.read_json(path)["parameters"].get(Path(NOTEBOOK).stem, {}) if path.is_file() else {}
    return {name: value for name, (value, _) in settings.items()}


# What goes into each folder: {path in it: the file it is a copy of, or bytes}


def _code():
    root = runtime.repository()
    package = [path for path in root.glob("birdlib/**/*") if path.is_file() and path.parent.name != "__pycache__"]  # pages have templates, styles, scripts
    paths = [*package, *root.glob("notebooks/[0-9][0-9]_*.ipynb"), root / "requirements.txt"]
    return {path.relative_to(root).as_posix(): path for path in sorted(paths) if not path.name.startswith(".")}


def _models(outputs, weights_dir):
    """(files, licences): the classifier, its members, and the weights of their embedders."""
    receipt = stages.receipt(outputs, "07_classify")
    licences = {record["licence"] for record in receipt["weights"].values()} | _licences_of_teachers(outputs, receipt)
    home = outputs / "07_classify"
    paths = {home / name for name in classifiers.FILES}
    members = ["."]
    if (home / "ensemble.json").is_file():
        paths.add(home / "ensemble.json")
        members = runtime.read_json(home / "ensemble.json")["members"]
    paths |= {home / site_hour.FILE} & set(home.glob("*.json"))
    for member in members:
        paths |= {home / member / name for name in classifiers.FILES}
    if missing := sorted(path.relative_to(home).as_posix() for path in paths if not path.is_file()):
        raise classifiers.ClassifierError(f"{home} has no {', '.join(missing)}: run notebooks/07_classify.ipynb again")
    files = {f"07_classify/{path.relative_to(home).as_posix()}": path for path in sorted(paths)}
    for member in members:
        preprocessing = runtime.read_json(home / member / "preprocessing.json")
        if preprocessing.get("kind", "embeddings") == "embeddings":
            source = weights.fetch(embedders.weights_name(preprocessing["embedder"]), weights_dir)
            licences.add(source.licence)
            files |= {f"weights/{source.name}/{name}": path for name, path in _files_of(source).items()}
    return files, licences


def _licences_of_teachers(outputs, receipt):
    """Licences of the teachers whose pseudo-labels the classifier was trained on."""
    if "06_pseudolabel" not in receipt["inputs"] or "soundscapes" not in receipt["results"]["components"]:
        return set()
    labels = pd.read_parquet(outputs / "06_pseudolabel" / "labels.parquet", columns=["teacher"])
    teachers = {name for named in labels["teacher"].unique() for name in named.split("+")}
    used = stages.receipt(outputs, "06_pseudolabel")["weights"]
    return {record["licence"] for name, record in used.items() if name in teachers}


def _files_of(source):
    """{name: path} of the files of weights."""
    if source.path.is_file():
        return {source.path.name: source.path}
    if source.format != "savedmodel":
        return {name: source.path / name for name in weights.MODELS[source.name].files}
    paths = [source.path / "saved_model.pb", *source.path.glob("variables/*"), *source.path.glob("assets/*")]
    return {path.relative_to(source.path).as_posix(): path for path in sorted(paths)}


def _kaggle_licence(licences):
    if licences - _KAGGLE_LICENCES.keys():
        return "unknown"
    return next((name for licence, name in _KAGGLE_LICENCES.items() if licence in licences), "other")


def _wheels(folder, scratch):
    """Wheels of what the image lacks: those in ``folder`` if they are complete and of the same requirements."""
    text = (runtime.repository() / "requirements.txt").read_text(encoding="utf-8")
    lines = [re.split(r"\s*[;#]", line)[0].strip() for line in text.splitlines()]
    ranges = {re.split(r"[<>=!~\[ ]", line)[0]: line for line in lines if line}
    wanted = [ranges.get(name, name) for name in ABSENT]
    listing = "\n".join([f"# for Python {', '.join(_PYTHONS)}", *wanted, ""]).encode()
    if (folder / notebook_setup.WHEELS).is_file() and (folder / notebook_setup.WHEELS).read_bytes() == listing and _is_whole(folder):
        found = folder
    else:
        found = scratch
        for python in _PYTHONS:
            _download(wanted, python, scratch)
    return {path.name: path for path in sorted(found.glob("*.whl"))} | {notebook_setup.WHEELS: listing}


def _download(requirements, python, folder):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--retries=1", "--disable-pip-version-check"]
    command += [f"--platform={platform}" for platform in _PLATFORMS]
    command += [f"--python-version={python}", "--dest", str(folder), *requirements]
    done = subprocess.run(command, capture_output=True, text=True)
    broken = [wheel.name for wheel in folder.glob("*.whl") if not zipfile.is_zipfile(wheel)]
    if done.returncode or broken:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise PackageError(
            f"the wheels of {', '.join(ABSENT)} for Python {python} could not be downloaded: {last}\n"
            "Run this again where there is a network, or use --no-wheels: notebook 08 then runs in TensorFlow at half the speed, "
            "and a classifier trained with a denoiser cannot be used"
        )


def _submission(user, competition, datasets, parameters):
    """Notebook 08 that finds the attached datasets, with the ``parameters`` of a recipe, and its metadata for Kaggle."""
    notebook = runtime.read_json(runtime.repository() / "notebooks" / NOTEBOOK)
    tags = [cell["metadata"].get("tags", []) for cell in notebook["cells"]]
    cell = {"cell_type": "code", "id": "attached", "metadata": {}, "outputs": [], "execution_count": None}
    cell["source"] = "\n".join([_ATTACHED_CELL, *(f"{name} = {value!r}" for name, value in parameters.items())])
    notebook["cells"].insert(next(i for i, found in enumerate(tags) if "parameters" in found) + 1, cell)
    metadata = {
        "id": f"{user}/birdlib-submission",
        "title": "birdlib submission",
        "code_file": NOTEBOOK,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": False,
        "enable_internet": False,
        "dataset_sources": datasets,
        "competition_sources": [competition],
        "kernel_sources": [],
        "model_sources": [],
    }
    return {NOTEBOOK: _json(notebook), "kernel-metadata.json": _json(metadata)}


# Folders


def _named_before(to):
    """(user, competition) of an earlier call."""
    path = to / "birdlib-submission" / "kernel-metadata.json"
    if not path.is_file():
        return "INSERT_USER", "birdclef-2025"
    metadata = runtime.read_json(path)
    return metadata["id"].split("/")[0], metadata["competition_sources"][0]


def _put(folder, files):
    """Make a folder hold exactly these files and their ``contents.json``."""
    records = {name: _record(source) for name, source in sorted(files.items())}
    contents = {"birdlib": birdlib.__version__, "files": records}
    row = {"folder": str(folder), "files": len(files), "mb": sum(record["bytes"] for record in records.values()) / 1e6}
    if folder.exists() and any(folder.iterdir()) and not (folder / _CONTENTS).is_file():
        raise PackageError(f"{folder} is not empty and was not made by birdlib: choose another folder by --to")
    if _is_whole(folder) and runtime.read_json(folder / _CONTENTS) == contents:
        return {**row, "state": "already right"}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with runtime.full_disk_errors(folder), tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        new = Path(temporary) / "new"
        for name, source in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, bytes):
                (new / name).write_bytes(source)
            else:
                shutil.copyfile(source, new / name)
        runtime.write_json(contents, new / _CONTENTS)
        if folder.exists():
            folder.rename(Path(temporary) / "old")
        os.replace(new, folder)
    return {**row, "state": "written"}


def _is_whole(folder):
    """Whether a folder holds exactly the files of its ``contents.json``."""
    try:
        records = runtime.read_json(folder / _CONTENTS)["files"]
    except (OSError, ValueError, KeyError):
        return False
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    found.pop(_CONTENTS)
    return found.keys() == records.keys() and all(_record(path) == records[name] for name, path in found.items())


def _record(source):
    if isinstance(source, bytes):
        return {"bytes": len(source), "sha256": hashlib.sha256(source).hexdigest()}
    return {"bytes": source.stat().st_size, "sha256": runtime.digest_file(source)}


def _json(value):
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
