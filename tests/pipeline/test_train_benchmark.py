"""``bench train``: counted operations against the formulas, the table, and one case measured for real."""

import json
import types

import numpy as np
import pytest

from birdlib import __main__
from birdlib.pipeline import train_benchmark, train_benchmark_cases, train_benchmark_measure

FOUND = {
    "items_per_s": 100.0, "first_step_s": 20.0, "again_s": 4.0, "flops": 5e12, "flops_by": "compiler", "peak_tflops": 50.0, "memory_mb": 1234.0,
    "loss": 0.5, "device": "JAX, GPU: made up", "precision": "mixed_bfloat16",
}  # fmt: skip
OF_TORCH = {"items_per_s": 80.0, "first_step_s": 30.0, "memory_mb": 900.0, "is_compiled": False, "loss": 0.4}


@pytest.fixture
def children(monkeypatch):
    """Processes that do not run: each prints a line of a library, then its figures. Gives their command lines."""
    started = []

    def run(command, **options):
        started.append(command)
        return types.SimpleNamespace(returncode=0, stderr="", stdout="a library's notice\n" + json.dumps(OF_TORCH if "_torch" in command[2] else FOUND))

    monkeypatch.setattr(train_benchmark.subprocess, "run", run)
    return started


def test_operations_per_second_are_those_of_a_step_by_its_duration(children):
    """256 items of 5e12 operations, 100 items/s: 100 / 256 * 5 = 1.953 TFLOP/s, of 50."""
    [row] = train_benchmark.measure("mae_pretraining", "full")
    assert row["batch"] == 256 and row["tflops"] == pytest.approx(1.953125) and row["share_of_peak"] == pytest.approx(0.0390625)
    assert "times_peer" not in row and len(children) == 1


def test_bench_train_prints_its_table_beside_pytorch(children, capsys):
    """PyTorch is timed in the precision that Keras had."""
    assert __main__.main(["bench", "train", "--only", "mae_pretraining,mel_cnn", "--size", "full", "--peer", "torch", "--seconds", "2"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("1.25") == 2 and "80.0 (not compiled)" in printed and "made up, mixed_bfloat16" in printed and "1.95 c" in printed
    assert [command[-4:] for command in children[:2]] == [["mae_pretraining", "full", "2", "auto"], ["mae_pretraining", "full", "2", "mixed_bfloat16"]]


def test_figures_that_a_device_does_not_have_are_left_out():
    text = train_benchmark.as_text([{"case": "mel_cnn", "batch": 16, **FOUND, "again_s": np.nan, "flops_by": "counted", "tflops": 1.0, "share_of_peak": 0.02}])
    assert "nan" not in text and "1 n" in text and "2%" in text


@pytest.mark.parametrize(("arguments", "remedy"), [(["--only", "mel_cnn,songs"], "no 'songs': choose triplet"), (["--only", "mel_cnn", "--jobs", "0"], "--jobs")])
def test_what_cannot_be_timed_is_refused_before_anything_runs(children, capsys, arguments, remedy):
    try:
        status = __main__.main(["bench", "train", *arguments])
    except SystemExit as error:  # of the parser
        status = error.code
    assert status and remedy in capsys.readouterr().err and not children


def test_a_process_that_fails_is_reported_after_the_others(monkeypatch, capsys):
    def run(command, **options):
        is_well = command[3] == "mel_cnn"
        return types.SimpleNamespace(returncode=int(not is_well), stderr="CUDA out of memory", stdout=json.dumps(FOUND))

    monkeypatch.setattr(train_benchmark.subprocess, "run", run)
    assert __main__.main(["bench", "train", "--only", "triplet,mel_cnn"]) == 1
    table, _, error = capsys.readouterr().out.partition("triplet could not be measured")
    assert "mel_cnn" in table and "out of memory" in error


def test_operations_are_counted_from_the_layers():
    """Dense 6 → 5 on 4 positions: 2·6·5·4. Conv2D 3 × 3, 2 → 7 on 5 × 5: 2·9·2·7·25. LSTM 4 → 3 on 8 steps: 2·8·(4 + 3)·4·3. Three rows of each."""
    import keras

    kl, rng = keras.layers, np.random.default_rng(0)
    layers = [
        (kl.Dense(5), (4, 6), 2 * 6 * 5 * 4),
        (kl.Conv2D(7, 3, padding="same"), (5, 5, 2), 2 * 9 * 2 * 7 * 25),
        (kl.DepthwiseConv2D(3, strides=2, padding="same"), (6, 6, 4), 2 * 9 * 4 * 9),
        (kl.LSTM(3), (8, 4), 2 * 8 * (4 + 3) * 4 * 3),
    ]
    for layer, shape, expected in layers:
        model = keras.Sequential([keras.Input(shape), layer])
        rows = rng.normal(size=(3, *shape)).astype(np.float32)
        assert train_benchmark_measure.counted_flops(model, rows, is_trained=False) == 3 * expected
        assert train_benchmark_measure.counted_flops(model, rows, is_trained=True) == 3 * 3 * expected


def test_attention_is_four_projections_and_two_products():
    """10 tokens of 8, 2 heads of 4: projections 4·2·10·8·8, products 2·2·10·10·8."""
    import keras

    tokens = keras.Input((10, 8))
    model = keras.Model(tokens, keras.layers.MultiHeadAttention(2, 4)(tokens, tokens))
    assert train_benchmark_measure.counted_flops(model, np.ones((1, 10, 8), np.float32), is_trained=False) == 4 * 2 * 640 + 2 * 2 * 800


def test_every_case_has_its_network_in_pytorch():
    pytest.importorskip("torch")
    from birdlib.pipeline import train_benchmark_torch_pairs, train_benchmark_torch_sound

    of_torch = train_benchmark_torch_pairs.BUILDERS.keys() | train_benchmark_torch_sound.BUILDERS.keys()
    assert of_torch == train_benchmark_cases.BATCH.keys() == train_benchmark_cases._BUILDERS.keys()


def test_a_step_in_pytorch_lowers_its_loss():
    torch = pytest.importorskip("torch")
    from birdlib.pipeline import train_benchmark_torch

    torch.manual_seed(0)
    step = train_benchmark_torch._Step("match_transformer", "tiny", torch.device("cpu"), "float32")
    losses = [float(step()) for _ in range(8)]
    assert np.isfinite(losses).all() and min(losses[4:]) < losses[0]


@pytest.mark.slow
def test_a_case_is_measured_on_jax(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    [row] = train_benchmark.measure("match_transformer", "tiny", seconds=0.1)
    assert row["items_per_s"] > 0 and 0 < row["again_s"] < row["first_step_s"]
    assert row["flops_by"] == "compiler" and 0 < row["share_of_peak"] < 1 and 0 < row["loss"] < 2
