import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from sounds import hiss

from birdlib import plots
from birdlib.multimodal import plots as multimodal_plots
from birdlib.species import plots as species_plots

WARNINGS = ("error::UserWarning", "error::RuntimeWarning")
pytestmark = [pytest.mark.usefixtures("drawn"), pytest.mark.filterwarnings(*WARNINGS)]


def texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_bar_lengths_are_counts_of_recordings():
    splits = pd.DataFrame({"species": ["wren"] * 3 + ["crow"], "split": ["train", "train", "test", "train"]})
    ax = plots.split_balance(splits.assign(is_repeated=[False, False, True, False]))
    lengths = {label: container.datavalues.tolist() for label, container in zip(texts(ax), ax.containers, strict=True)}
    assert lengths == {"train": [1, 2], "test, repeated": [0, 1]}  # crow, then wren: the commonest on top


def test_one_species_has_one_bar():
    splits = pd.DataFrame({"species": ["wren"], "split": ["train"], "is_repeated": [False]})
    assert len(plots.split_balance(splits).patches) == 1


def test_given_axes_are_used():
    left, right = plots.new_axes(columns=2)
    assert plots.histogram([1.0, 2.0], "level, dB", ax=left) is left
    assert plots.spectrogram(hiss(1, 0.1, 16_000), 16_000, ax=right) is right


@pytest.mark.parametrize("spans", [(), np.zeros((0, 2)), [[0.1, 0.4]]], ids=["none", "empty", "one"])
def test_speech_spans_are_marked(spans):
    ax = plots.spectrogram(hiss(1, 0.1, 16_000), 16_000, spans, title="wren")
    assert len(ax.patches) == len(spans) and ax.get_xlim() == (0, 1)


@pytest.mark.parametrize("waveform", [np.zeros(16_000, np.float32), hiss(0.04, 0.1, 16_000)], ids=["silence", "40 ms"])
def test_silence_and_a_very_short_clip_have_a_spectrogram(waveform):
    assert isinstance(plots.spectrogram(waveform, 16_000, max_hz=5000), Axes)


def test_long_spectrograms_have_at_most_max_frames():
    image = plots.spectrogram(np.zeros(3600 * 8000, np.float32), 8000).get_images()[0]
    assert image.get_array().shape[1] <= plots.MAX_FRAMES + 1


@pytest.mark.parametrize("values", [[], [3.0], [1.0, np.nan, 3.0], [0.0, -np.inf]])
def test_a_histogram_counts_finite_values(values):
    ax = plots.histogram(values, "noise floor, dB")
    assert sum(patch.get_height() for patch in ax.patches) == np.isfinite(values).sum()


@pytest.mark.parametrize("n", [0, 1, 4, 60])
def test_an_embedding_map_has_all_points(n):
    ax = plots.embedding_map(np.arange(2.0 * n).reshape(n, 2), [f"species {i}" for i in range(n)], legend=n > 0)
    assert sum(len(points.get_offsets()) for points in ax.collections) == n


def history(aucs, network=0):
    loss = np.linspace(2.0, 1.0, len(aucs))
    return pd.DataFrame(
        {"network": network, "epoch": np.arange(1, len(aucs) + 1), "loss": loss, "validation_loss": loss}
    ).assign(validation_macro_auc=aucs)


def test_the_kept_epoch_is_marked_for_every_network():
    ax = plots.history(pd.concat([history([0.5, 0.9, 0.8]), history([0.7, 0.6], 1)], ignore_index=True))
    right = ax.figure.axes[1]
    marked = [tuple(line.get_xydata()[0]) for line in right.lines if line.get_marker() == "o"]
    assert marked == [(2, 0.9), (1, 0.7)]
    assert len(texts(ax)) == 3


def test_a_history_without_any_auc_is_drawn_without_marks():
    ax = plots.history(history([np.nan, np.nan]))
    assert not any(line.get_marker() == "o" for line in ax.figure.axes[1].lines)


def triplet_history(n_epochs, mining, kept=1):
    falling = np.linspace(1.0, 0.1, n_epochs)
    table = pd.DataFrame(
        {"epoch": np.arange(1, n_epochs + 1), "loss": falling, "active_share": falling, "mining": mining}
    )
    return table.assign(spread=0.5, validation_map_at_r=1 - falling, is_kept=table["epoch"] == kept)


