"""Figures of pseudo-labels: how the students of the rounds did, and who said what."""

import numpy as np

from birdlib import plots

_KIND_COLOURS = {"human": "#2e7d32", "hard": "#4c78a8", "soft": "#9ecae1", "negative": "#999999"}


def rounds(table, ax=None):
    """Figure of each round on validation and, where it is known, on held-out soundscapes with its interval; the best round is marked.

    Args:
        table: ``round, figure, is_best``, and ``held_out_auc, held_out_low, held_out_high``, NaN where the truth is not known.
    """
    ax = ax or plots.new_axes(8, 3.4)
    ax.plot(table["round"], table["figure"], "o-", color=plots.SPLIT_COLOURS["validation"], label="validation recordings, alone and in soundscapes")
    if table["held_out_auc"].notna().any():
        value, low, high = (table[f"held_out_{name}"] for name in ("auc", "low", "high"))
        ends = np.nan_to_num(np.maximum([value - low, high - value], 0))
        colour = plots.SPLIT_COLOURS["test"]
        ax.errorbar(table["round"], value, ends, color=colour, marker="s", capsize=4, label="held-out soundscapes, 90 % interval")
    for number in table.loc[table["is_best"], "round"]:
        ax.axvline(number, color="#2e7d32", linewidth=1, label=f"best on validation: round {number}")
    ax.set_xticks(table["round"])
    ax.set(xlabel="round (0: recordings alone)", ylabel="macro ROC-AUC", title="Does it help to learn from soundscapes?")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def provenance(summary, ax=None):
    """Windows with a label of each species, one stacked bar a species, by the rule that gave it.

    Args:
        summary: from ``pseudolabels.summary``.
    """
    counts = summary.groupby(["label", "kind"])["windows"].sum().unstack(fill_value=0)
    ax = ax or plots.new_axes(9, 1.5 + 0.22 * len(counts))
    left = np.zeros(len(counts))
    for kind, colour in _KIND_COLOURS.items():
        if kind in counts:
            ax.barh(counts.index, counts[kind], left=left, color=colour, label=kind)
            left += counts[kind].to_numpy()
    ax.set(xlabel="windows", title="Labels of each species, by where they come from")
    if len(counts):
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax
