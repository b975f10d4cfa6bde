"""Figures of classifiers and pseudo-labels: species, calibration, ablation, masked reconstruction, self-training. Every function takes and returns ``ax``."""

import numpy as np

from birdlib import plots
from birdlib.figure_text import label_text, label_texts

_COLOURS = ("#8c8c8c", "#4c78a8")
_KIND_COLOURS = {"human": "#2e7d32", "hard": "#4c78a8", "soft": "#9ecae1", "negative": "#999999"}
_VERDICT_COLOURS = {"helps": "#2e7d32", "no difference seen": "#8c8c8c", "hurts": "#b4464b", "": "#4c78a8"}


def per_species(table, ax=None):
    """ROC-AUC of each species, with the macro mean as a line.

    Args:
        table: DataFrame with ``species``, ``roc_auc`` and ``n_positives``; undefined AUCs are left out.
    """
    table = table.dropna(subset=["roc_auc"]).sort_values("roc_auc")
    ax = ax or plots.new_axes(9, 1.2 + 0.22 * len(table))
    y = np.arange(len(table))
    ax.hlines(y, 0.5, table["roc_auc"], color="#c9d3de", linewidth=2)
    ax.plot(table["roc_auc"], y, "o", color=plots.SPLIT_COLOURS["train"])
    ax.set_yticks(y, [f"{label_text(row.species)} ({row.n_positives})" for row in table.itertuples()])
    if len(table):
        ax.axvline(table["roc_auc"].mean(), color="#333333", linestyle="--", label=f"mean {table['roc_auc'].mean():.3f}")
    ax.axvline(0.5, color=plots.SPLIT_COLOURS["test"], linewidth=1, label="chance")
    ax.set(xlabel="ROC-AUC", title="Each species (recordings)")
    ax.legend(loc="lower left")
    return ax


def confusion(truth, predicted, classes, ax=None):
    """Confusion matrix: share of each true species (row) predicted as each species (column)."""
    counts = np.zeros((len(classes), len(classes)), dtype=int)  # scikit-learn's raises for empty input
    number = {name: i for i, name in enumerate(classes)}
    for true, found in zip(truth, predicted, strict=True):
        counts[number[true], number[found]] += 1
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 3.0 + 0.3 * len(classes)
    ax = ax or plots.new_axes(size + 1.0, size)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.figure.colorbar(image, ax=ax, label="share of the true species", shrink=0.7)
    if len(classes) <= 40:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.6 else "black"
            ax.text(column, row, counts[row, column], ha="center", va="center", fontsize=7, color=colour)
        ax.set_xticks(range(len(classes)), label_texts(classes), rotation=90, fontsize=8)
        ax.set_yticks(range(len(classes)), label_texts(classes), fontsize=8)
    ax.set(xlabel="predicted", ylabel="true", title="Confusion matrix")
    return ax