def test_the_kept_epoch_and_the_change_of_mining_are_lines():
    """Epochs 1 and 2 mine semi-hard, 3 and 4 hard: the switch lies between 2 and 3."""
    ax = multimodal_plots.triplet_history(triplet_history(4, ["semi_hard"] * 2 + ["hard"] * 2, kept=3))
    right = ax.figure.axes[1]
    assert texts(ax) == ["loss", "validation MAP@R", "active triplets", "embedding spread"] + [
        "kept epoch: 3", "mining: semi_hard \N{RIGHTWARDS ARROW} hard",
    ]  # fmt: skip
    assert [list(line.get_xdata()) for line in right.lines[3:]] == [[3, 3], [2.5, 2.5]]
    assert right.get_ylim()[0] == 0 and 1 <= right.get_ylim()[1] < 1.1


@pytest.mark.parametrize("n_epochs", [1, 5])
def test_constant_mining_has_no_line(n_epochs):
    ax = multimodal_plots.triplet_history(triplet_history(n_epochs, "hard").assign(validation_map_at_r=np.nan))
    assert texts(ax)[-1] == "kept epoch: 1"


def grid(*rows):
    return pd.DataFrame(rows, columns=["loss", "audio", "video", "roc_auc"])


def cells(ax):
    """{(column, row): text}"""
    return {tuple(map(int, text.get_position())): text.get_text() for text in ax.texts}


def test_a_grid_has_a_panel_for_each_loss_and_a_cell_for_each_combination():
    rows = ("bce", "cnn", "cnn3d", 0.5), ("bce", "bilstm", "cnn3d", 0.7), ("info_nce", "bilstm", "transformer", 0.9)
    axes = multimodal_plots.grid_heat_map(grid(*rows), "roc_auc")
    assert [ax.get_title() for ax in axes] == ["bce", "info_nce"]
    assert cells(axes[0]) == {(0, 0): "0.50", (0, 1): "0.70"} and cells(axes[1]) == {(1, 1): "0.90"}
    assert [tick.get_text() for tick in axes[0].get_yticklabels()] == ["cnn", "bilstm"]
    assert len({ax.get_images()[0].get_clim() for ax in axes}) == 1  # one colour means one value in all panels
    assert [len(ax.patches) for ax in axes] == [0, 1]  # the best


def test_a_grid_averages_seeds_and_leaves_missing_combinations_blank():
    rows = ("bce", "cnn", "cnn3d", 0.5), ("bce", "cnn", "cnn3d", 0.7), ("bce", "cnn", "cnn_lstm", np.nan)
    [ax] = multimodal_plots.grid_heat_map(grid(*rows), "roc_auc")
    assert cells(ax) == {(0, 0): "0.60"}


@pytest.mark.parametrize("n_losses", [0, 1, 4, 6])
def test_a_grid_of_any_number_of_losses_is_drawn(n_losses):
    table = grid(*((f"loss {n}", "cnn", "cnn3d", np.nan if n == 0 else n / 6) for n in range(n_losses)))
    assert len(multimodal_plots.grid_heat_map(table, "roc_auc")) == n_losses


def test_a_grid_uses_given_axes():
    given = plots.new_axes(columns=2)
    axes = multimodal_plots.grid_heat_map(grid(("a", "x", "y", 0.1), ("b", "x", "y", 0.2)), "roc_auc", ax=given)
    assert list(axes) == list(given)


def modality_table():
    """Two sets and two modalities; unseen species have no photos."""
    rows = [
        ("known", "photo", [0.5, 0.4, 0.7]), ("known", "sound", [1.0, 1.0, 1.0]),
        ("unseen", "photo", [np.nan] * 3), ("unseen", "sound", [0.2, 0.1, 0.2]),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["set", "modality", "p_at_1"])


def test_modality_bars_are_grouped_by_set_with_intervals():
    ax = multimodal_plots.modality_bars(modality_table())
    assert texts(ax) == ["photo", "sound"] and [tick.get_text() for tick in ax.get_xticklabels()] == ["known", "unseen"]
    photo, sound = (bars for bars in ax.containers if bars.get_label() in ("photo", "sound"))
    assert photo.datavalues[0] == 0.5 and sound.datavalues.tolist() == [1.0, 0.2]
    assert photo.errorbar.lines[2][0].get_segments()[0][:, 1] == pytest.approx([0.4, 0.7])
    centres = np.sort([bar.get_x() + bar.get_width() / 2 for bars in (photo, sound) for bar in bars])
    assert centres == pytest.approx([-0.2, 0.2, 0.8, 1.2])
    assert [text.get_text() for text in ax.texts] == ["0.50", "1.00", "0.20"]


