"""The submission: whether it is complete and in time, what was rehearsed, what was refused."""

import numpy as np

from birdlib.reports import charts, numbers, page, tables
from birdlib.reports.sections import answer

_WINDOWS, _COLUMNS = 48, 24


def body(run):
    """HTML of the section."""
    return page.join(*(page.part(title, make, run) for title, make in _PARTS))


def _summary(run):
    results = run.results("08_submit")
    score = next(((name, value) for name, value in results.items() if name.startswith("macro_auc") and answer.is_interval(value)), None)
    left_out = results.get("members left out")
    return page.paragraph(
        page.join("The table has ", answer.strong(f"{numbers.counted(results.get('rows', 0), 'row')} and {numbers.counted(results.get('columns', 0), 'species', 'species')}"),
                  f", predicted from {results.get('predicted', 'soundscapes')}. It passed all checks: the rows and columns that are asked for, no missing value, probabilities from 0 to 1."),
        f"Against the known truth of these soundscapes its macro ROC-AUC is {numbers.with_interval(score[1])}." if score else "",
        f"Time: {results['time']}." if results.get("time") else "",
        _plan(results.get("plan", "")),
        f"Left out of the ensemble: {numbers.listing(left_out)}." if left_out else "",
    )  # fmt: skip


def _plan(plan):
    if not plan:
        return ""
    return "Nothing had to be left out to stay in time." if plan == "nothing was skipped" else f"To stay in time: {plan}."


def _heat_map(run):
    table = run.read("08_submit", "submission.csv")
    columns = [name for name in table.columns if name != "row_id"]
    if not len(table) or not columns:
        return None
    strongest = table[columns].max().sort_values(ascending=False, kind="stable").index[:_COLUMNS]
    kept = [name for name in columns if name in set(strongest)]
    rows = table.head(_WINDOWS)
    values = rows[kept].to_numpy(float)
    matrix = np.where(values >= 0.05, values, 0.0)
    names = run.unique_names(kept)
    drawn = charts.heat_map(
        matrix.T, names, rows["row_id"], row_label="", column_label="window, named by its end in seconds", colour=charts.PALETTE[2],
        tooltip="@column<br><b>@row</b>: @text", format_value="{:.2f}".format, with_text=False,
    )  # fmt: skip
    drawn.xaxis.major_label_text_font_size = "0px" if len(rows) > 16 else "11px"
    best = table[columns].to_numpy(float).max(axis=1)
    caption = (
        f"The first {numbers.number(len(rows), 0)} of {numbers.counted(len(table), 'row')}; probabilities below 0.05 are left blank. In half of the windows the surest species has {numbers.number(float(np.median(best)))} or more. "
        "A row that is filled from end to end is a species that the classifier finds everywhere: background, more likely than birds."
    )
    return page.join(page.heading("Predicted probabilities"), charts.chart(drawn, "Probabilities of the submission by window and species", caption, min_width=560))


def _timing(run):
    table = run.read_or_none("08_submit", "timings.csv")
    if table is None or not len(table):
        return None
    columns = [
        tables.Column("soundscape", "Soundscape"), tables.Column("minutes", "Audio", "number", "min", 1), tables.Column("seconds", "Computing", "number", "s", 2),
        tables.Column("config", "Inference"), tables.Column("is_prior", "Prior instead of scores", "yes"),
    ]  # fmt: skip
    return page.join(page.heading("Rehearsed time"), tables.table(table, columns, filter_label="Filter soundscapes", page_rows=10, caption="Measured on this machine; the notebook of a competition has another one."))


def _members(run):
    table = run.read_or_none("08_submit", "certificates.csv")
    if table is None or not len(table):
        return None
    columns = [
        tables.Column("member", "Network"), tables.Column("validation", "Validation macro ROC-AUC", "number", "", 3), tables.Column("chosen", "Runs in"), tables.Column("times_as_fast", "Times as fast", "number", "", 1),
        tables.Column("certificate", "Check"),
    ]  # fmt: skip
    return page.join(page.heading("Networks of the submission"), tables.table(table, columns, caption="A faster runtime is used only where its scores are the same."))


def _refused(run):
    table = run.read_or_none("08_submit", "refused.csv")
    if table is None or not len(table):
        return None
    columns = [tables.Column("soundscape", "Soundscape"), tables.Column("member", "Network"), tables.Column("reason", "Reason")]
    return page.join(page.heading("Refused scores"), tables.table(table, columns, filter_label="Filter", page_rows=10, caption="These got the mean of the other networks, or the prior."))


_PARTS = (
    ("The submission", _summary), ("The probabilities", _heat_map), ("The rehearsed time", _timing), ("The networks", _members), ("The refused scores", _refused),
)  # fmt: skip
