import made_weights

from birdlib import __main__
from birdlib.models import weights


def test_a_missing_model_does_not_stop_the_download_of_others(tmp_path, monkeypatch, capsys):
    made_weights.settle(tmp_path, monkeypatch)
    made_weights.put_package(tmp_path)
    monkeypatch.setattr(weights, "MODELS", {"nowhere": made_weights.row(files={}, package=""), "tiny": made_weights.row()})
    assert __main__.main(["weights", "--fetch"]) == 1
    told = capsys.readouterr()
    assert "tiny: package tinybundle==1.0" in told.out and "the weights of nowhere are not on this machine" in told.err
