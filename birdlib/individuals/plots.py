"""Figures of individuals. Every function draws on the ``ax`` it is given (or a new one) and returns it.

Identities are row-aligned with tracks or crops; ``UNKNOWN`` ones are left out. Figures count from 1: identity 0 is bird 1, in the same colour
in every figure and annotated film.
"""

from pathlib import Path

import numpy as np

from birdlib import plots
from birdlib.individuals import background_swap, clustering
from birdlib.metrics.identity import UNKNOWN
from birdlib.video import annotations, images, squares

TILE_PX, GAP_PX = 96, 4  # of a contact sheet
_TILE_COLOUR = 236  # light grey
_ROW_INCHES = 0.34


def name(identity):
    """The name of a bird in figures."""
    return f"bird {identity + 1}"


def colour(identity):
    """The colour of a bird, as of its box in annotated films: (red, green, blue) in [0, 1]."""
    return tuple(part / 255 for part in annotations.colour(identity + 1))


def history(table, ax=None):
    """Training of an encoder of individuals: loss on the left axis, average precision on validation on the right one.

    Args:
        table: of ``training.fit``.
    """
    ax = ax or plots.new_axes(8, 2.8)
    right = ax.twinx()
    ax.plot(table["epoch"], table["loss"], color=plots.SPLIT_COLOURS["train"], marker=".", label="loss")
    right.plot(table["epoch"], table["validation"], color="#2e7d32", marker=".", label="validation")
    for epoch in table.loc[table["is_kept"], "epoch"]:
        right.axvline(epoch, color="#2e7d32", linewidth=1)
    kept = "".join(f"; the kept epoch is {epoch}" for epoch in table.loc[table["is_kept"], "epoch"].head(1))
    ax.set(xlabel="epoch", ylabel="loss", title=f"Training history{kept}")
    right.set(ylabel="average precision of pairs", ylim=(0, 1.02))
    return ax


def pair_distances(table, threshold, ax=None):
    """Histograms of the distances of same and of different birds.

    Args:
        table: ``distance, is_same``, a row a pair.
        threshold: a vertical line.
    """
    ax = ax or plots.new_axes(8, 2.8)
    bins = np.linspace(0, max(1.0, table["distance"].max() if len(table) else 1.0), 41)
    for is_same, label, colour in ((True, "same bird", "#2e7d32"), (False, "two birds", plots.SPLIT_COLOURS["test"])):
        values = table.loc[table["is_same"] == is_same, "distance"]
        weights = np.full(len(values), 1 / max(len(values), 1))
        ax.hist(values, bins, weights=weights, alpha=0.6, color=colour, label=f"{label} ({len(values)} pairs)")
    ax.axvline(threshold, color="#333333", linestyle="--", label=f"threshold {threshold:.2f}")
    ax.set(xlabel="cosine distance", ylabel="share of pairs", title="Pairs kept out of training")
    ax.legend()
    return ax


