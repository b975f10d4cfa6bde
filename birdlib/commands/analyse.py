"""The command ``analyse``: species over time, and counts, for recordings and films of one's own."""

from birdlib import runtime
from birdlib.commands import arguments


def add(commands):
    """Add ``analyse``."""
    analyse = commands.add_parser(
        "analyse",
        help="list the species in recordings and films over time, count the birds of films, and write a page",
        description="List the species in recordings and films over time, and count the birds of films. A run that was stopped goes on with the same "
        "command; one that is finished computes only new and changed files.",
        examples=[
            "analyse my_recordings",
            "analyse dawn.wav film.mp4 'night/*.flac' --model birdnet",
            "analyse my_recordings --model birdnet --lat 50.98 --lon 11.32 --week 18  # only species expected there then",
            "analyse my_recordings --to raven,audacity --output may_2026",
            "analyse my_recordings --min-confidence 0.5 --overlap 1.5 --jobs 4",
        ],
    )
    analyse.add_argument("paths", nargs="+", metavar="PATH", help="a recording, a film, a folder with all its folders, or a pattern such as 'site_*/*.wav'")
    analyse.add_argument("--model", default="", metavar="MODEL", help="a folder of stage 07, birdnet, perch or perch_v2 (default: outputs/07_classify where it is finished, else birdnet)")
    analyse.add_argument("--min-confidence", type=arguments.number, metavar="P", help="least probability, or score of a model without calibration, 0.01 to 0.99 (default: the thresholds of stage 07; else 0.25)")
    analyse.add_argument("--overlap", type=arguments.number, default=0.0, metavar="SECONDS", help="overlap of consecutive windows (default: 0)")
    analyse.add_argument("--lat", type=arguments.number, metavar="DEGREES", help="latitude, south negative: BirdNET's location model leaves out species that are not expected there (default: as in the files)")
    analyse.add_argument("--lon", type=arguments.number, metavar="DEGREES", help="longitude, west negative (default: as in the files)")
    analyse.add_argument("--week", type=arguments.whole, metavar="N", help="week 1 to 48, four a month; -1 is the whole year (default: by the date of each file, else the whole year)")
    analyse.add_argument("--min-occurrence", type=arguments.number, metavar="P", help="a species below is not expected (default: 0.03)")
    analyse.add_argument("--no-location", action="store_true", help="do not use the location in the files")
    analyse.add_argument("--no-count", action="store_true", help="do not count the birds of films")
    merging = analyse.add_mutually_exclusive_group()
    merging.add_argument("--merge-gap", type=arguments.at_least(0.0), default=0.0, metavar="SECONDS", help="join detections of a species that lie at most this far apart (default: 0, those that touch)")
    merging.add_argument("--no-merge", action="store_true", help="a row for each window")
    analyse.add_argument("--output", default="analysis", metavar="DIR", help="where tables and page are written (default: analysis)")
    analyse.add_argument("--overwrite", action="store_true", help="replace an analysis of other files or settings in that folder")
    analyse.add_argument("--to", default="", metavar="FORMATS", help="write these formats too, with commas between: raven, audacity, birdnet, kaleidoscope, jsonl, ... (default: none)")
    page = analyse.add_mutually_exclusive_group()
    page.add_argument("--html", dest="html", action="store_true", default=True, help="write report.html (default)")
    page.add_argument("--no-html", dest="html", action="store_false", help="write no page")
    analyse.add_argument("--jobs", type=arguments.at_least(1), default=None, metavar="N", help="processes, each with one thread (default: the number of cores); results are the same")
    arguments.add_outputs(analyse, "the stages have written: 07 for the model, 09 for counts")
    analyse.set_defaults(command=_analyse)


def _analyse(options):
    from birdlib.analysis import engine, inputs, models, summary

    if options.to:
        from birdlib.data import formats

        formats.require_known(runtime.names(options.to))
    inputs.require(options.paths)
    with arguments.hidden_library_messages():
        model, why = models.choose(options.model, options.outputs)
        print(f"Model: {why}")
        for name, licence in model.licences.items():
            print(f"Licence of {name}: {licence}")
        settings = _settings(engine, model, options)
        print(summary.describe_settings(settings), flush=True)
        analysis = engine.run(
            options.paths, options.output, settings, to=options.to, n_jobs=options.jobs or -1, overwrite=options.overwrite, outputs_dir=options.outputs
        )
        page = _page(analysis) if options.html and len(analysis.files) else None
    print(f"\n{summary.describe(analysis)}\n\nTables: {analysis.folder}")
    if options.to:
        names = runtime.names(options.to)
        written = [name for name in names if (analysis.folder / name).is_dir()]
        if written:
            print(f"Formats: {', '.join(str(analysis.folder / name) for name in written)}")
        if len(written) < len(names):
            print(f"Not written, as no birds were tracked in films: {', '.join(name for name in names if name not in written)}")
    if page:
        print(f"Page: {page}")
    return 0 if len(analysis.files) else 1


def _settings(engine, model, options):
    others = {} if options.min_occurrence is None else {"min_occurrence": options.min_occurrence}
    return engine.settings_of(
        model, min_confidence=options.min_confidence, overlap_s=options.overlap, latitude=options.lat, longitude=options.lon, week=options.week,
        use_location=not options.no_location, gap_s=-1.0 if options.no_merge else options.merge_gap, count=not options.no_count, **others,
    )  # fmt: skip


def _page(analysis):
    from birdlib.reports import analysis_page

    return analysis_page.write(analysis.folder)
