"""Soundscapes: detections over the spectrogram with the sound, and the pseudo-labels of the unlabelled ones."""

import numpy as np

from birdlib.reports import charts, numbers, page, players, tables
from birdlib.reports.sections import answer

MIN_PROBABILITY = 0.3
_PLAYERS, _PLAYER_BYTES = 4, 1_850_000


def body(run):
    """HTML of the section; each of its two stages may be missing."""
    rows = (("08_submit", "The detections", _detections), ("06_pseudolabel", "The pseudo-labels", _pseudolabels))
    return page.join(*(page.part(title, make, run) if run.is_finished(name) else page.note(run.why_missing(name)) for name, title, make in rows))


def _detections(run):
    found = run.read("08_submit", "detections.csv")
    found = found.assign(common_name=[run.name(label) for label in found["species"]])
    if not len(found):
        return page.paragraph(answer.strong("No detections."), "No species exceeded its threshold in any window.")
    sure = found[found["probability"] >= MIN_PROBABILITY]
    species = sure["common_name"].value_counts()
    text = page.paragraph(
        f"{numbers.counted(len(found), 'detection')} of {numbers.counted(found['species'].nunique(), 'species', 'species')} in {numbers.counted(found['soundscape'].nunique(), 'soundscape')}; "
        f"{numbers.number(len(sure), 0)} have a probability of {MIN_PROBABILITY} or more" + (f", most of {species.index[0]} ({numbers.number(int(species.iloc[0]), 0)})." if len(species) else "."),
        "A probability of 0.8 is right in about eight of ten cases on recordings like those of validation; soundscapes are noisier, so read it as an upper bound.",
    )
    columns = [
        tables.Column("soundscape", "Soundscape"), tables.Column("common_name", "Species"), tables.Column("start_s", "From", "number", "s", 0), tables.Column("end_s", "To", "number", "s", 0),
        tables.Column("probability", "Probability", "share"), tables.Column("expected_precision", "Expected precision", "share", explanation="of all detections of the species that are at least as probable"),
    ]  # fmt: skip
    shown = tables.table(
        found.sort_values("probability", ascending=False, kind="stable"), columns, filter_label="Filter species or soundscapes", page_rows=12,
        caption="All detections, the most probable first. Expected precision helps to choose a cut-off: keep what is above it.", where_all="08_submit/detections.csv",
    )  # fmt: skip
    seen = page.part("The spectrograms", lambda: page.join(*_players(run, sure if len(sure) else found)))
    return page.join(text, seen, page.heading("Detections"), shown)


def _players(run, found):
    paths = run.soundscapes
    names = [name for name in found["soundscape"].value_counts(sort=True).index if name in paths]
    if not names:
        yield page.note("The soundscapes are no longer where they were, so they are neither shown nor played here.")
        return
    budget, shown = players.Budget(_PLAYER_BYTES), 0
    colours = players.colours(found["species"].value_counts().index)
    yield page.heading("Detections over the spectrogram")
    for name in names[:_PLAYERS]:
        rows = found[found["soundscape"] == name]
        start_s = _densest_start(rows)
        player = players.player(paths[name], rows, start_s, start_s + players.MAX_SPAN_S, title=name, budget=budget, colours=colours)
        if player:
            shown += 1
            yield page.figure(page.markup(player), _player_caption(rows, start_s))
    if shown < len(names):
        yield page.paragraph(f"The {numbers.number(shown, 0)} soundscapes with most detections are shown; the table has those of all {numbers.number(found['soundscape'].nunique(), 0)}.")


def _densest_start(rows):
    """Beginning of the minute with the most detections."""
    starts = np.sort(rows["start_s"].to_numpy(float))
    within = np.searchsorted(starts, starts + players.MAX_SPAN_S) - np.arange(len(starts))
    return float(starts[within.argmax()]) if rows["end_s"].max() > players.MAX_SPAN_S else 0.0