def reliability(tables, ax=None):
    """Reliability diagram: observed frequency by predicted probability, with 90 % intervals; calibrated probabilities are on the diagonal.

    Args:
        tables: {name: DataFrame of ``calibration.reliability``}, two at most.
    """
    ax = ax or plots.new_axes(5.5, 5.0)
    ax.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    for (name, table), colour in zip(tables.items(), _COLOURS, strict=False):
        reach = [table["observed"] - table["observed_low"], table["observed_high"] - table["observed"]]
        ax.errorbar(table["predicted"], table["observed"], np.maximum(reach, 0), fmt="o-", color=colour, capsize=2, label=name)
    ax.set(xlabel="predicted probability", ylabel="observed frequency", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.set_title("Are the probabilities calibrated?")
    ax.legend()
    return ax


def ablation(table, ax=None):
    """Macro ROC-AUC of each row of the ablation with its interval, coloured by the verdict.

    Args:
        table: of ``ablation.table``, the rows of one set; rows without a figure show the reason.
    """
    table = table.reset_index(drop=True)
    ax = ax or plots.new_axes(9, 1.4 + 0.32 * len(table))
    for y, row in enumerate(table.itertuples()):
        value, low, high = row.macro_auc
        if np.isnan(value):
            ax.text(0.01, y, label_text(row.note, 90), transform=ax.get_yaxis_transform(), va="center", fontsize=7, color="grey")
            continue
        ax.plot([low, high], [y, y], color=_VERDICT_COLOURS[row.verdict])
        ax.plot(value, y, "o", color=_VERDICT_COLOURS[row.verdict])
    ax.set_yticks(range(len(table)), table["part"] + ": " + table["name"])
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set(xlabel="macro ROC-AUC, 90 % interval over groups", title="The effect of each component")
    for verdict, colour in _VERDICT_COLOURS.items():
        ax.plot([], [], "o-", color=colour, label=verdict or "baseline")
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def reconstructions(pictures, axes=None):
    """Spectrograms reconstructed by a masked autoencoder: the original, its visible patches, the reconstruction.

    Args:
        pictures: (3, recordings, frames, mels), NaN where masked.

    Returns:
        list of axes, three a recording.
    """
    pictures = np.asarray(pictures, np.float32)
    n = pictures.shape[1]
    if axes is None:
        axes = plots.new_axes(12, 1.8 * n, rows=n, columns=3, sharex=True, sharey=True)
    axes = np.atleast_1d(axes).ravel()
    for row in range(n):
        for column, title in enumerate(("original", "visible patches", "reconstruction")):
            ax, (low, high) = axes[3 * row + column], np.nanpercentile(pictures[0, row], [1, 99.5])
            ax.imshow(pictures[column, row].T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high)
            ax.set(xlabel="frame" if row == n - 1 else "", ylabel="mel band" if not column else "", title="" if row else title)
    return list(axes)


def waveform_networks(results, data, head):
    """Figures of networks trained on waveforms: masked reconstructions of Bird-MAE, frame scores of mel models with the head ``sed``.

    Args:
        results: of the ablation's encoder rows.
        head: of the mel models; only ``sed`` has scores for each frame.
    """
    from birdlib.species import mae_pretraining, mel_models, train_waveforms
    from birdlib.species.waveform_networks import MEL

    paths = data.clip_paths(data.is_validation)[:1]  # none, where stage 02 kept no validation recording
    for result in results:
        if result.folder and (result.folder / mae_pretraining.RECONSTRUCTIONS).is_file():
            reconstructions(np.load(result.folder / mae_pretraining.RECONSTRUCTIONS))
        if result.folder and head in ("sed", "sed_gem") and result.row.training["encoder"] in MEL:
            for path in paths:
                waveform, frames, frame_s = train_waveforms.predict_frames(result.folder, path)
                plots.soundscape_timeline(waveform, mel_models.SAMPLE_RATE_HZ, frames, data.classes, frame_s, title=path.name)


def self_training_rounds(table, ax=None):
    """Macro ROC-AUC of each round on validation and, where known, on held-out soundscapes with its interval; the best round is marked.

    Args:
        table: ``round, figure, is_best``, and ``held_out_auc, held_out_low, held_out_high``, NaN where the truth is not known.
    """
    ax = ax or plots.new_axes(8, 3.4)
    label = "validation recordings, alone and mixed into soundscapes"
    ax.plot(table["round"], table["figure"], "o-", color=plots.SPLIT_COLOURS["validation"], label=label)
    if table["held_out_auc"].notna().any():
        value, low, high = (table[f"held_out_{name}"] for name in ("auc", "low", "high"))
        ends = np.nan_to_num(np.maximum([value - low, high - value], 0))
        colour = plots.SPLIT_COLOURS["test"]
        ax.errorbar(table["round"], value, ends, color=colour, marker="s", capsize=4, label="held-out soundscapes, 90 % interval")
    for number in table.loc[table["is_best"], "round"]:
        ax.axvline(number, color="#2e7d32", linewidth=1, label=f"best on validation: round {number}")
    ax.set_xticks(table["round"])
    ax.set(xlabel="round (0: recordings alone)", ylabel="macro ROC-AUC", title="Does self-training on soundscapes help?")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def label_provenance(summary, ax=None):
    """Labelled windows of each species, one stacked bar per species, by the rule that gave the label.

    Args:
        summary: from ``pseudolabels.summary``.
    """
    counts = summary.groupby(["label", "kind"])["windows"].sum().unstack(fill_value=0)
    ax = ax or plots.new_axes(9, 1.5 + 0.22 * len(counts))
    left, y = np.zeros(len(counts)), np.arange(len(counts))
    for kind, colour in _KIND_COLOURS.items():
        if kind in counts:
            ax.barh(y, counts[kind], left=left, color=colour, label=kind)
            left += counts[kind].to_numpy()
    ax.set_yticks(y, label_texts(counts.index))
    ax.set(xlabel="windows", title="Labels of each species by provenance")
    if len(counts):
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax
