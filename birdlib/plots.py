"""Figures. Every function draws on ``ax`` (None makes a new one) and returns it."""

import numpy as np

from birdlib import figure_text
from birdlib.figure_text import label_text, label_texts

SPLIT_COLOURS = {"train": "#4c78a8", "validation": "#f2a541", "test": "#b4464b"}
_SPEECH_COLOUR = "#ff4d4d"
BEST_COLOUR = "#f2a541"
_TITLE_LETTERS = 100
MAX_FRAMES = 8000  # of a spectrogram; more than there are pixels, so long sounds skip frames


def new_axes(width=10.0, height=4.0, rows=1, columns=1, **options):
    """The axes of a new figure of ``width`` x ``height`` inches with ``rows`` x ``columns`` axes."""
    import matplotlib.pyplot as plt

    figure_text.use_fallback_fonts()
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)[1]


def split_balance(splits, ax=None):
    """Stacked bars of the recordings of each species in each split; repeated rows are hatched.

    Args:
        splits: the table of stage 01, with ``species``, ``split`` and ``is_repeated``.
    """
    counts = splits.groupby(["species", "split", "is_repeated"]).size().unstack([1, 2], fill_value=0)
    counts = counts.loc[counts.sum(axis=1).sort_values(kind="stable").index]
    ax = ax or new_axes(10, 1.5 + 0.22 * len(counts))
    left, y = np.zeros(len(counts)), np.arange(len(counts))
    for split, colour in SPLIT_COLOURS.items():
        for repeated in (False, True):
            if (split, repeated) in counts:
                widths = counts[split, repeated].to_numpy()
                label = split + (", repeated" if repeated else "")
                ax.barh(
                    y, widths, left=left, color=colour, label=label,
                    hatch="////" if repeated else None, edgecolor="white",
                )  # fmt: skip
                left += widths
    ax.set_yticks(y, label_texts(counts.index))
    ax.set(xlabel="recordings", title="Recordings of each species in each split")
    if len(counts):
        ax.legend(loc="lower right")
    return ax


