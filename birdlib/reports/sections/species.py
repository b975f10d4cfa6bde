"""Species: how well the classifier does, for which species, what it confuses, what each part of the recipe is worth, whether it is calibrated."""

import numpy as np
import pandas as pd

from birdlib.reports import charts, numbers, page, tables
from birdlib.reports.sections import answer

_TEST = "test without repeated rows"
_CONFUSED_SHOWN = 16  # species of the heat map
_FEW_ROWS = 5
_VERDICTS = {"helps": charts.ACCENT, "hurts": "#c2503f", "no difference seen": charts.NEUTRAL, "": charts.PALETTE[2]}
_FIGURES = (
    ("macro_auc", "Macro ROC-AUC", "a species scores higher where it sings than where it does not; 0.5 is chance"),
    ("cmap", "cmAP", "average precision, averaged over species"),
    ("accuracy", "Accuracy", "share of recordings whose first guess is right"),
    ("f1_macro", "F1, macro", "balance of precision and recall, averaged over species"),
)


def body(run):
    """HTML of the section."""
    return page.join(*(page.part(title, make, run) for title, make in _PARTS))


def _figures(run):
    results, best = run.results("07_classify"), answer.best_classifier(run)
    rows = run.read_or_none("07_classify", "metrics.json")
    if not rows:
        return page.paragraph("The figures of the classifiers are missing: run stage 07 again.")
    table = pd.DataFrame(rows)
    table = table[table["rows"] == (_TEST if (table["rows"] == _TEST).any() else table["rows"].iloc[0])]
    members = str(results.get("ensemble", "")).rpartition(" of ")[2]
    text = page.paragraph(
        f"The figures are of {numbers.counted(int(table['n'].iloc[0]), 'test recording')} whose groups no training has seen.",
        f"The saved classifier is the {best}" + (f", from {members}" if members else "") + "." if best else "",
        "Intervals hold 90 % of bootstrap resamples of whole groups.",
        _compare(results),
    )
    choice = page.paragraph(str(results.get("saved classifier", "")))
    columns = [tables.Column("classifier", "Classifier"), *(tables.Column(name, title, "interval", explanation=why) for name, title, why in _FIGURES)]
    return page.join(text, choice, tables.table(table, columns, caption="All figures are between 0 and 1; higher is better."))


def _compare(results):
    network, baseline = results.get("network: macro_auc"), results.get("logistic regression: macro_auc")
    if not (answer.is_interval(network) and answer.is_interval(baseline)):
        return ""
    if network[1] > baseline[2]:
        return "The network is clearly better than logistic regression, the baseline."
    if baseline[1] > network[2]:
        return "Logistic regression, the baseline, is clearly better than the network: the network has too little data."
    return "The intervals of the network and of logistic regression, the baseline, overlap: on these recordings neither is shown to be better."


def _per_species(run):
    table = run.read("07_classify", "per_species.csv").rename(columns={"species": "label"})
    table["name"] = [run.name(label) for label in table["label"]]
    classes, ensemble = run.read_or_none("07_classify", "classes.json"), run.read_or_none("07_classify", "ensemble.json") or {}
    if isinstance(classes, list) and len(ensemble.get("thresholds", ())) == len(classes):
        table["threshold"] = table["label"].map(dict(zip(map(str, classes), ensemble["thresholds"], strict=True)))
    trained = run.splits[run.splits["split"] == "train"]["species"].astype(str).value_counts()
    table["n_train"] = table["label"].map(trained).fillna(0).astype(int)
    columns = [
        tables.Column("name", "Species"), tables.Column("label", "Label"), tables.Column("n_train", "Train", "count", explanation="rows in training"), tables.Column("n_positives", "Test", "count", explanation="rows in test"),
        tables.Column("average_precision", "AP", "share", explanation="average precision: how many of the best-scored recordings are of the species"),
        tables.Column("roc_auc", "ROC-AUC", "share", explanation="0.5 is chance"), tables.Column("precision", "Precision", "share", explanation="at the threshold"),
        tables.Column("recall", "Recall", "share", explanation="at the threshold"), tables.Column("threshold", "Threshold", "number", explanation="score above which the species counts as present, chosen on validation"),
    ]  # fmt: skip
    return page.join(
        page.heading("Each species"),
        page.paragraph(*_weak_species(table)),
        tables.table(table, tables.distinct(table, columns), filter_label="Filter species", page_rows=25, caption="A dash: no test recording, so nothing can be said. Press a head to sort."),
    )


