"""Figures of stages 04 and 05: training with triplets, retrieval by modality, the grid of matchers. Every function takes and returns ``ax``."""

import numpy as np

from birdlib import plots


def triplet_history(table, ax=None):
    """Training of a triplet network: loss on the left axis, shares between 0 and 1 on the right one.

    Vertical lines mark the kept epoch and changes of the mining.

    Args:
        table: DataFrame with ``epoch, loss, active_share, spread, validation_map_at_r, mining`` (name of the mining of that epoch)
            and ``is_kept`` (true in one row).
    """
    ax = ax or plots.new_axes(10, 3.6)
    right = ax.twinx()
    ax.plot(table["epoch"], table["loss"], color=plots.SPLIT_COLOURS["train"], marker=".", label="loss")
    for column, label, colour in [
        ("validation_map_at_r", "validation MAP@R", "#2e7d32"),
        ("active_share", "active triplets", plots.SPLIT_COLOURS["validation"]),
        ("spread", "embedding spread", "#7b5ea7"),
    ]:
        right.plot(table["epoch"], table[column], color=colour, marker=".", label=label)
    for epoch in table.loc[table["is_kept"], "epoch"]:
        right.axvline(epoch, color="#2e7d32", linewidth=1, label=f"kept epoch: {epoch}")
    before = table["mining"].shift().fillna(table["mining"])
    for row in table.assign(before=before)[table["mining"] != before].itertuples():
        label = f"mining: {row.before} \N{RIGHTWARDS ARROW} {row.mining}"
        right.axvline(row.epoch - 0.5, color="#333333", linestyle=":", label=label)
    right.set(ylabel="share", ylim=(0, 1.02))
    return plots.finish_history(ax, right)


def modality_bars(table, ax=None):
    """Precision at 1 of each modality with its 90 % interval, grouped by set.

    Args:
        table: DataFrame with ``set``, ``modality`` and ``p_at_1`` ([value, low, high]); NaN has no bar.
    """
    cells = [(row.set, row.modality, row.p_at_1) for row in table.itertuples()]
    return _grouped_bars(cells, "precision at 1, 90 % interval", "Is the nearest neighbour of the same species?", ax)


def species_bars(table, ax=None):
    """Accuracy and macro ROC-AUC of species by sound, by photo and by both, with their 90 % intervals.

    Args:
        table: DataFrame with ``modality``, ``accuracy`` and ``macro_auc`` ([value, low, high]); NaN has no bar.
    """
    names = {"accuracy": "accuracy", "macro_auc": "macro ROC-AUC"}
    cells = [(label, row["modality"], row[name]) for name, label in names.items() for _, row in table.iterrows()]
    return _grouped_bars(cells, "on test, 90 % interval", "Which species is it?", ax)


def _grouped_bars(cells, ylabel, title, ax):
    """Bars with intervals: a list of (group, bar, [value, low, high])."""
    groups, names = (list(dict.fromkeys(cell[i] for cell in cells)) for i in (0, 1))
    width = 0.8 / max(len(names), 1)
    ax = ax or plots.new_axes(max(6.0, 1.5 + 0.8 * len(groups) * len(names)), 3.6)
    for i, name in enumerate(names):
        rows = [cell for cell in cells if cell[1] == name]
        xs = np.array([groups.index(group) for group, *_ in rows]) + (i + 0.5) * width - 0.4
        values, low, high = np.array([interval for *_, interval in rows], dtype=float).T
        whiskers = np.maximum([values - low, high - values], 0)
        ax.bar(xs, values, 0.92 * width, yerr=whiskers, capsize=4, ecolor="#333333", color=f"C{i}", label=name)
        for x, value, top in zip(xs, values, high, strict=True):
            if np.isfinite(value):
                ax.text(x, np.nan_to_num(top, nan=value) + 0.02, f"{value:.2f}", ha="center", va="bottom", fontsize=8)
    ax.set_xticks(range(len(groups)), groups)
    ax.set(xlim=(-0.5, max(len(groups), 1) - 0.5), ylim=(0, 1.1), ylabel=ylabel, title=title)
    if names:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def grid_heat_map(table, value, ax=None):
    """Heat maps of all encoder combinations: a panel for each loss, a row for each audio, a column for each video encoder.

    Names are in order of appearance; the best cell is framed; missing combinations are blank.

    Args:
        table: DataFrame with ``loss, audio, video`` and ``value``; rows of one combination (seeds, say) are averaged.
        value: name of a float column, may be NaN; higher is better.
        ax: one axes for each loss; None makes a figure.

    Returns:
        (losses,) axes.
    """
    losses, audios, videos = (table[name].unique().tolist() for name in ("loss", "audio", "video"))
    n_columns = max(1, min(3, len(losses)))
    n_rows = max(1, -(-len(losses) // n_columns))
    if ax is None:
        width, height = n_columns * (1.2 + 0.9 * len(videos)) + 1, n_rows * (1.0 + 0.6 * len(audios))
        ax = plots.new_axes(max(width, 4), max(height, 2), n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
        for unused in ax.flat[len(losses) :]:
            unused.set_visible(False)
    axes = np.asarray(ax, dtype=object).reshape(-1)[: len(losses)]
    means = table.groupby(["loss", "audio", "video"])[value].mean()
    best, low, high = (means.idxmax() if means.notna().any() else None), means.min(), means.max()
    for panel, loss in zip(axes, losses, strict=True):
        found = np.array([[means.get((loss, audio, video), np.nan) for video in videos] for audio in audios])
        image = panel.imshow(found, cmap="Blues", vmin=low, vmax=high, aspect="auto")
        for row, column in np.argwhere(np.isfinite(found)):
            is_dark = found[row, column] - low > 0.6 * (high - low) > 0
            text = dict(ha="center", va="center", fontsize=9, color="white" if is_dark else "black")
            panel.text(column, row, f"{found[row, column]:.2f}", **text)
            if (loss, audios[row], videos[column]) == best:
                panel.add_patch(plots.outline(column - 0.5, row - 0.5, 1.0)).set(color=plots.BEST_COLOUR, linewidth=4)
        panel.set_xticks(range(len(videos)), videos, rotation=30, ha="right")
        panel.set_yticks(range(len(audios)), audios)
        panel.set(title=loss, xlabel="video encoder", ylabel="audio encoder")
        panel.label_outer()
    if best is not None:
        axes[0].figure.colorbar(image, ax=list(axes), label=value.replace("_", " "))
    return axes
