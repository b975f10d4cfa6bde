"""The folder of an analysis: nothing in it is lost by another one."""

import analysed
import pytest
from analysed import run

from birdlib.analysis import outputs


@pytest.mark.parametrize(("other", "named"), [({"overlap_s": 0.5}, "overlap_s 0.0 .now 0.5"), ({"min_confidence": 0.7}, "min_confidence none .now 0.7"), ({"own": analysed.model(key="x" * 64)}, "version of the model")])
def test_an_analysis_of_other_settings_is_kept_unless_it_shall_be_overwritten(here, other, named):
    run()
    before = (here / "out" / "detections.csv").read_bytes()
    with pytest.raises(outputs.OutputError, match=f"{named}.*--overwrite"):
        run(**other)
    assert (here / "out" / "detections.csv").read_bytes() == before
    run(**other, overwrite=True)
    assert run(**other).n_computed == 0


def test_an_analysis_of_other_files_is_kept(here):
    run()
    analysed.tone("c.wav", "1")
    with pytest.raises(outputs.OutputError, match="holds the analysis of .*a.wav and 1 more, which are not among these files"):
        run("c.wav")
    assert len(run("c.wav", overwrite=True).files) == 1


def test_a_folder_with_a_table_of_something_else_is_kept(here):
    (here / "out").mkdir()
    (here / "out" / "detections.csv").write_text("mine")
    with pytest.raises(outputs.OutputError, match="holds detections.csv of something else"):
        run()
    assert (here / "out" / "detections.csv").read_text() == "mine"


def test_the_output_must_be_a_folder(here):
    (here / "out").write_text("mine")
    with pytest.raises(outputs.OutputError, match="is a file"):
        run()


def test_a_damaged_record_of_the_run_has_a_remedy(here):
    run()
    (here / "out" / ".run.json").write_text("{")
    with pytest.raises(outputs.OutputError, match="damaged.*--overwrite"):
        run()
    assert len(run(overwrite=True).detections) == 3


def test_a_page_of_other_tables_is_removed_and_one_of_the_same_kept(here):
    run("sounds/a.wav")
    (here / "out" / "report.html").touch()
    run("sounds/a.wav")
    assert (here / "out" / "report.html").exists()
    run("sounds")
    assert not (here / "out" / "report.html").exists()