def _weak_species(table):
    known = table[table["n_positives"] > 0]
    if not len(known):
        return ["No species has a test recording."]
    weakest = known.sort_values("average_precision").head(3)
    named = [f"{row.name} (AP {numbers.number(row.average_precision)}, {numbers.counted(row.n_positives, 'test row')})" for row in weakest.itertuples(index=False)]
    text = [f"The weakest are {numbers.listing(named)}."]
    few = int((known["n_positives"] < _FEW_ROWS).sum())
    if few:
        text.append(f"{numbers.number(few, 0)} of {numbers.counted(len(known), 'species', 'species')} with test rows have fewer than {_FEW_ROWS}: one recording more or less changes their figures a lot.")
    missing = len(table) - len(known)
    if missing:
        text.append(f"{numbers.counted(missing, 'species has', 'species have')} no test recording.")
    return text


def _confusion(run):
    predictions = run.read("07_classify", "predictions.parquet")
    classes = [str(name) for name in run.read("07_classify", "classes.json")]
    test = predictions[(predictions["split"] == "test") & ~predictions["is_repeated"].astype(bool)]
    truth = test["species"].astype(str).to_numpy()
    known = np.isin(truth, classes)
    test, truth = test[known], truth[known]
    if not len(test):
        return None
    predicted = np.asarray(classes)[test[classes].to_numpy(float).argmax(axis=1)]
    counts = pd.crosstab(pd.Series(truth, name="true"), pd.Series(predicted, name="predicted"))
    wrong = counts.stack()
    wrong = wrong[(wrong > 0) & (wrong.index.get_level_values(0) != wrong.index.get_level_values(1))].sort_values(ascending=False, kind="stable")
    shown = _most_confused(classes, counts, wrong)
    matrix = counts.reindex(index=shown, columns=shown, fill_value=0).to_numpy()
    names = run.unique_names(shown)
    drawn = charts.heat_map(matrix, names, names, row_label="true species", column_label="first guess", tooltip="true: <b>@row</b><br>guessed: <b>@column</b><br>@text recordings", colour=charts.SECOND, diagonal_colour=charts.ACCENT)
    return page.join(page.heading("What is confused"), charts.chart(drawn, f"Confusion of {len(shown)} species", _confusion_caption(run, wrong, classes, shown), min_width=220 + 28 * len(shown)), _pairs(run, wrong))


def _most_confused(classes, counts, wrong):
    if len(classes) <= _CONFUSED_SHOWN:
        return classes
    chosen = []
    for pair in wrong.index:
        chosen += [label for label in pair if label not in chosen]
        if len(chosen) >= _CONFUSED_SHOWN:
            break
    frequent = counts.sum(axis=1).sort_values(ascending=False, kind="stable").index
    chosen += [label for label in frequent if label not in chosen][: max(_CONFUSED_SHOWN - len(chosen), 0)]
    return [label for label in classes if label in set(chosen[:_CONFUSED_SHOWN])]


def _confusion_caption(run, wrong, classes, shown):
    text = "Green on the diagonal: the first guess is right; orange: it is wrong. "
    if len(shown) < len(classes):
        text = f"The {len(shown)} species with most confusion of {numbers.number(len(classes), 0)}. {text}"
    if not len(wrong):
        return f"{text}No test recording was confused."
    (true, guess), n = wrong.index[0], int(wrong.iloc[0])
    worst = f"Most often {run.name(true)} is taken for {run.name(guess)} ({numbers.counted(n, 'recording')})" if n > 1 else "No pair is confused more than once"
    return f"{text}{worst}. A column with many entries is a species that is guessed too readily: its recordings may share a background."


def _pairs(run, wrong):
    if len(wrong) < 2:
        return None
    table = pd.DataFrame({"true": [run.name(true) for true, _ in wrong.index], "guess": [run.name(guess) for _, guess in wrong.index], "n": wrong.to_numpy()})
    columns = [tables.Column("true", "True species"), tables.Column("guess", "First guess"), tables.Column("n", "Recordings", "count")]
    return page.details("Confused pairs as a table", tables.table(table, columns, filter_label="Filter species", page_rows=12, max_rows=500))


