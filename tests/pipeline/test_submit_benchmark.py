import pytest

from birdlib import runtime
from birdlib.pipeline import submit_benchmark
from birdlib.species import front_ends


@pytest.mark.slow
def test_all_ways_give_the_same_scores_and_the_first_is_the_reference(monkeypatch):
    monkeypatch.setattr(submit_benchmark, "_MEMBERS", ("cnn", "cnn"))
    table = submit_benchmark.measure(n_files=2, n_workers=1)
    assert table["times_faster"].iloc[0] == 1.0 and table["max_difference"].max() <= 1e-5 and len(table) == 3
    assert table["times_faster"].to_numpy() == pytest.approx(table["seconds"].iloc[0] / table["seconds"].to_numpy())


@pytest.mark.slow
def test_other_scores_are_an_error_and_no_result(monkeypatch):
    monkeypatch.setattr(submit_benchmark, "_MEMBERS", ("cnn", "cnn"))
    compute = front_ends.SharedFrontEnd.compute
    monkeypatch.setattr(front_ends.SharedFrontEnd, "compute", lambda *arguments: ((rows, 0.5 * images) for rows, images in compute(*arguments)))
    with pytest.raises(runtime.BirdlibError, match="one spectrogram: scores differ"):
        submit_benchmark.measure(n_files=1, n_workers=1)
