"""birdlib: which species, which individual, how many; from sound, photos and video. Import the module you need."""

__version__ = "0.2.0"


def analyse(
    paths, model="", *, min_confidence=None, overlap_s=0.0, latitude=None, longitude=None, week=None, output=None, n_jobs=-1, gap_s=0.0,
    count=None, to=(), html=None, overwrite=False, outputs_dir="outputs", weights_dir="", use_location=True, min_occurrence=0.03,
):  # fmt: skip
    """Detect species in recordings and the soundtracks of films, as ``python -m birdlib analyse`` does.

    Args:
        paths: a file, a folder (with all folders in it), a glob pattern, or a list of them.
        model: a folder of stage 07, ``"birdnet"``, ``"perch"`` or ``"perch_v2"``; ``""``: that in ``outputs_dir`` where stage 07 is finished,
            else BirdNET, whose weights are CC BY-NC-SA 4.0.
        min_confidence: least probability (or score, of a model without calibration), 0.01 to 0.99; None: the thresholds of stage 07,
            0.25 for the others.
        overlap_s: seconds by which consecutive windows overlap.
        latitude, longitude, week: BirdNET's location model then leaves out species not expected there; week 1 to 48, -1: the whole year, None: by
            the date of each file. Without them the location that a file states is used, unless ``use_location`` is False.
        output: folder for tables and page, which makes a run resumable; None: a temporary one, which is removed, and neither films are counted
            nor a page is written.
        n_jobs: processes; -1: as many as there are cores. It changes no result.
        gap_s: detections of a species that lie at most this far apart are joined; negative: a row for each window.
        count: whether birds of films are counted; None: if there is an output folder.
        to: names of formats to write too, see ``birdlib.data.formats``.
        html: whether a page is written; None: if there is an output folder.
        overwrite: whether an analysis of other files or settings in ``output`` is replaced.
        outputs_dir: where the stages have written.
        weights_dir: as in ``models.weights.find``.
        min_occurrence: of the location model, below which a species is not expected.

    Returns:
        DataFrame of ``birdlib.analysis.detections.COLUMNS``: a row a detection, with times in seconds and frequencies in Hz.

    Raises:
        birdlib.runtime.BirdlibError: for what cannot be used, with the remedy. Files that cannot be read raise nothing: they are
            rows of ``skipped.csv`` in ``output``.
    """
    from birdlib.analysis import engine

    has_folder = output is not None
    found = engine.analyse(
        paths, model, min_confidence=min_confidence, overlap_s=overlap_s, latitude=latitude, longitude=longitude, week=week, output=output,
        n_jobs=n_jobs, gap_s=gap_s, count=has_folder if count is None else count, to=to, overwrite=overwrite, outputs_dir=outputs_dir,
        weights_dir=weights_dir, use_location=use_location, min_occurrence=min_occurrence,
    )  # fmt: skip
    if has_folder and html is not False:
        from birdlib.reports import analysis_page

        analysis_page.write(output)
    return found