def _ablation(run):
    table = run.read("07_classify", "ablation.parquet")
    table = table[table["rows"] == (_TEST if (table["rows"] == _TEST).any() else "test")] if len(table) else table
    if not len(table):
        return None
    text = page.paragraph(
        "Each line is the same training with one thing changed; the difference in macro ROC-AUC to the training that it is compared with, and its paired interval.",
        _ablation_sentence(table),
    )
    compared = table[[bool(against) and np.isfinite(difference[0]) for against, difference in zip(table["against"], table["difference"], strict=True)]]
    parts = [page.heading("What each part of the recipe is worth"), text]
    if len(compared):
        values = np.array([list(difference) for difference in compared["difference"]], float)
        names = [f"{part}: {name}" for part, name in zip(compared["part"], compared["name"], strict=True)]
        details = [f"compared with {against}: {verdict}" for against, verdict in zip(compared["against"], compared["verdict"], strict=True)]
        drawn = charts.intervals(
            names, *values.T, label="difference in macro ROC-AUC", reference=0.0, colour_of=[_VERDICTS.get(v, charts.NEUTRAL) for v in compared["verdict"]], details=details,
        )  # fmt: skip
        caption = "Right of the dashed line is better. Green helps, red hurts, grey: the interval holds zero, so no difference was seen on these recordings; that is not the same as no difference."
        parts.append(charts.chart(drawn, "Differences of the ablation with intervals", caption))
    columns = [
        tables.Column("part", "Part"), tables.Column("name", "Training"), tables.Column("macro_auc", "Macro ROC-AUC", "interval"), tables.Column("f1_micro", "F1, micro", "interval"),
        tables.Column("difference", "Difference", "interval", n_decimals=3), tables.Column("against", "Compared with"), tables.Column("verdict", "Verdict"),
        tables.Column("training_s", "Training", "seconds"), tables.Column("note", "Note"),
    ]  # fmt: skip
    has_notes = "note" in table and table["note"].astype(str).str.strip().replace("None", "").any()
    return page.join(*parts, page.details("All trainings as a table", tables.table(table, columns if has_notes else columns[:-1], page_rows=25)))


def _ablation_sentence(table):
    found = {verdict: [str(name).lstrip("+ ") for name in table["name"][table["verdict"] == verdict]] for verdict in ("helps", "hurts", "no difference seen")}
    said = [f"{numbers.listing(names)} {'helps' if len(names) == 1 else 'help'}" for names in [found["helps"]] if names]
    said += [f"{numbers.listing(names)} {'hurts' if len(names) == 1 else 'hurt'}" for names in [found["hurts"]] if names]
    said += [f"no difference is seen for {numbers.listing(names, 8)}" for names in [found["no difference seen"]] if names]
    return f"Here {'; '.join(said)}." if said else ""


def _calibration(run):
    table = run.read("07_classify", "calibration.csv")
    errors = run.results("07_classify").get("calibration error")
    if not len(table):
        return None
    drawn = charts.new_figure(height=340, x_axis_label="predicted probability", y_axis_label="share that is right", tools="hover", toolbar_location=None, x_range=(0, 1), y_range=(0, 1))
    drawn.hover.tooltips = "predicted @predicted{0.00}, observed @observed{0.00} [@low{0.00}, @high{0.00}], @n scores"
    drawn.line([0, 1], [0, 1], line_color=charts.NEUTRAL, line_dash="dashed", line_width=1.5)
    for of, colour in (("scores", charts.SECOND), ("probabilities", charts.ACCENT)):
        rows = table[table["of"] == of]
        data = {"predicted": rows["predicted"], "observed": rows["observed"], "low": rows["observed_low"], "high": rows["observed_high"], "n": rows["n"]}
        data["size"] = np.clip(5 + 3 * np.log10(np.maximum(rows["n"], 1)), 6, 16)
        drawn.segment("predicted", "low", "predicted", "high", source=data, line_color=colour, line_alpha=0.4, line_width=2, legend_label=of)
        drawn.line("predicted", "observed", source=data, line_color=colour, line_width=2, legend_label=of)
        drawn.scatter("predicted", "observed", source=data, size="size", fill_color=colour, line_color=None, legend_label=of)
    charts.legend_above(drawn)
    verdict = ""
    if isinstance(errors, dict) and {"scores", "probabilities"} <= errors.keys():
        before, after = errors["scores"], errors["probabilities"]
        verdict = f"Calibration changes the expected error from {numbers.number(before, 3)} to {numbers.number(after, 3)}" + (". " if after <= before else ", which is worse: there are too few validation recordings to learn it from. ")
    caption = f"{verdict}On the dashed line a probability of 0.8 is right in 80 % of cases. Points below it are too sure, above it too cautious; a larger point stands for more scores, and a long line for few."
    return page.join(page.heading("Can the probabilities be believed?"), charts.chart(drawn, "Reliability of scores and probabilities", caption))


_PARTS = (
    ("The figures of the classifiers", _figures), ("The table of species", _per_species), ("The confusion", _confusion), ("The ablation", _ablation), ("The calibration", _calibration),
)  # fmt: skip
