"""The best detection of each species, to play: in cards, and by a button in the table of species."""

import itertools
from dataclasses import dataclass

from birdlib import runtime
from birdlib.reports import analysis_data, page, players

MAX_SPECIES = 48
_CONTEXT_S, _MAX_S = 1.0, 8.0
_MAX_SOUGHT, _MAX_TRIED = 500, 5  # detections of a species, until one is in a file that is there and can be read


@dataclass(frozen=True)
class Example:
    """A detection of a species with its player."""

    label: str
    key: str  # id of the player
    start_s: float
    end_s: float
    card: str  # HTML


def best(analysis, budget, share=0.35):
    """{label: Example} of the most frequent species, from the detection with the highest confidence whose file can be read.

    Args:
        analysis: an ``analysis_data.Analysis``.
        budget: players.Budget of the page, of which they take at most ``share``.
    """
    limit = players.Budget(int(budget.spent + share * (budget.total - budget.spent)), budget.spent)
    found = {}
    for number, label in enumerate(analysis.species[:MAX_SPECIES]):
        rows = analysis.detections[analysis.detections["species"] == label].nlargest(_MAX_SOUGHT, "confidence")
        readable = (row for row in rows.itertuples() if analysis.locate(row.path))
        for row in itertools.islice(readable, _MAX_TRIED):
            example = _example(analysis, row, f"example-{number}", limit)
            if example:
                found[label] = example
                break
    budget.spent = limit.spent
    return found


def cards(examples, analysis):
    """HTML of all examples side by side."""
    if not examples:
        return page.markup("")
    word = "calibrated probability" if analysis.is_calibrated else "confidence"
    return page.join(
        page.paragraph(
            f"For each species the detection with the highest {word}. Play it, compare it with a recording that you trust, and only then believe the row of the table.",
            "The box is the detection; its height is the band with most of the energy.",
        ),
        page.element("div", *(example.card for example in examples.values()), class_="examples"),
    )


def play_button(example, name):
    """HTML of a button that plays an example where it is pressed."""
    return page.element(
        "button", "▶", type="button", class_="button play", data_player=example.key, data_from=f"{example.start_s:.3f}", data_to=f"{example.end_s:.3f}",
        data_quiet=True, aria_label=f"Play the best detection of {name}", aria_pressed="false",
    )  # fmt: skip


def _example(analysis, row, key, budget):
    path = analysis.locate(row.path)
    start_s, end_s = max(0.0, row.start_s - _CONTEXT_S), min(row.end_s + _CONTEXT_S, row.start_s + _MAX_S)
    alone = analysis.detections.loc[[row.Index]]
    try:
        with runtime.collect_warnings(path):
            player = players.player(path, alone, start_s, end_s, title=row.name, budget=budget, colours=analysis.colours, key=key, compact=True)
    except (OSError, runtime.BirdlibError):
        return None
    if not player:
        return None
    about = page.element("p", page.element("bdi", analysis_data.file_name(row.path)), f", {players.clock(row.start_s)}", class_="soft")
    science = page.element("i", row.scientific_name) if row.scientific_name and row.scientific_name != row.name else None
    card = page.element("article", page.element("h4", page.element("bdi", row.name), " ", science), player, about, class_="example")
    return Example(row.species, key, row.start_s, min(row.end_s, end_s), card)
