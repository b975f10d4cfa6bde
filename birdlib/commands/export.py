"""The command ``export``: what stages or an analysis wrote, in the formats of other programs."""

import sys
import warnings
from pathlib import Path

from birdlib import runtime
from birdlib.commands import arguments


def add(commands):
    """Add ``export``."""
    export = commands.add_parser(
        "export", help="write detections, pseudo-labels, human voices and tracks for Raven, Audacity, Kaleidoscope, CVAT and others",
        description="Write what the chain or an analysis found in the formats of other programs. Files that exist are kept.",
        examples=[
            "export --to raven,cvat  # all finished stages, into outputs/export",
            "export --to audacity --what voices --output voices",
            "export --to kaleidoscope,coco --analysis analysis",
        ],
    )  # fmt: skip
    export.add_argument("--to", required=True, metavar="FORMAT,...", help=f"formats, with commas between: {_NAMES}")
    source = export.add_mutually_exclusive_group()
    arguments.add_outputs(source)
    source.add_argument("--analysis", default="", metavar="DIR", help="where analyse has written, instead of stages")
    export.add_argument("--what", default="", metavar="SOURCE,...", help=f"of the stages: {', '.join(_SOURCES)} (default: those that are finished)")
    export.add_argument("--output", default="", metavar="DIR", help="target folder (default: export in the outputs folder, or the analysis folder)")
    export.add_argument("--min-confidence", type=arguments.at_least(0.0, 1.0), default=0.0, metavar="C", help="leave out detections below it (default: 0)")
    export.add_argument("--overwrite", action="store_true", help="replace files that exist")
    export.set_defaults(command=_export)


_NAMES = "raven, audacity, audacity-bands, birdnet, kaleidoscope, jsonl, csv (detections), mot, cvat (tracks), coco (tracks, boxes)"
_SOURCES = ("detections", "pseudo-labels", "voices", "tracks")


def _export(options):
    from birdlib.data import formats

    names = runtime.names(options.to)
    formats.require_known(names)
    given = _of_analysis(options, names) if options.analysis else _of_stages(options, names)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", runtime.FileWarning)
        n_kept = _write(given, names, options)
    for note in dict.fromkeys(str(note.message) for note in notes if issubclass(note.category, runtime.FileWarning)):
        print(f"note: {note}", file=sys.stderr)
    if n_kept:
        print(f"\n{_files(n_kept)} existed and {'was' if n_kept == 1 else 'were'} kept: give --overwrite to replace them, or another --output")
    return 0


def _write(given, names, options):
    """Write the tables; returns how many files existed and were kept."""
    from birdlib.data import formats

    n_kept = 0
    for what, (tables, folder) in given.items():
        if "detections" in tables:
            tables = {**tables, "detections": _confident(tables["detections"], options.min_confidence)}
        for name in names:
            if not formats.can_hold(name, tables):
                continue
            result = formats.write(tables, name, folder / name, options.overwrite)
            n_kept += len(result.kept)
            kept = f", {len(result.kept)} kept" if result.kept else ""
            print(f"{what} as {name}: {formats.summary(name, tables)}, {_files(len(result.written))} written{kept}: {folder / name}")
    return n_kept


def _of_stages(options, names):
    """{source: (its tables, target folder)} of the sources that the formats hold."""
    from birdlib.data import formats
    from birdlib.pipeline import stage_tables

    folder = Path(options.output or Path(options.outputs) / "export")
    asked = runtime.names(options.what)
    for source in asked:
        stage_tables.require_known(source)
    sources = asked or [source for source in stage_tables.SOURCES if stage_tables.is_finished(options.outputs, source)]
    fitting = {source: [name for name in names if formats.can_hold(name, {stage_tables.holds(source): ()})] for source in stage_tables.SOURCES}
    for name in names:
        wanted = [source for source, fits in fitting.items() if name in fits]
        if not set(wanted) & set(sources):
            if asked:
                raise runtime.ParameterError(f"--to {name} holds {' or '.join(wanted)}, and --what names {', '.join(asked)}: use {formats.listing(formats.NAMES)}")
            stage_tables.read(options.outputs, wanted[0])  # which says what to run
    return {source: (stage_tables.read(options.outputs, source), folder / source) for source in sources if fitting[source]}


def _of_analysis(options, names):
    from birdlib.data import formats
    from birdlib.pipeline import stage_tables

    if options.what:
        raise runtime.ParameterError("--what names stages, which an analysis has not: leave out --what, or give --outputs instead of --analysis")
    tables = stage_tables.of_analysis(options.analysis)
    for name in names:
        if not formats.can_hold(name, tables):
            raise runtime.ParameterError(f"--to {name} holds {formats.FORMATS[name].holds}, and {options.analysis} has {' and '.join(sorted(tables.keys() - {'files'}))}: use {formats.listing(formats.NAMES)}")
    return {"analysis": (tables, Path(options.output or options.analysis))}


def _confident(detections, min_confidence):
    from birdlib.data.formats import tables

    detections = tables.complete(detections, "detections")
    return detections[~(detections["confidence"] < min_confidence)].reset_index(drop=True)  # human voices have none


def _files(n):
    return f"{n} file{'s' * (n != 1)}"
