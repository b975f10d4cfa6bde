"""Figures of photos with sounds. A card is one sample: its photo above the spectrogram of its sound.

A card is a dict with ``title`` (text), ``image`` ((height, width, 3) uint8, or None), ``waveform`` ((samples,) float32, or None) and
``sample_rate_hz`` (None without a waveform). Every function makes a new figure and returns its axes, shape (rows, columns, 2):
the photo and the sound of each card.
"""

import textwrap

import numpy as np

from birdlib import plots
from birdlib.audio import io as audio_io
from birdlib.losses import mining
from birdlib.multimodal import pairs
from birdlib.video import images

# Borders: colour, and line style for colour-blind readers.
_RIGHT, _WRONG, _QUERY = ("#2e7d32", "solid"), ("#d32f2f", "dashed"), ("#333333", "solid")
_ROLES = {"anchor": _QUERY, "positive": _RIGHT, "negative": _WRONG}
_ABSENT = "#e6e6e6"
_LINE_LENGTH = 30  # of a title, in letters, that fits above a card
_MATCH_SIZE = 6.0, 2.6  # inches, of a card with a strip of frames
_SPECTRUM_DEPTH = 0.6  # of what ``scenes.spectrogram`` gives is shown: 60 dB


def card(library, pair, root, cosine=None, is_right=None):
    """The card of a pair of a library.

    Args:
        library: ``pairs.Library``.
        pair: a row of ``pairs.pair``.
        root: folder of the media's paths.
        cosine: to the anchor or query, for the title.
        is_right: whether its species is that of the query; None for the query itself.
    """
    photo = library.photos.iloc[pair["photo"]] if pair["photo"] >= 0 else None
    sound = library.sounds.iloc[pair["sound"]] if pair["sound"] >= 0 else None
    waveform, rate_hz = (None, None) if sound is None else audio_io.read(root / sound["audio_path"])
    return {
        "title": pair["species"] + ("" if cosine is None else f"\ncosine {cosine:.2f}"),
        "image": None if photo is None else images.read_image(root / photo["image_path"]),
        "waveform": waveform,
        "sample_rate_hz": rate_hz,
        "is_right": is_right,
    }


def triplet_cards(triplets):
    """Training triplets: one row each, with the columns anchor, positive and negative.

    ``triplets`` are rows of three cards; the role is put before the title.
    """
    titled = [[_titled(role, item) for role, item in zip(_ROLES, row, strict=True)] for row in triplets]
    return _grid(titled, [list(_ROLES.values())] * len(triplets), card_width=3.2)


def hard_triplets(encoder, library, pool, root, rng, n=3):
    """Draw the first triplets with the hardest negative, as the encoder embeds them.

    Args:
        pool: pairs, from ``pairs.pair``.
        rng: of the mining.
    """
    vectors = pairs.embed(encoder, library, pool)
    mined = mining.mine(vectors, pool["species"].to_numpy(), "hard", rng, pairs.media(library, pool))[:n]
    return triplet_cards([[card(library, pool.iloc[row], root, vectors[triplet[0]] @ vectors[row]) for row in triplet] for triplet in mined])


def nearest_cards(library, queries, gallery, scores, examples, root, n_nearest=5):
    """The rows of ``retrieval_gallery``: queries, each with the nearest of the gallery.

    Args:
        queries, gallery: tables of ``pairs.pair``; ``scores``: their cosines (queries, gallery).
        examples: which queries.
    """
    rows = []
    for query in examples:
        query_pair = queries.iloc[query]
        row = [card(library, query_pair, root)]
        for number in np.argsort(-scores[query])[:n_nearest]:
            found = gallery.iloc[number]
            row.append(card(library, found, root, scores[query, number], found["species"] == query_pair["species"]))
        rows.append(row)
    return rows


def retrieval_gallery(rows):
    """Retrieval results: one row a query, which is on the left, with the nearest of the gallery, nearest first.

    Args:
        rows: rows of cards, of any length, with ``is_right``: whether the species is that of the query (solid green border) or
            not (dashed red); None for the query itself, whose title begins with "query".
    """
    borders = {None: _QUERY, True: _RIGHT, False: _WRONG}
    titled = [[_titled("query", item) if item["is_right"] is None else item for item in row] for row in rows]
    return _grid(titled, [[borders[item["is_right"]] for item in row] for row in rows], card_width=2.3)