@pytest.mark.parametrize("n_rows", [0, 1])
def test_modality_bars_of_none_and_one(n_rows):
    ax = multimodal_plots.modality_bars(modality_table()[:n_rows])
    assert len(ax.patches) == n_rows


def test_species_bars_have_both_figures_of_each_modality():
    table = pd.DataFrame({"modality": ["sound", "both"], "accuracy": [[0.5, 0.4, 0.6], [0.75, 0.7, 0.8]], "macro_auc": [[0.9, 0.8, 1.0], [1.0, np.nan, np.nan]]})
    ax = multimodal_plots.species_bars(table)
    assert texts(ax) == ["sound", "both"] and [tick.get_text() for tick in ax.get_xticklabels()] == ["accuracy", "macro ROC-AUC"]
    assert [bars.datavalues.tolist() for bars in ax.containers if bars.get_label() in ("sound", "both")] == [[0.5, 0.9], [0.75, 1.0]]


def test_species_without_positives_have_no_dot():
    table = pd.DataFrame({"species": ["wren", "crow"], "n_positives": [3, 0], "roc_auc": [0.9, np.nan]})
    ax = species_plots.per_species(table)
    assert ax.lines[0].get_xdata().tolist() == [0.9] and "mean 0.900" in texts(ax)


def test_no_species_with_positives_gives_empty_axes():
    assert isinstance(species_plots.per_species(pd.DataFrame({"species": [], "n_positives": [], "roc_auc": []})), Axes)


def test_confusion_has_counts_as_text_and_shares_as_colours():
    ax = species_plots.confusion(["wren", "wren", "crow"], ["wren", "crow", "crow"], ["crow", "wren", "tit"])
    assert sorted(text.get_text() for text in ax.texts) == ["1", "1", "1"]
    assert ax.get_images()[0].get_array().tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 0, 0]]


@pytest.mark.parametrize("truth", [["wren"], []], ids=["one species", "no recordings"])
def test_confusion_of_none_and_one(truth):
    names = np.array(truth, dtype=object)
    assert isinstance(species_plots.confusion(names, names, ["wren"]), Axes)


def test_a_timeline_shows_the_most_probable_and_the_true_species():
    """12 s are three windows; the crow is improbable but true, so it is shown before the tit."""
    probabilities = np.array([[0.9, 0.01, 0.02], [0.8, 0.01, 0.02], [0.7, 0.01, 0.02]])
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]])
    top, bottom = plots.soundscape_timeline(
        hiss(12, 0.1, 16_000), 16_000, probabilities, ["wren", "crow", "tit"], truth=truth, n_species=2
    )
    assert [label.get_text() for label in bottom.get_yticklabels()] == ["wren", "crow"]
    assert [(box.get_x(), box.get_y()) for box in bottom.patches] == [(0, -0.5), (5, -0.5), (5, 0.5)]
    assert top.get_xlim() == bottom.get_xlim() == (0, 12)


@pytest.mark.parametrize("truth", [None, np.zeros((1, 1))], ids=["unknown", "no bird"])
def test_a_timeline_of_one_window_and_one_species(truth):
    _, bottom = plots.soundscape_timeline(hiss(2, 0.1, 16_000), 16_000, np.zeros((1, 1)), ["wren"], truth=truth)
    assert not bottom.patches and bottom.get_xlim() == (0, 5)


def test_reconstructions_show_the_original_the_visible_part_and_the_prediction():
    truth = np.arange(2 * 16 * 8, dtype=np.float16).reshape(2, 16, 8)
    shown = np.where(np.arange(16)[None, :, None] < 4, truth, np.nan)
    axes = species_plots.reconstructions(np.stack([truth, shown, np.zeros_like(truth)]))
    drawn = [ax.images[0].get_array() for ax in axes]
    assert len(axes) == 6 and drawn[4].mask[:, 4:].all() and not drawn[4].mask[:, :4].any() and not drawn[5].any()
