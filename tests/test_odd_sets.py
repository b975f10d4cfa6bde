"""Data sets that lack something, through every notebook: what the data cannot support is left out with its reason. Slow: minutes."""

import pytest
from in_process import run_notebook
from odd_sets import FAST, make

from birdlib import stages
from birdlib.pipeline import execute, runner
from birdlib.reports import run_report

pytestmark = pytest.mark.slow

NO_PAIRS = "no two species have both pictures and sounds"
NO_SOUNDSCAPES = "no sound files in train_soundscapes/"
NO_BIRDS = "no films, and no recording has an individual_id"
NO_SOUND = dict.fromkeys(("02_clean", "03_embed", "04_triplet", "06_pseudolabel", "07_classify", "08_submit"), "no sound files")
ONE_SPECIES = dict.fromkeys(("04_triplet", "07_classify", "08_submit"), "two species are needed, and only 'finch' has any")
SILENCE = dict.fromkeys(("04_triplet", "07_classify", "08_submit"), "two species are needed, and there are none")
SOUND_ONLY = {"05_match": NO_PAIRS, "06_pseudolabel": NO_SOUNDSCAPES, "09_count": NO_BIRDS}
FILMS_AND_SOUND = {name: SOUND_ONLY[name] for name in ("05_match", "06_pseudolabel")}


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("no voices, no films, odd names", {name: SOUND_ONLY[name] for name in ("06_pseudolabel", "09_count")}),
        ("one species", ONE_SPECIES | FILMS_AND_SOUND),
        ("two recordings", SOUND_ONLY),
        ("silence and an empty film", SILENCE | FILMS_AND_SOUND),
        ("no photos, one group", SOUND_ONLY),
        ("photos only", NO_SOUND | {"05_match": NO_PAIRS, "09_count": NO_BIRDS}),
        ("films only", NO_SOUND),
    ],
)
def test_what_the_data_cannot_support_is_left_out(name, left_out, tmp_path, monkeypatch):
    """The folder's name has what papermill, matplotlib and Keras could take for their own."""
    monkeypatch.setattr(execute, "execute", run_notebook)
    outputs = tmp_path / "{species} $x #1"
    given = {**FAST, "manifest": str(make(tmp_path / "data", name))}
    reasons = {}
    monkeypatch.setattr(run_report, "write", lambda _, why: reasons.update(why))
    done = runner.run(outputs, first="01", given=given)
    assert {stage for stage, what in done.items() if what == "left out"} == left_out.keys() == reasons.keys()
    assert all(left_out[stage] in reasons[stage] for stage in left_out)
    assert all(stages.receipt(outputs, stage) for stage in done.keys() - left_out.keys())
    assert all(not (outputs / stage / stages.RECEIPT).exists() for stage in left_out)