def contact_sheet(crops, identities, root, n_crops=8, ax=None):
    """A row an individual: its best crops, of as many films as possible, in the order of films and time; the first crop of a film is labelled.

    Args:
        crops: one row a crop, with ``recording_id, time_s, path, quality``.
        identities: (crops,) int.
        root: folder of the paths.
        n_crops: in a row.

    Raises:
        ImageError: if a crop cannot be read.
    """
    crops = crops.assign(identity=np.asarray(identities, dtype=int))
    crops = crops[crops["identity"] != UNKNOWN].sort_values("quality", ascending=False, kind="stable")
    rank = crops.groupby(["identity", "recording_id"]).cumcount()  # within its film, the best first
    crops = crops.assign(rank=rank).sort_values(["rank", "quality"], ascending=[True, False], kind="stable")
    crops = crops.groupby("identity").head(n_crops).sort_values(["identity", "recording_id", "time_s"], kind="stable")
    birds = crops["identity"].unique()
    n_columns = crops.groupby("identity").size().max() if len(crops) else 1
    step = TILE_PX + GAP_PX
    sheet = np.full((max(len(birds), 1) * step, n_columns * step, 3), 255, np.uint8)
    firsts = []  # (left, top, film)
    for row, bird in enumerate(birds):
        film = None
        for column, crop in enumerate(crops[crops["identity"] == bird].itertuples()):
            top, left = row * step, column * step
            sheet[top : top + TILE_PX, left : left + TILE_PX] = squares.as_square(images.read_image(Path(root) / crop.path), TILE_PX, _TILE_COLOUR)
            if crop.recording_id != film:
                film = crop.recording_id
                firsts.append((left, top, film))
    ax = ax or plots.new_axes(1.5 + 0.95 * n_columns, 0.5 + 0.95 * max(len(birds), 1))
    shade = {"facecolor": "black", "alpha": 0.6, "pad": 0.8, "linewidth": 0}
    for left, top, film in firsts:
        ax.text(left + 3, top + 4, plots.label_text(film), fontsize=6, va="top", color="white", bbox=shade)
    ax.imshow(sheet, interpolation="nearest")
    ax.set(xticks=[], yticks=[(row + 0.5) * step for row in range(len(birds))], title="Individuals and their best crops")
    ax.set_yticklabels(map(name, birds))
    _colour_ticks(ax.get_yticklabels(), birds)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def timeline(summary, identities, films, ax=None):
    """When each individual is in which film: a band a film, a row in it for each individual.

    Args:
        summary: of the tracks, with ``recording_id, start_s, end_s``.
        identities: (tracks,) int.
        films: recording_ids, from top to bottom; one without birds has an empty row.
    """
    table = summary.assign(identity=np.asarray(identities, dtype=int))
    table = table[table["identity"] != UNKNOWN]
    birds_of = [sorted(table.loc[table["recording_id"] == film, "identity"].unique()) or [None] for film in films]
    n_rows = sum(map(len, birds_of))
    ax = ax or plots.new_axes(10, 1.0 + _ROW_INCHES * n_rows)
    end_s = table["end_s"].max() if len(table) else 1.0
    row, ticks, labels = 0, [], []
    for film, birds in zip(films, birds_of, strict=True):
        if len(ticks) % 2 == 0:
            ax.axhspan(row - 0.5, row + len(birds) - 0.5, color="#f2f2f2", linewidth=0)
        ticks.append(row + (len(birds) - 1) / 2)
        labels.append(film)
        for bird in birds:
            tracks = table[(table["recording_id"] == film) & (table["identity"] == bird)]
            spans = list(zip(tracks["start_s"], (tracks["end_s"] - tracks["start_s"]).clip(lower=0.004 * end_s), strict=True))
            if spans:
                ax.broken_barh(spans, (row - 0.35, 0.7), color=colour(bird))
                ax.text(1.01, row, name(bird), transform=ax.get_yaxis_transform(), va="center", fontsize=8, color=_ink(bird))
            else:
                ax.text(0.01 * end_s, row, "no bird", va="center", fontsize=8, color="#777777")
            row += 1
    ax.set(xlabel="time, s", xlim=(0, end_s), ylim=(max(n_rows, 1) - 0.5, -0.5), title="Individuals over time")
    ax.set_yticks(ticks, plots.label_texts(labels))
    return ax


def similarity_matrix(embeddings, identities, must_not_link=None, ax=None):
    """Cosines of all tracks in clustered order; a frame around each individual, a dot where two tracks are in one frame.

    Args:
        embeddings: (tracks, dim) unit vectors.
        identities: (tracks,) int.
        must_not_link: (tracks, tracks) bool, or None.
    """
    from matplotlib.patches import Rectangle

    kept = np.flatnonzero(np.asarray(identities) != UNKNOWN)
    embeddings, birds = np.asarray(embeddings)[kept], np.asarray(identities)[kept]
    apart = np.zeros((len(kept), len(kept)), bool) if must_not_link is None else np.asarray(must_not_link, bool)[np.ix_(kept, kept)]
    order = clustering.clustered_order(embeddings, apart)
    birds, apart = birds[order], apart[np.ix_(order, order)]
    ax = ax or plots.new_axes(7, 6)
    ax.set(title="Similarity of tracks, in clustered order", xticks=[])
    if not len(order):
        ax.set(yticks=[])
        return ax
    image = ax.imshow(1.0 - clustering.distances(embeddings[order]), cmap="viridis", vmin=-0.2, vmax=1, interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label="cosine", shrink=0.8)
    ax.plot(*np.argwhere(apart).T, ".", color="white", markersize=max(1.5, 5 - len(order) / 15))
    starts = np.flatnonzero(np.append(True, birds[1:] != birds[:-1]))
    sizes = np.diff(np.append(starts, len(birds)))
    for start, size in zip(starts, sizes, strict=True):
        ax.add_patch(Rectangle((start - 0.5, start - 0.5), size, size, fill=False, edgecolor=colour(birds[start]), linewidth=2.5))
    ax.set_yticks(starts + (sizes - 1) / 2, map(name, birds[starts]))
    _colour_ticks(ax.get_yticklabels(), birds[starts])
    ax.set(xlim=(-0.6, len(birds) - 0.4), ylim=(len(birds) - 0.4, -0.6))
    return ax


