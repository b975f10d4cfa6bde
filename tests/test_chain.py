"""The whole chain, as a user runs it. Slow: minutes."""

import os
import shutil
import signal
import subprocess
import sys
import time

import document_commands
import numpy as np
import odd_sets
import pandas as pd
import pytest
import soundfile

from birdlib import __main__, runtime, stages
from birdlib.data import birdclef, submissions
from birdlib.pipeline import runner

pytestmark = pytest.mark.slow
RUN = [sys.executable, "-m", "birdlib", "run", "--outputs"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Outputs of the chain on the sample, undisturbed."""
    folder = tmp_path_factory.mktemp("chain")
    assert __main__.main(["run", "--outputs", str(folder)]) == 0
    return folder


def test_the_sample_ends_in_a_valid_submission_that_beats_chance(outputs):
    """The truth of the sample's soundscapes is known; the interval of the macro ROC-AUC lies above 0.5."""
    results = stages.receipt(outputs, "08_submit")["results"]
    low = results["macro_auc against the truth"][1]
    assert low > 0.6
    table = pd.read_csv(outputs / "08_submit" / "submission.csv")
    assert len(table) == results["rows"] == 36 and list(table.columns[1:]) == sorted(table.columns[1:])


def test_species_are_classified_on_unseen_recordings(outputs):
    low = stages.receipt(outputs, "07_classify")["results"]["network: macro_auc"][1]
    assert low > 0.75


def test_fusion_retrieves_more_than_photo_or_sound(outputs):
    """Held-out pairs of the sample, of known and of unseen species: mean average precision at R."""
    results = pd.read_parquet(outputs / "04_triplet" / "results.parquet")
    results["hits"] = results["n"] * results["map_at_r"].str[0]
    hits = results.groupby("modality")["hits"].sum()
    alone = max(hits["sound only"], hits["photo only"])
    assert hits["early fusion"] > alone and hits["late fusion"] > alone


def test_birds_are_counted_and_matched_across_films(outputs):
    """The truth of the six films is known; what a machine rounds otherwise may cost one of them."""
    results = stages.receipt(outputs, "09_count")["results"]
    assert int(results["films counted right"].split()[0]) >= 4
    assert results["pairwise F1 across films"] > 0.8
    counts = pd.read_csv(outputs / "09_count" / "counts.csv")
    assert counts["recording_id"].nunique() == 6


def test_a_second_run_skips_every_stage(outputs):
    done = runner.run(outputs)
    assert {name for name, what in done.items() if what == "ran"} <= {"00_index"}


def test_commands_of_the_documents_run_on_a_finished_chain(outputs, tmp_path, monkeypatch):
    """Those of ``ON_A_CHAIN``, in order, on small files with the names that the documents use; Kaggle's own command is a script that notes its arguments."""
    folder = document_commands.put_files(tmp_path / "scene", outputs)
    document_commands.put_kaggle(folder, monkeypatch)
    for line in document_commands.ON_A_CHAIN:
        assert document_commands.run(line, folder) == 0, line
    assert (folder / "analysis" / "report.html").is_file() and list((folder / "may_2026" / "raven").glob("*.selections.txt"))
    assert len((folder / "kaggle.txt").read_text().splitlines()) == 4


def test_a_run_killed_in_03_goes_on_and_gives_the_same(outputs, tmp_path):
    """SIGKILL while clips are being embedded; then that stage again. The arrays equal those of an undisturbed run."""
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(
            [*RUN, str(tmp_path)], cwd=runtime.repository(), stdout=log, stderr=log, start_new_session=True
        )
    store = tmp_path / "store"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not any(path.stat().st_size > 2000 for path in store.glob("*.jsonl")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert any(store.glob("*.jsonl")), (tmp_path / "log").read_text()
    assert not (tmp_path / "03_embed" / stages.RECEIPT).exists()
    assert __main__.main(["run", "--only", "03", "--outputs", str(tmp_path)]) == 0
    for name in ("02_clean/clips.parquet", "03_embed/patches.parquet", "03_embed/embeddings.npy"):
        assert runtime.digest_file(tmp_path / name) == runtime.digest_file(outputs / name), name


def test_papermill_runs_one_notebook_with_another_parameter(outputs, tmp_path):
    copy = shutil.copytree(outputs, outputs.with_name("copy"))  # beside it: the way to the recordings is relative
    arguments = [
        "notebooks/02_clean.ipynb",
        str(tmp_path / "out.ipynb"),
        "-p",
        "outputs_dir",
        str(copy),
        "-p",
        "policy",
        "keep",
    ]
    subprocess.run([sys.executable, "-m", "papermill", *arguments], cwd=runtime.repository(), check=True)
    assert stages.receipt(copy, "02_clean")["parameters"]["policy"] == "keep"
    kept = pd.read_parquet(copy / "02_clean" / "recordings.parquet")
    assert np.allclose(kept["cleaned_s"], np.maximum(kept["duration_s"], 0.975), atol=1e-3)


def make_bad_data(folder, sample_folder):
    """A small copy of the sample with every kind of bad recording in it; gives the names of those that cannot be used."""
    shutil.copytree(
        sample_folder, folder, ignore=shutil.ignore_patterns("images", "videos", "truth", "test_soundscapes")
    )
    train = pd.read_csv(folder / "train.csv", dtype=str, keep_default_na=False)
    common = train["primary_label"].value_counts().index[:3]
    train = train[train["primary_label"].isin(common)].reset_index(drop=True)
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal((64_000, 2)).astype(np.float32)
    (folder / "train_soundscapes" / "empty_20250101_000000.ogg").write_bytes(b"")

    def place(row, name, write):
        label = train.loc[row, "primary_label"]
        write(folder / "train_audio" / label / name)
        train.loc[row, "filename"] = f"{label}/{name}"

    whole = (folder / "train_audio" / train.loc[0, "filename"]).read_bytes()
    nan = np.where(np.arange(32_000) == 5_000, np.nan, noise[:32_000, 0])
    place(0, "zero.ogg", lambda path: path.write_bytes(b""))
    place(1, "page.mp3", lambda path: path.write_text("<html>not found</html>"))
    place(2, "nan.wav", lambda path: soundfile.write(path, nan, 32_000, subtype="FLOAT"))
    place(3, "truncated.ogg", lambda path: path.write_bytes(whole[: len(whole) // 2]))
    place(4, "short.wav", lambda path: soundfile.write(path, noise[:1280, 0], 32_000))
    place(5, "silence.flac", lambda path: soundfile.write(path, np.zeros(64_000), 32_000))
    place(6, "slow.wav", lambda path: soundfile.write(path, noise[:16_000, 0], 8_000))
    place(7, "fast.wav", lambda path: soundfile.write(path, noise[:, 0], 192_000))
    place(8, "stereo.flac", lambda path: soundfile.write(path, noise, 44_100))
    train.loc[9, "primary_label"] = "unknwn1"
    train.to_csv(folder / "train.csv", index=False)
    for path in (folder / "train_audio").glob("*/*"):
        if path.relative_to(folder / "train_audio").as_posix() not in set(train["filename"]):
            path.unlink()
    (folder / "train_audio" / train.loc[9, "filename"]).with_name("unnamed.ogg").write_bytes(whole)  # in no row of train.csv
    for name, value in (("taxonomy.csv", "quail1"), ("sample_submission.csv", 0.1)):  # a species that nobody has recorded
        table = pd.read_csv(folder / name, dtype=str)
        table = table.assign(quail1=value) if "row_id" in table else pd.concat([table, pd.DataFrame({"primary_label": [value]})])
        table.to_csv(folder / name, index=False)
    return {"zero.ogg", "page.mp3", "nan.wav", "unnamed.ogg"}


def test_bad_recordings_are_listed_and_the_run_ends_well(outputs, tmp_path):
    """With no test soundscapes 08 rehearses on the training ones, of which one is empty: it gets the prior."""
    bad = make_bad_data(tmp_path / "data", stages.recordings_root(outputs))
    given = [argument for name, value in odd_sets.FAST.items() for argument in ("-p", f"{name}={value}")]
    assert __main__.main(["run", "--data", str(tmp_path / "data"), "--outputs", str(tmp_path / "out"), *given]) == 0
    skipped = pd.concat(pd.read_parquet(path) for path in (tmp_path / "out").glob("*/skipped.parquet"))
    is_species = skipped["path"].str.startswith("species ")
    assert {path.split("/")[-1] for path in skipped["path"][~is_species]} == bad | {"empty_20250101_000000.ogg"}
    assert skipped["path"][is_species].tolist() == ["species unknwn1"]  # one recording: stage 04 has nothing to pair it with
    table = pd.read_csv(tmp_path / "out" / "08_submit" / "submission.csv")
    columns = birdclef.submission_classes(tmp_path / "data")
    paths = birdclef.soundscapes(tmp_path / "data", "train")
    ids = [birdclef.row_id(path, 5 * (i + 1)) for path in paths for i in range(12)]
    assert submissions.find_faults(table, columns, ids) == []
    assert table["quail1"].nunique() == 1 and 0 < table["quail1"][0] <= 1 / (len(columns) - 1)  # the least prior of the others
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(name in page for name in bad)
