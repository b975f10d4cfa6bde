"""Fuzzing: tables and receipts that people, other programs or a failing disk have changed are read, or refused with a message; nothing else is raised."""

import copy
import json
import os
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from birdlib import runtime, stages
from birdlib.data import birdclef, manifest, submissions

N_EXAMPLES = int(os.environ.get("BIRDLIB_FUZZ", 50))
fuzzed = settings(max_examples=N_EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])  # each example writes all files that it reads
CELL = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
PATH = st.sampled_from(["a.wav", "A.WAV", "../a.wav", "../../../../etc/passwd", "/etc/passwd", "C:\\a.wav", "file:///a.wav", "https://a/b", "~/a.wav", ".", "..", "/", "\0", "a\nb.wav", " ", "\ud7ff"])
NUMBER = st.sampled_from(["0", "-1", "1e400", "nan", "1:00:00", "1,5", "∞", "٣", "9" * 400, "0x10", "1_000"])
ANY_CELL = st.one_of(CELL, PATH, NUMBER)
ANY_VALUE = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | CELL, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(CELL, inner, max_size=3), max_leaves=5)
DAMAGE = st.tuples(st.sampled_from(["cut", "flip", "insert"]), st.floats(0, 1), st.binary(min_size=1, max_size=4))


def damaged(content, damages):
    """Bytes that are cut off, changed or inserted at shares of the length."""
    content = bytearray(content)
    for kind, share, new in damages:
        at = int(share * len(content))
        content[at:] = b"" if kind == "cut" else new + content[at + (len(new) if kind == "flip" else 0) :]
    return bytes(content)


@fuzzed
@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(manifest.COLUMNS, ANY_CELL)), max_size=4), st.lists(DAMAGE, max_size=2), st.sampled_from(",;\t"))
def test_any_manifest_is_read_or_refused(tmp_path, rows, damages, delimiter):
    (tmp_path / "a.wav").write_bytes(b"x")
    text = pd.DataFrame(rows).to_csv(index=False, sep=delimiter)
    (tmp_path / "manifest.csv").write_bytes(damaged(text.encode("utf-8", "surrogatepass"), damages))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            table, root = manifest.load(tmp_path / "manifest.csv")
        except manifest.ManifestError as error:
            assert str(tmp_path) in str(error) and ": " in str(error)
            return
    assert table["recording_id"].is_unique and (root / manifest.first_media(table)[0]).is_file()


@fuzzed
@given(
    st.dictionaries(st.sampled_from(["row_id", "robin", "wren", " robin", "Robin", "x", ""]) | CELL, st.lists(ANY_VALUE | st.sampled_from(["s_5", "s_10", "0.5", "1e400"]), min_size=3, max_size=3), max_size=4)
)
def test_any_submission_is_valid_or_has_faults(columns):
    table = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    faults = submissions.find_faults(table, ["robin", "wren"], ["s_5", "s_10"])
    assert faults and all(isinstance(fault, str) and fault for fault in faults)  # three rows are never the two that are wanted


@fuzzed
@given(st.lists(DAMAGE, max_size=3))
def test_a_damaged_submission_is_valid_only_where_its_scores_are(tmp_path, damages):
    scores = submissions.table(["s_5", "s_10"], np.array([[0.25, 0.5], [0.75, 1.0]]), ["robin", "wren"])
    content = scores.to_csv(index=False).encode()
    (tmp_path / "sample_submission.csv").write_bytes(damaged(content, damages))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            classes = birdclef.submission_classes(tmp_path)
        except birdclef.LayoutError as error:
            assert "sample_submission.csv" in str(error)
            return
    assert "row_id" not in classes and classes == sorted(set(classes))


def finish_two_stages(outputs):
    split = stages.start("01_split", outputs, seed=1)
    runtime.write_json(["robin"], split.folder / "classes.json")
    stages.finish(split, {"root": "."}, weights={"yamnet": {"source": "package", "sha256": "0" * 64, "licence": "Apache-2.0"}})
    stages.finish(stages.start("02_clean", outputs, seed=1), {"clips": 3})


def use_receipts(outputs):
    """What runs, reports and later stages ask of receipts; a receipt that is none is a MissingStageError, or a reason to run again."""
    for name in ("01_split", "02_clean"):
        assert isinstance(stages.why_stale(outputs, name, {"seed": 1}, lambda model: "0" * 64), str)
        assert stages.can_be_read(outputs, name) in (True, False)
        try:
            assert isinstance(stages.receipt(outputs, name)["results"], dict)
        except stages.MissingStageError as error:
            assert "run notebooks/" in str(error)
    try:
        stages.recordings_root(outputs)
    except stages.MissingStageError as error:
        assert "run notebooks/01_split" in str(error)


@pytest.fixture(scope="module")
def receipts(tmp_path_factory):
    """(outputs folder with two finished stages, bytes of the receipt of the first)."""
    outputs = tmp_path_factory.mktemp("outputs")
    finish_two_stages(outputs)
    return outputs, (outputs / "01_split" / stages.RECEIPT).read_bytes()


@fuzzed
@given(damages=st.lists(DAMAGE, min_size=1, max_size=3))
def test_a_receipt_with_damaged_bytes_is_current_or_a_reason_to_run_again(receipts, damages):
    outputs, content = receipts
    (outputs / "01_split" / stages.RECEIPT).write_bytes(damaged(content, damages))
    use_receipts(outputs)


@settings(max_examples=2 * N_EXAMPLES)
@given(data=st.data())
def test_a_receipt_with_any_other_value_is_current_or_a_reason_to_run_again(receipts, data):
    outputs, content = receipts
    written = json.loads(content)
    at, keys = written, []
    while isinstance(at, dict) and at and (not keys or data.draw(st.booleans())):
        keys.append(data.draw(st.sampled_from(sorted(at))))
        at = at[keys[-1]]
    changed = copy.deepcopy(written)
    inner = changed
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = data.draw(ANY_VALUE)
    (outputs / "01_split" / stages.RECEIPT).write_text(json.dumps(changed), encoding="utf-8")
    use_receipts(outputs)


@fuzzed
@given(damages=st.lists(DAMAGE, min_size=1, max_size=3))
def test_a_damaged_table_of_watched_files_is_a_reason_to_run_again(receipts, damages):
    outputs, content = receipts
    (outputs / "01_split" / stages.RECEIPT).write_bytes(content)
    path = outputs / "01_split" / ".watched.parquet"
    whole = path.read_bytes()
    path.write_bytes(damaged(whole, damages))
    use_receipts(outputs)
    path.write_bytes(whole)