def spectrogram(waveform, sample_rate_hz, spans=(), ax=None, title="", max_hz=None):
    """Spectrogram in dB with a range of 80 dB; ``spans`` (n, 2) in seconds are marked as speech."""
    import librosa

    n_fft = 512 if sample_rate_hz <= 16_000 else 1024
    hop = max(n_fft // 2, len(waveform) // MAX_FRAMES)
    power = np.abs(librosa.stft(waveform, n_fft=n_fft, hop_length=hop)) ** 2  # (bins, frames)
    level_db = librosa.power_to_db(power, ref=np.max, top_db=80)
    ax = ax or new_axes(10, 2.6)
    extent = (0, len(waveform) / sample_rate_hz, 0, sample_rate_hz / 2000)
    ax.imshow(level_db, origin="lower", aspect="auto", extent=extent, cmap="magma", interpolation="nearest")
    for start_s, end_s in spans:
        ax.axvspan(start_s, end_s, color=_SPEECH_COLOUR, alpha=0.25)
        ax.hlines(0.97 * sample_rate_hz / 2000, start_s, end_s, color=_SPEECH_COLOUR, linewidth=4)
    ax.set(xlabel="time, s", ylabel="kHz", title=label_text(title, _TITLE_LETTERS))
    if max_hz:
        ax.set_ylim(0, max_hz / 1000)
    return ax


def histogram(values, label, ax=None):
    """Histogram of finite values; ``label`` is the quantity with its unit."""
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    ax = ax or new_axes(8, 2.6)
    ax.hist(values, bins=30, color=SPLIT_COLOURS["train"])
    ax.set(xlabel=label, ylabel="count")
    if len(values):
        ax.axvline(np.median(values), color="#333333", linestyle="--", label=f"median {np.median(values):.3g}")
        ax.legend()
    return ax


def embedding_map(points, labels, ax=None, title="", legend=True):
    """Scatter plot of a two-dimensional projection, (n, 2), coloured by label, (n,) str."""
    import matplotlib.pyplot as plt

    ax = ax or new_axes(8, 6)
    names = sorted(set(labels))
    colours = plt.get_cmap("turbo")(np.linspace(0.03, 0.97, len(names)))
    for i, (name, colour) in enumerate(zip(names, colours, strict=True)):
        rows = np.asarray(labels) == name
        marker = "osD^vP*X"[i % 8]
        ax.scatter(*points[rows].T, color=colour, s=28, label=label_text(name), marker=marker, linewidths=0.4, edgecolors="white")
    ax.set(xticks=[], yticks=[], title=label_text(title, _TITLE_LETTERS))
    if legend and 0 < len(names) <= 40:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, ncols=1 + len(names) // 21)
    return ax


def history(table, ax=None):
    """Training history of one or several networks: losses on the left axis, macro ROC-AUC on the right, kept epochs marked.

    Args:
        table: DataFrame with ``network, epoch, loss, validation_loss`` and ``validation_macro_auc``.
    """
    ax = ax or new_axes(10, 3.4)
    right = ax.twinx()
    labels = {"loss": "train loss", "validation_loss": "validation loss"}
    colours = {"loss": SPLIT_COLOURS["train"], "validation_loss": SPLIT_COLOURS["validation"]}
    auc_label = "validation macro ROC-AUC, kept epoch marked"
    for _, rows in table.groupby("network"):
        for column, colour in colours.items():
            ax.plot(rows["epoch"], rows[column], color=colour, alpha=0.7, label=labels.pop(column, None))
        auc = rows["validation_macro_auc"]
        right.plot(rows["epoch"], auc, color="#2e7d32", alpha=0.5, label=auc_label)
        auc_label = None  # of the first network only
        if auc.notna().any():
            right.plot(rows["epoch"][auc.idxmax()], auc.max(), "o", color="#2e7d32")
    right.set_ylabel("macro ROC-AUC")
    return _finish_history(ax, right)


def triplet_history(table, ax=None):
    """Training of a triplet network: loss on the left axis, shares between 0 and 1 on the right one.

    Vertical lines mark the kept epoch and changes of the mining.

    Args:
        table: DataFrame with ``epoch, loss, active_share, spread, validation_map_at_r, mining`` (name of the mining of that epoch)
            and ``is_kept`` (true in one row).
    """
    ax = ax or new_axes(10, 3.6)
    right = ax.twinx()
    ax.plot(table["epoch"], table["loss"], color=SPLIT_COLOURS["train"], marker=".", label="loss")
    for column, label, colour in [
        ("validation_map_at_r", "validation MAP@R", "#2e7d32"),
        ("active_share", "active triplets", SPLIT_COLOURS["validation"]),
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
    return _finish_history(ax, right)


def _finish_history(ax, right):
    ax.set(xlabel="epoch", ylabel="loss", title="Training history")
    handles = [handle for axis in (ax, right) for handle in axis.get_legend_handles_labels()[0]]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    return ax


def modality_bars(table, ax=None):
    """Precision at 1 of each modality with its 90 % interval, grouped by set.

    Args:
        table: DataFrame with ``set``, ``modality`` and ``p_at_1`` ([value, low, high]); NaN has no bar.
    """
    sets, modalities = table["set"].unique().tolist(), table["modality"].unique().tolist()
    width = 0.8 / max(len(modalities), 1)
    ax = ax or new_axes(max(6.0, 1.5 + 0.8 * len(sets) * len(modalities)), 3.6)
    for i, modality in enumerate(modalities):
        rows = table[table["modality"] == modality]
        xs = np.array([sets.index(name) for name in rows["set"]]) + (i + 0.5) * width - 0.4
        values, low, high = np.array(rows["p_at_1"].tolist(), dtype=float).T
        whiskers = np.maximum([values - low, high - values], 0)
        ax.bar(xs, values, 0.92 * width, yerr=whiskers, capsize=4, ecolor="#333333", color=f"C{i}", label=modality)
        for x, value, top in zip(xs, values, high, strict=True):
            if np.isfinite(value):
                ax.text(x, top + 0.02, f"{value:.2f}", ha="center", va="bottom", fontsize=8)
    ax.set_xticks(range(len(sets)), sets)
    limits = {"xlim": (-0.5, max(len(sets), 1) - 0.5), "ylim": (0, 1.1)}
    ax.set(**limits, ylabel="precision at 1, 90 % interval", title="Is the nearest neighbour of the same species?")
    if modalities:
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
        ax = new_axes(max(width, 4), max(height, 2), n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
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
                panel.add_patch(_outline(column - 0.5, row - 0.5, 1.0)).set(color=BEST_COLOUR, linewidth=4)
        panel.set_xticks(range(len(videos)), videos, rotation=30, ha="right")
        panel.set_yticks(range(len(audios)), audios)
        panel.set(title=loss, xlabel="video encoder", ylabel="audio encoder")
        panel.label_outer()
    if best is not None:
        axes[0].figure.colorbar(image, ax=list(axes), label=value.replace("_", " "))
    return axes


def per_species(table, ax=None):
    """ROC-AUC of each species, with the macro mean as a line.

    Args:
        table: DataFrame with ``species``, ``roc_auc`` and ``n_positives``; undefined AUCs are left out.
    """
    table = table.dropna(subset=["roc_auc"]).sort_values("roc_auc")
    ax = ax or new_axes(9, 1.2 + 0.22 * len(table))
    y = np.arange(len(table))
    ax.hlines(y, 0.5, table["roc_auc"], color="#c9d3de", linewidth=2)
    ax.plot(table["roc_auc"], y, "o", color=SPLIT_COLOURS["train"])
    ax.set_yticks(y, [f"{label_text(row.species)} ({row.n_positives})" for row in table.itertuples()])
    if len(table):
        ax.axvline(table["roc_auc"].mean(), color="#333333", linestyle="--", label=f"mean {table['roc_auc'].mean():.3f}")
    ax.axvline(0.5, color=SPLIT_COLOURS["test"], linewidth=1, label="chance")
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
    ax = ax or new_axes(size + 1.0, size)
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


def soundscape_timeline(waveform, sample_rate_hz, probabilities, classes, window_s=5.0, truth=None, title="", n_species=8):
    """A soundscape's spectrogram, and below it the most probable species in each window; true species are outlined.

    Args:
        probabilities: (windows, classes).
        truth: (windows, classes) of 0 and 1, or None.
        n_species: number of species: those with the highest single window.

    Returns:
        the two axes, spectrogram first.
    """
    top, bottom = new_axes(12, 5.5, rows=2, sharex=True, height_ratios=[2, 2])
    spectrogram(waveform, sample_rate_hz, ax=top, title=title)
    top.set_xlabel("")
    # Ranked against the other windows of the same species: a rare species' probabilities are all small.
    strength = probabilities.max(axis=0) + (0 if truth is None else truth.any(axis=0))
    shown = np.sort(np.argsort(-strength, kind="stable")[:n_species])
    duration_s = len(waveform) / sample_rate_hz
    extent = (0, window_s * len(probabilities), len(shown) - 0.5, -0.5)
    image = bottom.imshow(probabilities[:, shown].T, aspect="auto", extent=extent, cmap="Greens", vmin=0)
    bottom.figure.colorbar(image, ax=bottom, label="probability", pad=0.01)
    if truth is not None:
        for window, i in zip(*np.nonzero(truth[:, shown]), strict=True):
            box = bottom.add_patch(_outline(window * window_s, i - 0.5, window_s))
        if truth[:, shown].any():
            bottom.legend([box], ["true"], loc="upper right", fontsize=8)
    bottom.set_yticks(range(len(shown)), label_texts(classes[i] for i in shown), fontsize=8)
    bottom.set(xlabel="time, s", xlim=(0, max(duration_s, window_s)))
    return top, bottom


def _outline(x, y, width):
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, 1.0, fill=False, edgecolor=_SPEECH_COLOUR, linewidth=1.6)
