"""What goes to Kaggle is under the right licence."""

import pandas as pd
import pytest
from made_packages import BOUND, finish, metadata, write

from birdlib import runtime, stages
from birdlib.models import weights


@pytest.mark.parametrize(
    ("members", "used", "licence"),
    [
        ([".", "members/mel_cnn"], {}, "apache-2.0"),
        ([".", "members/left_out"], {}, "CC-BY-NC-SA-4.0"),
        (["."], {"a teacher": {"source": "package", "licence": BOUND}}, "CC-BY-NC-SA-4.0"),
        (["."], {"mae": {"source": "url", "licence": "none stated by its makers"}}, "unknown"),
        (["members/mel_cnn"], {}, "other"),
    ],
)
def test_the_strictest_licence_of_the_contents_applies(outputs, members, used, licence):
    """BirdNET's, say, also holds for what learnt from its labels."""
    runtime.write_json({"rule": "mean", "members": members}, outputs / "07_classify" / "ensemble.json")
    finish(outputs, used)
    write(outputs)
    assert metadata(outputs, "birdlib-models")["licenses"] == [{"name": licence}]


@pytest.mark.parametrize(
    ("components", "teachers", "licence"),
    [
        ("soundscapes, mixup", ["classifier", "bound+free"], "CC-BY-NC-SA-4.0"),
        ("mixup", ["bound"], "apache-2.0"),
        ("soundscapes", ["classifier", "free", ""], "apache-2.0"),
        ("soundscapes", [], "apache-2.0"),
    ],
)
def test_a_teachers_licence_applies_only_if_its_labels_were_trained_on(outputs, components, teachers, licence):
    """BirdNET was asked about the soundscapes every time."""
    home = outputs / "06_pseudolabel"
    home.mkdir()
    runtime.write_table(pd.DataFrame({"teacher": pd.Series(teachers, dtype=str)}), home / "labels.parquet")
    used = {name: {"source": "package", "licence": model.licence} for name, model in weights.MODELS.items()}
    told = stages.finish(stages.Stage("06_pseudolabel", home, {}, {}), {}, weights=used)
    stages.finish(stages.Stage("07_classify", outputs / "07_classify", {}, {"06_pseudolabel": told["digest"]}), {"components": components})
    write(outputs)
    assert metadata(outputs, "birdlib-models")["licenses"] == [{"name": licence}]
