"""A chain of two small notebooks in place of the real ones."""

from made_notebooks import notebook

from birdlib import stages
from birdlib.pipeline import runner

SPLIT = """from birdlib import stages
stage = stages.start("01_split", outputs_dir, seed=seed)
(stage.folder / "splits.csv").write_text(f"seed {seed}")
stages.finish(stage, {"root": ".", "macro_auc": [0.9, 0.85, 0.95]})"""
CLEAN = """from birdlib import stages
stage = stages.start("02_clean", outputs_dir, policy=policy)
assert policy != "wrong", "there is no such policy"
(stage.folder / "clips.csv").write_text(policy)
stages.finish(stage, {"clips": 3})"""


def put_chain(folder, monkeypatch):
    """Two small notebooks in place of the real ones; gives the outputs folder."""
    paths = [folder / "notebooks" / f"{name}.ipynb" for name in ("01_split", "02_clean")]
    if not paths[0].parent.exists():
        paths[0].parent.mkdir()
        notebook(paths[0], 'outputs_dir = "outputs"  # where\nseed = 0  # of it', SPLIT)
        notebook(paths[1], 'outputs_dir = "outputs"  # where\npolicy = "remove"  # of it', CLEAN)
    monkeypatch.setattr(runner, "notebooks", lambda: paths)
    monkeypatch.setattr(stages, "READS", {"01_split": [], "02_clean": ["01_split"]})
    return folder / "outputs"