def _player_caption(rows, start_s):
    best = rows.loc[rows["probability"].idxmax()]
    return (
        f"{best.common_name} is the surest detection, at {numbers.number(best.start_s, 0)} to {numbers.number(best.end_s, 0)} s with probability {numbers.number(best.probability)}. "
        "Press a name to hear it. A box without a matching figure in the spectrogram is probably wrong."
    )


def _pseudolabels(run):
    results, rounds = run.results("06_pseudolabel"), run.read("06_pseudolabel", "rounds.parquet")
    gain = results.get("gain on held-out soundscapes")
    text = page.paragraph(
        f"From {numbers.counted(results.get('soundscapes', 0), 'unlabelled soundscape')}, {numbers.number(results.get('windows with labels', 0), 0)} of {numbers.counted(results.get('windows', 0), 'window')} "
        f"got labels from pretrained teachers and from networks that were trained on these labels in turn.",
        _gain_sentence(gain),
    )
    parts = [page.heading("Pseudo-labels for unlabelled soundscapes"), text]
    if {"round", "figure"} <= set(rounds.columns) and rounds["figure"].notna().any():
        parts.append(_rounds_chart(rounds))
    teachers, unmatched = run.read_or_none("06_pseudolabel", "teachers.csv"), run.read_or_none("06_pseudolabel", "unmatched.csv")
    if teachers is not None:
        columns = [tables.Column("teacher", "Teacher"), tables.Column("labels", "Species it knows", "count"), tables.Column("note", "Note")]
        parts.append(tables.table(teachers, columns, caption="What each teacher knows of the species of this project."))
    if unmatched is not None and len(unmatched):
        columns = [tables.Column("common_name", "Species"), tables.Column("scientific_name", "Scientific name"), tables.Column("why", "Why")]
        parts.append(page.details(f"Species without a teacher ({numbers.number(unmatched['label'].nunique(), 0)})", tables.table(unmatched, tables.distinct(unmatched, columns), filter_label="Filter species", page_rows=12)))
    return page.join(*parts)


def _gain_sentence(gain):
    if not answer.is_interval(gain):
        return "There are no labelled soundscapes to measure the gain on."
    figures = f"Macro ROC-AUC on held-out soundscapes changes by {numbers.with_interval(gain)}"
    if gain[1] > 0:
        return f"{figures}: the pseudo-labels help."
    return f"{figures}: " + ("they do harm." if gain[2] < 0 else "the interval holds zero, so no gain is shown.")


def _rounds_chart(rounds):
    drawn = charts.new_figure(height=260, x_axis_label="round of self-training (0: teachers only)", y_axis_label="macro ROC-AUC", tools="hover", toolbar_location=None)
    drawn.hover.tooltips = "round @round: <b>@auc{0.000}</b> [@low{0.000}, @high{0.000}]"
    for title, column, colour in (("validation recordings", "figure", charts.PALETTE[2]), ("held-out soundscapes", "held_out_auc", charts.ACCENT)):
        if column not in rounds or not rounds[column].notna().any():
            continue
        is_held_out = column == "held_out_auc" and "held_out_low" in rounds
        data = {"round": rounds["round"], "auc": rounds[column], "low": rounds["held_out_low" if is_held_out else column], "high": rounds["held_out_high" if is_held_out else column]}
        drawn.segment("round", "low", "round", "high", source=data, line_color=colour, line_alpha=0.4, line_width=3)
        drawn.line("round", "auc", source=data, line_color=colour, line_width=2, legend_label=title)
        drawn.scatter("round", "auc", source=data, size=9, fill_color=colour, line_color=None, legend_label=title)
    drawn.xaxis.ticker = sorted(int(value) for value in rounds["round"])
    charts.legend_above(drawn)
    caption = "Rising lines mean that the networks learn from their own labels; a line that falls after a round shows that errors are being learned, and the best round on validation is kept."
    return charts.chart(drawn, "Macro ROC-AUC by round of self-training", caption)
