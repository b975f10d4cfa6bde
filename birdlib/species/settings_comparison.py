"""What each setting of a submission changes, where the truth of soundscapes is known."""

import dataclasses

import numpy as np
import pandas as pd

from birdlib.metrics import bootstrap, resampled
from birdlib.species import ablation, soundscape_predictions
from birdlib.species import smoothing as species_smoothing

_N_DRAWS = 300  # of a bootstrap over soundscapes


def compare(files, members, config, truth, inference_config, postprocessing, rng):
    """What each setting changes where the truth is known: plain windows, each setting alone, those that are set one after the other, and all.

    Args:
        files, members, config: as in ``predict_all``; each file is predicted once more, and one that a member fails on is left out.
        truth: (windows, classes) of 0 and 1.
        inference_config, postprocessing: as set, ``time_budget.InferenceConfig`` and ``smoothing.Postprocessing``. A setting that is off is tried alone
            with a hop of half a window, shifts of a quarter of it, ``smoothing.SMOOTHING``, 1 highest window, or the cross-validated weight.
        rng: of the bootstrap over soundscapes.

    Returns:
        DataFrame: ``windows`` (in words), ``macro_auc`` and ``change`` from plain windows, both [value, low, high], and ``verdict`` of ``ablation``.
    """
    variants = _variants(files["windows"].iloc[0][0][1], inference_config, postprocessing)
    options = dict.fromkeys(option for option, _ in variants.values())
    found, is_predicted = _predict_options(files, members, config, inference_config, options)
    if not any(is_predicted):
        return pd.DataFrame(columns=["windows", "macro_auc", "change", "verdict"])
    truth, groups = truth[is_predicted], np.array(soundscape_predictions.row_ids(files)[1])[is_predicted]
    scores = {name: finish.apply(found[option], groups) for name, (option, finish) in variants.items()}
    rows, resampling = [], {"groups": groups, "n": _N_DRAWS, "rng": rng}
    for name, of_variant in scores.items():
        figure = bootstrap.interval(resampled.MACRO_ROC_AUC, truth, of_variant, **resampling)
        change = bootstrap.interval(resampled.MACRO_ROC_AUC_GAIN, truth, of_variant, scores["plain"], **resampling)
        rows.append((name, figure, change, "" if name == "plain" else ablation.verdict(change)))
    return pd.DataFrame(rows, columns=["windows", "macro_auc", "change", "verdict"])


def _variants(window_s, inference_config, finish):
    """{row of ``compare``: ((hop_s, shifts_s), Postprocessing)}."""
    hop_s, shifts_s, nothing = inference_config.hop_s, tuple(inference_config.shifts_s), species_smoothing.Postprocessing()
    prior = {"prior": finish.prior, "prior_weight": finish.prior_weight or (finish.prior.weight if finish.prior else 0.0)}
    top = {"n_top": finish.n_top or 1, "top_power": finish.top_power}
    alone = {
        "overlap": ((hop_s or window_s / 2, ()), nothing),
        "shifts": ((0.0, shifts_s or (-window_s / 4, window_s / 4)), nothing),
        "smoothing": ((0.0, ()), dataclasses.replace(nothing, smoothing=finish.smoothing or species_smoothing.SMOOTHING)),
        "TopN": ((0.0, ()), dataclasses.replace(nothing, **top)),
    }
    if prior["prior_weight"]:
        alone["site and hour"] = ((0.0, ()), dataclasses.replace(nothing, **prior))
    is_set = {"overlap": hop_s, "shifts": shifts_s, "smoothing": finish.smoothing, "TopN": finish.n_top, "site and hour": finish.prior_weight}
    variants = {"plain": ((0.0, ()), nothing)} | {f"+ {name}": variant for name, variant in alone.items()}
    steps = [name for name in alone if is_set[name]]
    for last in range(2, len(steps)):
        off = set(alone) - set(steps[:last])
        option = (0.0 if "overlap" in off else hop_s, () if "shifts" in off else shifts_s)
        changes = {"smoothing": {"smoothing": ()}, "TopN": {"n_top": 0}, "site and hour": {"prior_weight": 0.0}}
        fewer = {name: value for step in off for name, value in changes.get(step, {}).items()}
        variants["+ " + " + ".join(steps[:last])] = (option, dataclasses.replace(finish, **fewer))
    return variants | {"as set": ((hop_s, shifts_s), finish)}


def _predict_options(files, members, config, inference_config, options):
    """({(hop_s, shifts_s): (windows, classes)}, whether each window was predicted); spans that options share are predicted once."""
    scores, is_predicted = {option: [] for option in options}, []
    for row in files.itertuples():
        spans_of = {option: species_smoothing.spans(row.windows, *option) for option in options}
        spans = sorted({span for of_option, _ in spans_of.values() for span in of_option})
        found, failures = soundscape_predictions.predict_spans(row.path, row.soundscape, members, config, inference_config, spans)
        is_predicted += [not failures] * len(row.windows)
        if failures:
            continue
        index = {span: number for number, span in enumerate(spans)}
        for option, (of_option, weights) in spans_of.items():
            scores[option].append(weights @ found[[index[span] for span in of_option]])
    return {option: np.concatenate(parts) for option, parts in scores.items() if parts}, is_predicted


def describe(table):
    """A sentence about ``compare``: which settings helped or hurt."""
    if table.empty:
        return "The truth of these soundscapes is not known, so nothing is compared."
    text = [f"{verdict}: {', '.join(rows['windows'])}" for verdict, rows in table[table["verdict"] != ""].groupby("verdict", sort=False)]
    return "Against plain windows, " + "; ".join(text) + "." if text else "There are too few soundscapes to compare settings."
