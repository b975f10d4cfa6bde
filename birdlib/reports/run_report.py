"""The report of a run: one HTML file with the answer, the overview, and a tab for each part of the story, which opens offline from a mail."""

import time
from pathlib import Path

import birdlib
from birdlib import runtime
from birdlib.reports import media, numbers, overview, page, players, run_files
from birdlib.reports.sections import (
    answer,
    data,
    embedding,
    individuals,
    method,
    sound,
    soundscapes,
    species,
    submission,
)
from birdlib.video import images

_OVERVIEW_PIXELS = 1320
_SECTIONS = (  # id, title, stages of which one has to be finished, function
    ("data", "Data", ("01_split",), data.body),
    ("sound", "Sound", ("02_clean",), sound.body),
    ("species", "Species", ("07_classify",), species.body),
    ("photos-and-sound", "Photos + sound", ("04_triplet", "05_match"), embedding.body),
    ("soundscapes", "Soundscapes", ("08_submit", "06_pseudolabel"), soundscapes.body),
    ("individuals", "Individuals", ("09_count",), individuals.body),
    ("submission", "Submission", ("08_submit",), submission.body),
    ("method", "Method", (), method.body),
)


def write(outputs, left_out=None):
    """Write ``report.html`` into the outputs folder from the receipts and files of the stages.

    Stages that have not run, were left out or are of another version are said to be so in their sections; the others are shown.

    Args:
        outputs: folder of the stages.
        left_out: {stage: why it did not run}.

    Returns:
        Path of the report.
    """
    run = run_files.Run(outputs, left_out)
    lead = page.join(page.part("The answer", answer.sentences, run), page.part("The key figures", answer.cards, run), page.part("The overview", _picture, run))
    sections = [_section(run, *row) for row in _SECTIONS]
    title, subtitle = _title(run), _subtitle(run)
    text = page.render(
        title, sections, subtitle=subtitle, lead=lead, styles=("report.css", players.STYLE), scripts=(players.SCRIPT,),
        footer="One file, complete without a network. Intervals hold 90 % of bootstrap resamples unless it is said otherwise.",
    )  # fmt: skip
    return page.write(Path(outputs) / "report.html", text)


def _section(run, section_id, title, names, make):
    if names and not any(run.is_finished(name) for name in names):
        text = page.join(*(page.note(run.why_missing(name)) for name in names))
        return page.Section(section_id, title, page.join(text, page.paragraph("The other parts of this page are complete without it.")))
    return page.section(section_id, title, make, run)


def _picture(run):
    path = overview.write(run.outputs, run)
    if path is None:
        return None
    smaller = media.webp(images.read_image(path), _OVERVIEW_PIXELS, quality=72)
    shown = page.picture(smaller, "Three pictures: species over the spectrogram of a soundscape, photos and sounds in one embedding space, a frame of an annotated film", "image/webp")
    return page.figure(shown, "The run at a glance. Each part has its own tab below, with sound and figures.", class_="overview")


def _title(run):
    return "birdlib report" if run.root is None else f"birdlib report: {runtime.printable(run.root.name)}"


def _subtitle(run):
    recipe = f", recipe {run.recipe['name']}" if run.recipe else ""
    return f"{time.strftime('%d %B %Y, %H:%M')}, birdlib {birdlib.__version__}, {numbers.counted(len(run.receipts), 'stage')} finished{recipe}"
