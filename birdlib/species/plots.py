"""Figures of classifiers: whether probabilities are to be believed, what each component is worth, what a pretrained network guesses. Every function takes and returns ``ax``."""

import numpy as np

from birdlib import plots

_COLOURS = ("#8c8c8c", "#4c78a8")
_VERDICT_COLOURS = {"helps": "#2e7d32", "no difference seen": "#8c8c8c", "hurts": "#b4464b", "": "#4c78a8"}


def reliability(tables, ax=None):
    """Reliability diagram: what was said, what became of it, with 90 % intervals; on the diagonal a probability is one.

    Args:
        tables: {name: DataFrame of ``calibration.reliability``}, two at most.
    """
    ax = ax or plots.new_axes(5.5, 5.0)
    ax.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    for (name, table), colour in zip(tables.items(), _COLOURS, strict=False):
        reach = [table["observed"] - table["observed_low"], table["observed_high"] - table["observed"]]
        ax.errorbar(table["predicted"], table["observed"], np.maximum(reach, 0), fmt="o-", color=colour, capsize=2, label=name)
    ax.set(xlabel="predicted probability", ylabel="observed frequency", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.set_title("Is a probability one?")
    ax.legend()
    return ax


def ablation(table, ax=None):
    """Macro ROC-AUC of each row of the ablation with its interval, coloured by the verdict.

    Args:
        table: of ``ablation.table``, the rows of one set; rows without a figure say why.
    """
    table = table.reset_index(drop=True)
    ax = ax or plots.new_axes(9, 1.4 + 0.32 * len(table))
    for y, row in enumerate(table.itertuples()):
        value, low, high = row.macro_auc
        if np.isnan(value):
            ax.text(0.01, y, row.note[:90], transform=ax.get_yaxis_transform(), va="center", fontsize=7, color="grey")
            continue
        ax.plot([low, high], [y, y], color=_VERDICT_COLOURS[row.verdict])
        ax.plot(value, y, "o", color=_VERDICT_COLOURS[row.verdict])
    ax.set_yticks(range(len(table)), table["part"] + ": " + table["name"])
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set(xlabel="macro ROC-AUC, 90 % interval over groups", title="What each component is worth")
    for verdict, colour in _VERDICT_COLOURS.items():
        ax.plot([], [], "o-", color=colour, label=verdict or "what it is compared with")
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def guesses(pictures, axes=None):
    """Spectrograms that a masked autoencoder fills in: as they are, what it is shown, what it makes of them.

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
        for column, title in enumerate(("a recording", "what is shown of it", "what is made of it")):
            ax, (low, high) = axes[3 * row + column], np.nanpercentile(pictures[0, row], [1, 99.5])
            ax.imshow(pictures[column, row].T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high)
            ax.set(xlabel="frame" if row == n - 1 else "", ylabel="mel band" if not column else "", title="" if row else title)
    return list(axes)
