"""The method of an analysis in its page: model and licence, settings, what confidence is, versions, how to cite."""

from birdlib.reports import numbers, page

_WORDS = {
    "min_confidence": "least confidence", "overlap_s": "overlap of windows, s", "latitude": "latitude", "longitude": "longitude", "week": "week of the year (1 to 48)",
    "gap_s": "gap that is bridged, s", "window_s": "length of a window, s", "hop_s": "step of windows, s",
}  # fmt: skip


def setting(analysis, name):
    """A setting of ``analysis.json``, or None."""
    settings = analysis.about.get("settings")
    return settings.get(name) if isinstance(settings, dict) else None


def line(analysis):
    """One line on what was computed when."""
    model = _text(_model(analysis).get("name") or setting(analysis, "model"))
    date = _text(analysis.about.get("finished_at") or analysis.about.get("written_at"))[:10]
    return " · ".join(part for part in (f"model {model}" if model else "", date) if part)


def footer(analysis):
    """Last line of the page."""
    version = analysis.about.get("versions", {}).get("birdlib", "")
    return f"Written by birdlib {version}. The tables are beside this page.".replace("  ", " ").replace(" .", ".")


def body(analysis):
    """HTML of the method."""
    return page.join(_model_part(analysis), _settings_part(analysis), _words_part(analysis), _versions_part(analysis))


def _model(analysis):
    model = analysis.about.get("model")
    return model if isinstance(model, dict) else {"name": model} if model else {}


def _model_part(analysis):
    rows = [(key.replace("_", " "), _text(value)) for key, value in _model(analysis).items() if _text(value)]
    licence = _text(analysis.about.get("licence"))
    rows += [("licence", licence)] if licence and "licence" not in dict(rows) else []
    return page.join(page.heading("Model"), _list(rows)) if rows else None


def _settings_part(analysis):
    settings = analysis.about.get("settings")
    rows = [(_WORDS.get(name, name.replace("_", " ")), _text(value)) for name, value in settings.items()] if isinstance(settings, dict) else []
    return page.join(page.heading("Settings"), _list([row for row in rows if row[1]])) if rows else None


def _words_part(analysis):
    return page.join(
        page.heading("How to read the numbers"),
        page.paragraph(
            "A detection is a span of time in which the model found a species in consecutive windows.",
            "Its confidence is that of the best window.",
            "The band of a box is where most energy of that span lies; it may be that of another bird or of wind.",
        ),
        page.paragraph(
            "Spectrograms show levels above the background of their own part, from 0.1 to 12 kHz on the mel scale; black is the loudest, white the background.",
            "Sound is a 48 kbit/s MP3 up to 12 kHz, and quiet recordings are played louder than they are, by up to 18 dB: for measurements use the files.",
        ),
        page.paragraph(
            "Activity is the share of the recorded time in which a species was detected.",
            "It depends on how far the species can be heard, so it compares times and sites of one species better than species with each other.",
        ),
    )


def _versions_part(analysis):
    versions = analysis.about.get("versions")
    if not isinstance(versions, dict) or not versions:
        return None
    rows = [(name, _text(version)) for name, version in versions.items()]
    citation = _text(analysis.about.get("citation")) or _text(_model(analysis).get("citation"))
    cited = page.join(page.heading("Citation"), page.paragraph(citation)) if citation else None
    return page.join(cited, page.details("Versions of the software", _list(rows)))


def _list(rows):
    return page.element("dl", *(page.join(page.element("dt", term), page.element("dd", value)) for term, value in rows))


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
    return numbers.number(value, 3).rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