def count_intervals(table, total=None, truth=None, ax=None):
    """The birds of each film: the count, its 90 % interval, and the largest number in one frame.

    Args:
        table: from ``counts.per_film``; with the word of ``certainty`` behind the interval where ``frame_evidence.revise`` has added it.
        total: (n, low, high) of all films together, for a last row, or None.
        truth: {recording_id: number}, where known, or None.
    """
    rows = [(row.recording_id, row.n, row.low, row.high) for row in table.itertuples()]
    rows += [("all films", *total)] if total else []
    ax = ax or plots.new_axes(8, 1.2 + _ROW_INCHES * len(rows))
    y = np.arange(len(rows))
    if rows:
        n, low, high = np.array([row[1:] for row in rows], dtype=float).T
        blue = plots.SPLIT_COLOURS["train"]
        ax.errorbar(n, y, xerr=[n - low, high - n], fmt="o", color=blue, capsize=4, zorder=3, label="count, 90 % interval")
        for row, word in enumerate(table.get("certainty", ())):
            ax.annotate(word, (high[row], row), (8, 0), textcoords="offset points", va="center", fontsize=7, color="#555555")
        ax.barh(y[: len(table)], table["at_once"], height=0.3, color=plots.BEST_COLOUR, alpha=0.6, label="in one frame")
        known = [(truth[film], row) for row, (film, *_) in enumerate(rows) if film in (truth or {})]
        if known:
            ax.plot(*np.transpose(known), "D", markerfacecolor="none", markeredgecolor="#333333", markersize=11, label="truth")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3, frameon=False)
    ax.set_yticks(y, plots.label_texts(row[0] for row in rows))
    ax.set(xlabel="birds", ylim=(max(len(rows), 1) - 0.5, -0.5), title="How many birds")
    ax.set_xlim(-0.3, max([row[3] for row in rows] + list((truth or {}).values()), default=1) + 1.0)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(axis="x", alpha=0.3)
    return ax


def individuals_by_threshold(table, thresholds, ax=None):
    """The number of individuals in all films that each threshold would give; dotted lines are the thresholds in use.

    Args:
        table: from ``count_comparison.over_thresholds``.
        thresholds: {counting: threshold}.
    """
    ax = ax or plots.new_axes(8, 3.2)
    colours = {"clustering": plots.SPLIT_COLOURS["train"], "greedy": plots.SPLIT_COLOURS["test"]}
    for counting, rows in table.groupby("counting", sort=False):
        ax.step(rows["threshold"], rows["individuals"], where="mid", color=colours[counting], label=counting)
        ax.axvline(thresholds[counting], color=colours[counting], linestyle=":")
    ax.set(xlabel="threshold, cosine distance", ylabel="individuals in all films", ylim=(0, None), title="The count depends on the threshold")
    ax.legend(frameon=False)
    ax.grid(alpha=0.3)
    return ax


def background_shares(table, n_birds, ax=None):
    """Bars of ``background_swap.background_shares`` with intervals; the dotted line is chance among ``n_birds``."""
    ax = ax or plots.new_axes(7, 3)
    colours = {"the bird": "#4c78a8", "the background's bird": "#b4464b", "another": "#bbbbbb"}
    for group, kind in enumerate(background_swap.KINDS):
        for step, (taken_for, shade) in enumerate(colours.items()):
            row = table[(table["kind"] == kind) & (table["taken_for"] == taken_for)]
            if len(row):
                share, low, high = row[["share", "low", "high"]].to_numpy()[0]
                x = group + 0.26 * (step - 1)
                ax.bar(x, share, 0.24, color=shade, label=taken_for if kind == background_swap.KINDS[-1] else None)
                if np.isfinite(low):
                    ax.plot([x, x], [low, high], color="black", linewidth=1.2)
    ax.axhline(1.0 / n_birds, color="black", linestyle=":", linewidth=1)
    ax.set(xticks=range(len(background_swap.KINDS)), xticklabels=background_swap.KINDS, ylim=(0, 1), ylabel="share of recordings", title="Bird that the recording is identified as")
    ax.legend(frameon=False)
    return ax


def _ink(bird):
    """The colour of a bird, darkened for text."""
    return tuple(0.6 * part for part in colour(bird))


def _colour_ticks(labels, birds):
    for label, bird in zip(labels, birds, strict=True):
        label.set_color(_ink(bird))