def _titled(role, item):
    return item | {"title": f"{role}: {item['title']}"}


def match_cards(cards):
    """Pairs of a picture and a sound with the prediction of a matcher: the frames in a strip above the spectrogram.

    Args:
        cards: dicts with ``title``, ``frames`` ((frames, height, width, 3) uint8), ``spectrogram`` ((steps, bands) as
            ``scenes.spectrogram`` gives it) and ``is_right``: whether the prediction is (solid green border) or not (dashed red).

    Returns:
        axes, shape (rows, columns, 2): two cards a row; the strip and the spectrogram of each.
    """
    rows = [cards[first : first + 2] for first in range(0, len(cards), 2)]
    borders = [[_RIGHT if card["is_right"] else _WRONG for card in row] for row in rows]
    return _grid(rows, borders, *_MATCH_SIZE, heights=(1, 2), draw=_draw_match)


def _grid(rows, borders, card_width, card_height=None, heights=(3, 2), draw=None):
    """Draw the cards; a short row ends in blank space."""
    n_rows, n_columns = max(len(rows), 1), max(map(len, rows), default=1)
    card_height, draw = card_height or 1.2 * card_width, draw or _draw
    axes = plots.new_axes(
        card_width * n_columns, card_height * n_rows, 2 * n_rows, n_columns, squeeze=False, height_ratios=heights * n_rows
    )  # fmt: skip
    axes[0, 0].figure.get_layout_engine().set(w_pad=0.06, h_pad=0.02, wspace=0, hspace=0)
    axes = axes.reshape(n_rows, 2, n_columns).swapaxes(1, 2)  # (rows, columns, 2)
    for ax in axes.flat:
        ax.set_axis_off()
    for row_axes, cards, row_borders in zip(axes, rows, borders, strict=False):
        for (upper, lower), card, (colour, line) in zip(row_axes, cards, row_borders, strict=False):
            draw(upper, lower, card, colour)
            for ax in (upper, lower):
                ax.set_axis_on()
                ax.set(xticks=[], yticks=[], xlabel="", ylabel="", facecolor=_ABSENT)
                ax.spines[:].set(color=colour, linestyle=line, linewidth=2.5)
    return axes


def _draw(photo, sound, card, colour):
    lines = [textwrap.fill(plots.label_text(text, 2 * _LINE_LENGTH), _LINE_LENGTH) for text in card["title"].splitlines()]
    photo.set_title("\n".join(["", *lines]), fontsize=8, color=colour)  # a blank line away from the card above
    if card["image"] is None:
        _mark_absent(photo, "no photo")
    else:
        photo.imshow(card["image"])
        photo.set_aspect("equal", adjustable="datalim")  # all cards are as wide, whatever the photo
    if card["waveform"] is None:
        _mark_absent(sound, "no sound")
    else:
        plots.spectrogram(card["waveform"], card["sample_rate_hz"], ax=sound)
        size = f"{len(card['waveform']) / card['sample_rate_hz']:.3g} s, to {card['sample_rate_hz'] / 2000:g} kHz"
        sound.text(0.98, 0.95, size, transform=sound.transAxes, ha="right", va="top", fontsize=6, color="white")


def _draw_match(strip, sound, card, colour):
    strip.set_title("\n" + textwrap.fill(plots.label_text(card["title"], 4 * _LINE_LENGTH), 2 * _LINE_LENGTH), fontsize=9, color=colour)
    strip.imshow(np.hstack(list(card["frames"])), aspect="auto")
    for n in range(1, len(card["frames"])):
        strip.axvline(n * card["frames"].shape[2] - 0.5, color="white", linewidth=1)
    levels = card["spectrogram"].T
    loudest = levels.max()
    sound.imshow(
        levels, origin="lower", aspect="auto", cmap="magma", interpolation="nearest",
        vmin=max(loudest - _SPECTRUM_DEPTH, 0), vmax=max(loudest, 1e-3),
    )  # fmt: skip


def _mark_absent(ax, text):
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize=9, color="#777777")
