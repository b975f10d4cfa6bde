"""The method of an analysis in its page: model and licence, settings, what confidence is, versions, how to cite."""

from birdlib.reports import numbers, page, tables

_MODELS = {
    "birdnet": ("BirdNET", "Kahl, Wood, Eibl and Klinck: BirdNET: A deep learning solution for avian diversity monitoring. Ecological Informatics 61 (2021), 101236."),
    "perch": ("Perch", "Ghani, Denton, Kahl and Klinck: Global birdsong embeddings enable superior transfer learning for bioacoustic classification. Scientific Reports 13 (2023), 22876."),
    "perch_v2": ("Perch 2", "Perch 2.0: The Bittern Lesson for Bioacoustics (2025), arXiv:2508.04665."),
    "classifier": ("the classifier of stage 07", ""),
}  # fmt: skip
_SETTINGS = {
    "min_confidence": "least confidence", "window_s": "windows (s)", "overlap_s": "overlap of windows (s)", "gap_s": "gaps that are bridged (s)", "latitude": "latitude (°)",
    "longitude": "longitude (°)", "week": "week of the year, 1 to 48", "use_location": "location stated by a file is used", "min_occurrence": "least value of the location model",
    "count": "birds of films are counted",
}  # fmt: skip
_MEANINGS = {f"week {numbers.number(-1, 0)}": "the whole year", "gap_s -1": "none: a detection is a window"}  # of values that stand for something else


def setting(analysis, name):
    """A setting of ``analysis.json``, or None."""
    settings = analysis.about.get("settings")
    return settings.get(name) if isinstance(settings, dict) else None


def line(analysis):
    """One line on what was computed when."""
    name = _model(analysis).get("name")
    return " · ".join(part for part in (f"computed by {_MODELS.get(name, (name,))[0]}" if name else "", _text(analysis.about.get("finished_at"))[:10]) if part)


def footer(analysis):
    """Last line of the page."""
    version = _text((analysis.about.get("versions") or {}).get("birdlib"))
    return f"Written by birdlib{f' {version}' if version else ''}. The tables that it names lie beside it."


def body(analysis):
    """HTML of the method."""
    return page.join(_model_part(analysis), _settings_part(analysis), _words_part(analysis), _versions_part(analysis))


def _model(analysis):
    model = analysis.about.get("model")
    return model if isinstance(model, dict) else {"name": model} if model else {}


def _model_part(analysis):
    model = _model(analysis)
    name, citation = _MODELS.get(model.get("name"), (_text(model.get("name")), ""))
    licences = model.get("licences") if isinstance(model.get("licences"), dict) else {}
    licence = "; ".join(f"{_MODELS.get(weights, (weights,))[0]}: {terms}" for weights, terms in licences.items()) or _text(analysis.about.get("licence"))
    rows = [("model", name), ("folder", _text(model.get("folder"))), ("species it knows", _text(model.get("n_species"))), ("licence of the weights", licence), ("to cite", citation)]
    rows = [row for row in rows if row[1]]
    terms = page.paragraph("NC in a licence: the weights, and what is trained on their output, are not for commercial use.") if "NC" in licence else None
    return page.join(page.heading("Model"), tables.description(rows), terms) if rows else None


def _settings_part(analysis):
    settings = analysis.about.get("settings")
    rows = [(_SETTINGS.get(name, name.replace("_", " ")), _MEANINGS.get(f"{name} {_text(value)}", _text(value))) for name, value in settings.items()] if isinstance(settings, dict) else []
    seconds = analysis.about.get("seconds")
    rows += [("time of computing, all processes", numbers.duration(seconds))] if isinstance(seconds, int | float) else []
    return page.join(page.heading("Settings"), tables.description([row for row in rows if row[1]])) if rows else None


def _words_part(analysis):
    return page.join(
        page.heading("How to read the numbers"),
        page.paragraph(
            "A detection is a span of time in which the model found a species in consecutive windows.",
            "Its confidence is that of the best window.",
            "The band of a box is where most energy of that span lies; it may be that of another bird or of wind.",
        ),
        page.paragraph(
            "Spectrograms show levels above the background of their own part, from 0.1 to 12 kHz on the mel scale; the stronger the line, the louder the sound.",
            "Sound is a 48 kbit/s MP3 up to 12 kHz, and quiet recordings are played louder than they are, by up to 18 dB: for measurements use the files.",
        ),
        page.paragraph(
            "Activity is the share of the recorded time in which a species was detected.",
            "It depends on how far the species can be heard, so it compares times and sites of one species better than species with each other.",
        ),
    )


def _versions_part(analysis):
    versions = analysis.about.get("versions")
    rows = [(name, _text(version)) for name, version in versions.items()] if isinstance(versions, dict) else []
    return page.details("Versions of the software", tables.description(rows)) if rows else None


def _text(value):
    """A value of the JSON as people write it: nothing for what is not set, lists with commas."""
    if value is None or value == "" or isinstance(value, float) and value != value:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, int):
        return numbers.number(value, 0)
    return f"{value:g}" if isinstance(value, float) else str(value)
