"""The sound of a run: human voices, noise, and what cleaning did to the recordings."""

import numpy as np
import pandas as pd

from birdlib.reports import charts, media, numbers, page, players, tables
from birdlib.reports.sections import answer

_POLICIES = {"remove": "cut out", "soften": "made quiet", "keep": "kept"}
_NOISY_DB, _VOICES_HEARD, _VOICE_S = 10.0, 10, 2.5
_SHELF = "voices"


def body(run):
    """HTML of the section."""
    recordings = run.read("02_clean", "recordings.parquet")
    charts_of = page.element("div", page.part("The signal", _signal, recordings), page.part("The durations", _durations, recordings), class_="columns")
    rest = (("The voices", _voices, run, recordings), ("The example", _example, run, recordings), ("The noisiest recordings", _worst, recordings))
    return page.join(page.part("The summary", _summary, run, recordings), charts_of, *(page.part(*row) for row in rest))


def _summary(run, recordings):
    results = run.results("02_clean")
    silent = int(recordings["is_silent"].sum())
    rates = recordings["sample_rate_hz"].value_counts()
    text = [
        f"{numbers.counted(len(recordings), 'recording')}, {numbers.duration(float(recordings['duration_s'].sum()))} of sound, mostly at {numbers.number(rates.index[0] / 1000, 1, 'kHz')}.",
        f"{numbers.counted(silent, 'is', 'are')} silent and not used further." if silent else "No recording is silent.",
    ]
    bird_score = results.get("bird score inside the speech")
    if results.get("recordings with speech") and isinstance(bird_score, float):
        text.append(
            f"Where a voice was found, YAMNet's score for birds is {numbers.number(bird_score)}: "
            + ("birds sing beneath the voices, and cutting them out loses song. Consider the policy soften." if bird_score > 0.5 else "little song is lost with the voices.")
        )
    return page.paragraph(*text)


def _signal(recordings):
    snr = recordings["snr_db"].to_numpy(float)
    noisy = int(np.sum(snr < _NOISY_DB))
    caption = (
        f"Signal above background; the median is {numbers.number(float(np.nanmedian(snr)), 0, 'dB')}. "
        f"{numbers.counted(noisy, 'recording lies', 'recordings lie')} left of the dashed line at {_NOISY_DB:.0f} dB, where soft song is masked by noise"
        + (": listen to them before you trust their labels." if noisy else ".")
    )
    return charts.chart(charts.histogram(snr, label="signal-to-noise ratio (dB)", marks=[_NOISY_DB]), "Histogram of signal-to-noise ratios", caption)


def _durations(recordings):
    durations = recordings["duration_s"].to_numpy(float)
    long = float(durations.max())
    values, label = (durations / 60, "duration (min)") if long > 600 else (durations, "duration (s)")
    caption = (
        f"From {numbers.duration(float(durations.min()))} to {numbers.duration(long)}; half are longer than {numbers.duration(float(np.median(durations)))}. "
        "A peak at the right end means that recordings were cut at a fixed length."
    )
    return charts.chart(charts.histogram(values, label=label, colour=charts.PALETTE[2]), "Histogram of the durations of the recordings", caption)


def _voices(run, recordings):
    spoken = recordings[recordings["speech_s"] > 0]
    title = page.heading("Human voices")
    if not len(spoken):
        return page.join(title, page.paragraph("No human voice was found."))
    policy = _POLICIES.get(str(spoken["policy"].iloc[0]), str(spoken["policy"].iloc[0]))
    text = page.paragraph(
        f"{numbers.counted(len(spoken), 'recording has', 'recordings have')} a human voice, {numbers.duration(float(spoken['speech_s'].sum()))} in all; it was {policy}.",
        "Play them: a bird that was taken for a voice means that the threshold is too low.",
    )
    segments = run.read_or_none("02_clean", "segments.parquet")
    if segments is None or not len(segments):
        return page.join(title, text)
    table = segments.merge(run.splits[["recording_id", "species", "audio_path"]].astype(str), on="recording_id", how="left")
    table["species"] = [run.name(label) for label in table["species"].fillna("")]
    table["duration_s"] = table["end_s"] - table["start_s"]
    sounds = {str(i): media.sound_uri(_sound(run, row)) for i, row in enumerate(table.head(_VOICES_HEARD).itertuples())}
    sounds = {name: uri for name, uri in sounds.items() if uri}
    table["play"] = [tables.play_button(_SHELF, str(i), f"the voice in {row.recording_id}") if str(i) in sounds else "" for i, row in enumerate(table.itertuples())]
    shown = tables.table(
        table,
        [tables.Column("play", "Play", "html"), tables.Column("recording_id", "Recording"), tables.Column("species", "Species"),
         tables.Column("start_s", "From", "number", "s", 1), tables.Column("end_s", "To", "number", "s", 1), tables.Column("duration_s", "Length", "number", "s", 1)],
        caption="Parts with a human voice" + (f"; the first {len(sounds)} can be played." if len(sounds) < len(table) and sounds else "."),
        filter_label="Filter recordings", page_rows=12,
    )  # fmt: skip
    return page.join(title, text, shown, page.script_data(sounds, _SHELF) if sounds else None)


def _sound(run, row):
    path = run.recording(row.audio_path) if isinstance(row.audio_path, str) else None
    return media.snippet(path, _VOICE_S, row.start_s, row.end_s, loudest=False) if path else None


def _example(run, recordings):
    """A recording with a voice, as it was recorded, with the voice marked; else the recording with the best signal."""
    segments = run.read_or_none("02_clean", "segments.parquet")
    has_voice = segments is not None and len(segments) > 0
    chosen = segments.groupby("recording_id")["end_s"].max().idxmax() if has_voice else recordings.loc[recordings["snr_db"].idxmax(), "recording_id"]
    rows = run.splits.loc[run.splits["recording_id"] == chosen]
    path = run.recording(rows["audio_path"].iloc[0]) if len(rows) else None
    if path is None:
        return None
    spans = segments[segments["recording_id"] == chosen] if has_voice else segments.head(0) if segments is not None else pd.DataFrame(columns=["start_s", "end_s"])
    spans = spans.assign(species="human voice")
    start_s = max(0.0, float(spans["start_s"].min()) - 6.0) if has_voice else 0.0
    species = run.name(rows["species"].iloc[0])
    shown = players.player(path, spans, start_s, start_s + 20.0, title=f"{species}, {chosen}")
    caption = "The recording as it was made. " + ("The marked part is the voice that stage 02 found; song should lie outside it." if has_voice else "It has the best signal above background of all.")
    return page.join(page.heading("An example"), page.figure(page.markup(shown), caption)) if shown else None


def _worst(recordings):
    table = recordings.sort_values("snr_db").head(200)
    columns = [
        tables.Column("recording_id", "Recording"), tables.Column("duration_s", "Duration", "number", "s", 1), tables.Column("snr_db", "Signal above background", "number", "dB", 0),
        tables.Column("noise_floor_db", "Background", "number", "dBFS", 0), tables.Column("clipped_share", "Clipped", "number", "", 4), tables.Column("speech_s", "Voice", "number", "s", 1),
        tables.Column("note", "Note"),
    ]  # fmt: skip
    return page.details(
        page.join("The noisiest recordings ", answer.strong(f"({numbers.number(len(table), 0)})")),
        tables.table(table, columns if "note" in table and (table["note"] != "").any() else columns[:-1], filter_label="Filter recordings", page_rows=12, caption="Those with the weakest signal first."),
    )
