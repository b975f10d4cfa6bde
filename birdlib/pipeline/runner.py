"""The chain: which notebooks have to run, in which order, with which parameters."""

import ast
import contextlib
import functools
import sys
import time
from pathlib import Path

import pandas as pd

from birdlib import locks, runtime, stages
from birdlib.data import birdclef
from birdlib.models import weights
from birdlib.multimodal import scene_pairs
from birdlib.pipeline import execute, recipes
from birdlib.reports import run_report

_SOUND_STAGES = ("02_clean", "03_embed", "04_triplet", "06_pseudolabel", "07_classify", "08_submit")  # stages that need sound files
_SPECIES_STAGES = {  # stages that need several species, and what they say otherwise
    "04_triplet": "photos or recordings of two species are needed, and {}",
    "06_pseudolabel": "recordings with sound of two species are needed, and {}",
    "07_classify": "recordings with sound of two species are needed, and {}",
    "08_submit": "there is no classifier: recordings with sound of two species are needed, and {}",
}
DISPENSABLE = ("04_triplet", "05_match", "06_pseudolabel", "09_count")  # not needed for a submission: left out where their weights are missing


def notebooks():
    """Paths of the numbered notebooks, in the order of the chain."""
    return sorted((runtime.repository() / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def _declared_parameters(notebook):
    """{name: default value} of a notebook's parameters cell."""
    from papermill import inspect_notebook

    found = inspect_notebook(execute.papermill_path(notebook))
    return {name: ast.literal_eval(parameter["default"]) for name, parameter in found.items()}


def default_parameters():
    """{notebook stem: {parameter: default value}} of all notebooks."""
    return {notebook.stem: _declared_parameters(notebook) for notebook in notebooks()}


def _choose_parameters(chain, given, recipe=None):
    """{notebook path: {name: value}}: the defaults of each notebook, those of the recipe, and the given values that it declares.

    Args:
        chain: notebook paths.
        given: {name: value}; text from the command line stands for a number or truth value where one is wanted.
        recipe: a ``recipes.Recipe``, or None.

    Raises:
        execute.ChainError: if no notebook declares a given name, or a value has another type than the default.
    """
    defaults = {notebook: _declared_parameters(notebook) for notebook in chain}
    for declared in defaults.values():  # paths in notebooks are relative to the repository
        declared |= {name: str(runtime.repository() / declared[name]) for name in _paths(declared)}
    unknown = [name for name in given if not any(name in declared for declared in defaults.values())]
    if unknown:
        known = sorted({name for declared in defaults.values() for name in declared})
        raise execute.ChainError(f"no notebook has a parameter {', '.join(unknown)}; there are: {', '.join(known)}")
    for notebook, declared in defaults.items():
        of_recipe = recipe.values(notebook.stem) if recipe else {}
        if unknown := of_recipe.keys() - declared.keys():
            raise execute.ChainError(f"recipe {recipe.name} sets {', '.join(sorted(unknown))}, which {notebook.stem} does not have")
        for name, value in [*of_recipe.items(), *((name, given[name]) for name in declared.keys() & given.keys())]:
            declared[name] = _as_type(value, type(declared[name]), f"{notebook.stem}: {name}")
    return defaults


def run(outputs_dir="outputs", first="", only="", given=None, force=False, recipe=""):
    """Run the chain, or part of it; a stage whose receipt is current is skipped.

    Args:
        outputs_dir: where the stages write.
        first: number of the notebook to begin with, e.g. ``"03"``; empty for all.
        only: number of the one notebook to run.
        given: {parameter: value}, passed to each notebook that declares it; paths are relative to the current folder.
        force: run current stages as well.
        recipe: name of a published recipe (``recipes``): its notebooks run, with its parameters where none are given.

    Returns:
        {notebook stem: "ran", "current", or "left out" where the recordings have nothing for it}.

    Raises:
        execute.ChainError: if a notebook fails; it names the cell, the error and the executed notebook.
        recipes.RecipeError: for a recipe that does not exist.
        locks.LockError: if another run writes into the same folder, or it is not writable.
    """
    outputs, given = Path(outputs_dir).resolve(), dict(given or {})
    if any(outputs / "notebooks" == notebook.parent for notebook in notebooks()):
        raise execute.ChainError(f"{outputs} has the notebooks themselves, which their executed copies would replace: choose other --outputs")
    first, only = (number and number.zfill(2) for number in (first, only))
    recipe = recipes.load(recipe) if recipe else None
    own = [n for n in notebooks() if recipe is None or n.stem[:2] in ("00", *recipe.notebooks)]
    chosen = [n for n in own if n.stem[:2] >= first and (not only or n.stem[:2] == only)]
    if not chosen:
        where = f"recipe {recipe.name} has" if recipe else "there is"
        raise execute.ChainError(f"{where} no notebook {only or first}: {', '.join(n.stem for n in own)}")
    if "outputs_dir" in given:
        raise execute.ChainError("outputs_dir is the same for the whole run: give it by --outputs")
    given |= {name: str(Path(given[name]).resolve()) for name in _paths(given)}
    parameters = _choose_parameters(notebooks(), {**given, "outputs_dir": str(outputs)}, recipe)
    with locks.lock_folder(outputs, "choose other --outputs", "run"):
        for folder in (outputs, outputs / "notebooks"):
            runtime.remove_half_written(folder.glob(".*"))
        recipes.write(outputs, recipe, given)
        return _run(chosen, parameters, outputs, force, recipe)


def _run(chosen, parameters, outputs, force, recipe):
    done, left_out = {}, {}
    for notebook in notebooks():
        if notebook < chosen[0] and notebook.stem in stages.READS:
            if reason := _why_run(notebook, parameters[notebook], outputs, force=False):
                print(f"{notebook.stem} is left as it is, though: {reason}", file=sys.stderr)
    with execute.progress_bars(len(chosen)) as (bar, progress_file):
        for notebook in chosen:
            bar.set_description(notebook.stem)
            lacking = _missing_input(notebook.stem, outputs, parameters[notebook], left_out)
            reason = "" if lacking else _why_run(notebook, parameters[notebook], outputs, force)
            if reason:
                bar.write(f"{notebook.stem}: running ({reason})", file=sys.stderr)
                started = time.monotonic()
                try:
                    with _kept_until_written(notebook, outputs):
                        execute.execute(notebook, parameters[notebook], outputs, progress_file, recipe.name if recipe else "")
                except stages.NothingToDoError as error:
                    lacking = str(error)
                except execute.WeightsError as error:
                    if notebook.stem not in DISPENSABLE:
                        raise
                    lacking = str(error)
                progress_file.unlink(missing_ok=True)
            if lacking:
                left_out[notebook.stem] = lacking
                _forget(notebook, outputs)
                bar.write(f"{notebook.stem}: left out ({lacking})", file=sys.stderr)
            elif reason:
                bar.write(f"{notebook.stem}: done in {time.monotonic() - started:.0f} s", file=sys.stderr)
            else:
                bar.write(f"{notebook.stem}: current", file=sys.stderr)
            done[notebook.stem] = "left out" if lacking else "ran" if reason else "current"
            bar.update()
        bar.set_description("report")
        runtime.write_table(stages.all_skipped(outputs), outputs / stages.SKIPPED)
        run_report.write(outputs, left_out)
    return done


@contextlib.contextmanager
def _kept_until_written(notebook, outputs):
    """Where a notebook fails before it has written into its folder, for a wrong parameter say, the results of its last run stand."""
    folder = outputs / notebook.stem
    ends = [path for path in (execute.executed_path(outputs, notebook), folder / stages.RECEIPT) if path.is_file()]
    before, kept = _files(folder), {path: path.read_bytes() for path in ends}
    try:
        yield
    except Exception:
        for path, data in kept.items() if _files(folder) == before else ():
            with runtime.replacing(path) as temporary:
                temporary.write_bytes(data)
        raise


def _files(folder):
    """{path: (bytes, time of the last change)} of the files of a stage, without its receipt."""
    paths = [path for path in folder.rglob("[!.]*") if path.is_file() and path.name != stages.RECEIPT]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def _missing_input(stem, outputs, parameters, left_out=()):
    """What the recordings lack that a stage needs; ``""`` if nothing.

    Args:
        left_out: stages that this run has left out.
    """
    path = outputs / "01_split" / "splits.parquet"
    if not path.is_file():
        return ""
    splits = pd.read_parquet(path)
    has = (splits[["audio_path", "video_path", "individual_id"]] != "").any()
    needed = stages.needed_stages(stem, parameters) if stem in stages.READS else []
    is_trained = stem != "08_submit" or "07_classify" in needed  # with classifier_dir, 08 needs no recordings
    if stem in _SOUND_STAGES and not has["audio_path"] and is_trained:
        return "there are no sound files"
    if stem == "05_match" and not scene_pairs.has_pairs(splits):
        return "no two species have both pictures and sounds, nor are there two films of other or unknown species"
    if stem == "06_pseudolabel" and not _has_soundscapes(outputs):
        return "there are no sound files in train_soundscapes/"
    if stem == "09_count" and not (has["video_path"] or has["individual_id"]):
        return "there are no films, and no recording has an individual_id"
    if stem in _SPECIES_STAGES and is_trained and len(found := _species_with_media(splits, outputs, stem == "04_triplet")) < 2:
        return _SPECIES_STAGES[stem].format(f"only {found[0]!r} has any" if found else "there are none")
    missing = [other for other in needed if other in left_out]
    return f"{', '.join(missing)} is left out" if missing else ""


def _species_with_media(splits, outputs, with_photos):
    """Sorted species that have a recording which is not silent, as far as stage 02 has told, or a photo."""
    has_media = splits["audio_path"] != ""
    if stages.can_be_read(outputs, "02_clean"):
        cleaned = stages.read(outputs, "02_clean", "recordings.parquet")
        has_media &= splits["recording_id"].isin(cleaned.loc[~cleaned["is_silent"], "recording_id"])
    if with_photos:
        has_media |= splits["image_path"] != ""
    return sorted(set(splits.loc[has_media, "species"]) - {""})


def _has_soundscapes(outputs):
    try:
        return bool(birdclef.soundscapes(stages.recordings_root(outputs), "train"))
    except stages.MissingStageError:
        return False


def _forget(notebook, outputs):
    """Remove the results of an earlier run of a stage that is now left out."""
    execute.executed_path(outputs, notebook).unlink(missing_ok=True)
    execute.unfinished_path(outputs, notebook).unlink(missing_ok=True)
    (outputs / notebook.stem / stages.RECEIPT).unlink(missing_ok=True)


def _why_run(notebook, parameters, outputs, force):
    if force:
        return "forced"
    executed = execute.executed_path(outputs, notebook)
    if not executed.is_file():
        return "not executed yet"
    try:
        if execute.code(executed) != execute.code(notebook):
            return "the notebook has changed"
    except (ValueError, KeyError):
        return "its executed copy is damaged"
    if notebook.stem not in stages.READS:  # 00_index has no stage folder and is quick
        return "always"
    find_weights = functools.partial(weights.digest_in_use, folder=parameters.get("weights_dir", ""))
    return stages.why_stale(outputs, notebook.stem, parameters, find_weights)


def _paths(parameters):
    return [name for name in stages.PATH_PARAMETERS if parameters.get(name)]


def _as_type(value, wanted, where):
    """Keep a parameter's type: a number for a number, text for text; an int may stand for a float."""
    try:
        if wanted is str or (wanted is float and type(value) is int):
            return wanted(value)
        if isinstance(value, str):
            return {"true": True, "false": False}[value.lower()] if wanted is bool else wanted(value)
    except (ValueError, KeyError) as error:
        raise execute.ChainError(f"{where} wants {wanted.__name__}, got {value!r}") from error
    if type(value) is not wanted:
        raise execute.ChainError(f"{where} wants {wanted.__name__}, got {value!r}")
    return value
