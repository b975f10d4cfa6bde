"""The command line: ``python -m birdlib run | nearest | match | gallery | weights | bench | package | rehearse``."""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import birdlib
from birdlib import runtime

_EXAMPLES = """examples:
  python -m birdlib run --manifest my_recordings.csv --outputs my_outputs
  python -m birdlib nearest photo.jpg song.wav
  python -m birdlib match film.mp4 song.wav
  python -m birdlib gallery add "red ring" film.mp4
  python -m birdlib gallery match other.mp4
  python -m birdlib weights --fetch
  python -m birdlib bench embed
  python -m birdlib package --user my_name
  python -m birdlib rehearse --files 50
"""


def main(arguments=None):
    """Run one command; returns the exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # without TensorFlow's notices
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return options.command(options)
    except runtime.BirdlibError as error:
        print(f"\nbirdlib: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbirdlib: stopped; the same command resumes here", file=sys.stderr)
        return 130


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m birdlib", description="Which species, which individual, how many: recordings, photos and films of birds.",
        epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"birdlib {birdlib.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the notebooks in order; current stages are skipped")
    source = run.add_mutually_exclusive_group()
    source.add_argument(
        "--manifest", metavar="FILE", help="CSV table of your recordings (default: the synthetic sample)"
    )
    source.add_argument("--data", metavar="DIR", help="a folder laid out as BirdCLEF ships its data")
    run.add_argument("--outputs", default="outputs", metavar="DIR", help="where the stages write (default: outputs)")
    part = run.add_mutually_exclusive_group()
    part.add_argument("--from", dest="first", default="", metavar="NN", help="begin with this notebook")
    part.add_argument("--only", default="", metavar="NN", help="run this notebook alone")
    run.add_argument(
        "-p",
        dest="given",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter of the notebooks that have it",
    )
    run.add_argument("--force", action="store_true", help="run current stages, too")
    run.set_defaults(command=_run)

    nearest = commands.add_parser(
        "nearest", help="list the recordings and photos most similar to a photo or a sound"
    )
    nearest.add_argument("query", nargs="+", metavar="FILE", help="a photo, a sound, or one of each of the same bird")
    nearest.add_argument("--outputs", default="outputs", metavar="DIR", help="where stage 04 has written")
    nearest.add_argument("-n", type=_at_least(1), default=10, metavar="N", help="number of results (default: 10)")
    nearest.set_defaults(command=_nearest)

    match = commands.add_parser("match", help="the probability that a film or photo and a sound are of the same bird species")
    match.add_argument("picture", metavar="VIDEO_OR_IMAGE")
    match.add_argument("sound", metavar="AUDIO", help="a sound, or a film, of which the soundtrack is used")
    match.add_argument("--outputs", default="outputs", metavar="DIR", help="where stage 05 has written")
    match.set_defaults(command=_match)

    _add_gallery(commands)

    weights = commands.add_parser("weights", help="list the pretrained weights: where found, licence, size, sha256")
    weights.add_argument("--fetch", action="store_true", help="download the missing ones")
    weights.set_defaults(command=_weights)

    bench = commands.add_parser("bench", help="measure the speed of a stage against a plain implementation")
    bench.add_argument("what", choices=["embed", "clean", "triplet", "video"], help="the stage")
    bench.set_defaults(command=_bench)
    _add_kaggle(commands)
    return parser


def _at_least(smallest):
    """A type for argparse: a number that is not below ``smallest``; whole, if that is."""

    def number(text):
        value = type(smallest)(text)
        if not value >= smallest:  # NaN is not
            raise argparse.ArgumentTypeError(f"{text} is below {smallest}")
        return value

    number.__name__ = type(smallest).__name__
    return number


def _add_kaggle(commands):
    """The commands ``package`` and ``rehearse``."""
    package = commands.add_parser("package", help="write the folders to upload to Kaggle: code, models, wheels, submission notebook")
    package.add_argument("--outputs", default="outputs", metavar="DIR", help="where stage 07 has written")
    package.add_argument("--to", default="", metavar="DIR", help="target folder (default: kaggle in the outputs folder)")
    package.add_argument("--user", default="", help="your user name on Kaggle")
    package.add_argument("--competition", default="", metavar="NAME", help="the name in its URL (default: birdclef-2025)")
    package.add_argument("--no-wheels", action="store_true", help="without the wheels that Kaggle's image lacks")
    package.set_defaults(command=_package)

    rehearse = commands.add_parser("rehearse", help="run the packaged submission on a synthetic test set, without a network, and time it")
    rehearse.add_argument("--outputs", default="outputs", metavar="DIR", help="where stage 07 has written")
    rehearse.add_argument("--data", default="", metavar="DIR", help="folder with the soundscapes for the test set (default: that of stage 01)")
    rehearse.add_argument("--files", type=_at_least(1), default=700, metavar="N", help="number of files (default: 700)")
    for kind, what in (("corrupt", "are corrupt"), ("empty", "are empty"), ("short", "last 10 s"), ("long", "last 61 s")):
        rehearse.add_argument(f"--{kind}", type=_at_least(0), default=1, metavar="N", help=f"number of files that {what} (default: 1)")
    rehearse.add_argument("--budget-min", type=_at_least(0.01), default=90.0, metavar="MINUTES", help="time limit of the competition (default: 90)")
    rehearse.add_argument("--keep", action="store_true", help="keep the test set and the submission")
    rehearse.set_defaults(command=_rehearse)


def _add_gallery(commands):
    """The command ``gallery``: individuals with names."""
    gallery = commands.add_parser("gallery", help="recognise known individuals in films and photos")
    actions = gallery.add_subparsers(required=True, metavar="ACTION")
    add = actions.add_parser("add", help="add films and photos of one bird under its name")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--bird", type=_at_least(1), metavar="N", help="number of the bird in each file, from 1; not needed where a file has one bird")
    listing = actions.add_parser("list", help="list the known birds")
    match = actions.add_parser("match", help="identify the birds in films and photos, or report them as new")
    match.add_argument(
        "--false-accept", type=float, default=0.05, metavar="SHARE",
        help="share of unknown birds that may be identified as a known one (default: 0.05)",
    )  # fmt: skip
    for action, command in ((add, _gallery_add), (listing, _gallery_list), (match, _gallery_match)):
        if action is not listing:
            action.add_argument("files", nargs="+", metavar="FILE", help="a film or a photo")
        action.add_argument("--outputs", default="outputs", metavar="DIR", help="where stage 09 has written")
        action.add_argument("--gallery", default="", metavar="DIR", help="the gallery's folder (default: known_birds in the outputs folder)")
        action.set_defaults(command=command)


def _run(options):
    from birdlib.pipeline import runner

    given = {}
    for setting in options.given:
        name, equals, text = setting.partition("=")
        if not equals:
            raise runtime.BirdlibError(f"-p {setting}: write it as name=value")
        given[name] = text
    for name, path in (("manifest", options.manifest), ("data_dir", options.data)):
        if path and not Path(path).exists():
            raise runtime.BirdlibError(f"there is no {Path(path).absolute()}")
        if path:
            given[name] = path
    runner.run(options.outputs, options.first, options.only, given, options.force)
    print(Path(options.outputs) / "report.html")
    return 0


@contextlib.contextmanager
def _hidden_library_messages():
    """Hide messages of C libraries, such as TensorFlow's, on stderr; they are shown only if the command fails unexpectedly."""
    try:
        stderr = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    with tempfile.TemporaryFile() as messages, os.fdopen(stderr, "w", buffering=1) as shown, contextlib.ExitStack() as stack:
        sys.stderr.flush()
        if sys.stderr is sys.__stderr__:
            stack.enter_context(contextlib.redirect_stderr(shown))  # Python's own messages stay visible
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except Exception as error:
            if not isinstance(error, runtime.BirdlibError):
                messages.seek(0)
                shutil.copyfileobj(messages, shown.buffer)
            raise
        finally:
            shown.flush()
            os.dup2(stderr, 2)


def _nearest(options):
    from birdlib.multimodal import search

    with _hidden_library_messages():
        table = search.find(options.query, options.outputs, options.n)
    print(table.round(3).to_string(index=False))
    return 0


def _match(options):
    from birdlib.multimodal import match_files

    with _hidden_library_messages():
        probability, scenes, basis = match_files.match(options.picture, options.sound, options.outputs)
    print(f"probability that they match: {probability:.2f} (if half of all pairs match)\n{basis}\n\nThe scenes with the highest probability:")
    print(scenes.head(5).round(3).to_string(index=False))
    return 0


def _gallery_add(options):
    from birdlib.individuals import gallery as individuals_gallery

    with _hidden_library_messages():
        embed, key, _ = _birds_of_files(options)
        n = individuals_gallery.add_files(_gallery_folder(options), options.name, options.files, embed, key, options.bird)
    print(f"{options.name} has {n} sighting{'s' * (n > 1)} in the gallery")
    return 0


def _gallery_list(options):
    from birdlib.individuals import gallery as individuals_gallery

    print(individuals_gallery.list_birds(_gallery_folder(options)).to_string(index=False))
    return 0


def _gallery_match(options):
    from birdlib.individuals import gallery as individuals_gallery

    if not 0 < options.false_accept < 1:
        raise runtime.BirdlibError(f"--false-accept {options.false_accept}: give a share between 0 and 1")
    with _hidden_library_messages():
        embed, key, threshold = _birds_of_files(options)
        table = individuals_gallery.match_files(_gallery_folder(options), options.files, embed, key, options.false_accept, threshold)
    for path in options.files:
        if path not in set(table["path"]):
            print(f"{path}: no bird was detected")
    if len(table):
        columns = ["path", "bird", "name", "nearest", "distance", "threshold"]
        print(table[columns].replace({"name": {"": "(new)"}}).round(3).to_string(index=False))
        if table["false_accept"].notna().all():
            print(f"\nat most {table['false_accept'].max():.0%} of unknown birds are identified as a known one")
    return 0


def _gallery_folder(options):
    return Path(options.gallery) if options.gallery else Path(options.outputs) / "known_birds"


def _birds_of_files(options):
    """(function from a file to a vector for each bird in it, the key of its encoder, its equal-error threshold), of stage 09."""
    from birdlib.individuals import track_embeddings

    return track_embeddings.from_stage(options.outputs)


def _weights(options):
    from birdlib.models import weights

    missing = []
    for name in weights.MODELS if options.fetch else ():
        try:
            print(f"{name}: {weights.fetch(name).source}")
        except weights.MissingWeightsError as error:
            missing.append(str(error))
    print(weights.listing().to_string(index=False))
    if missing:
        print("\n".join(["", *missing]), file=sys.stderr)
    return 1 if missing else 0


def _bench(options):
    from birdlib.audio import cleaning
    from birdlib.audio import io as audio_io
    from birdlib.data import birdclef
    from birdlib.data.synthetic import sample
    from birdlib.models import yamnet_embedder
    from birdlib.pipeline import benchmarks, film_benchmarks

    if options.what == "embed":
        table = yamnet_embedder.benchmark()
    elif options.what == "clean":
        table = cleaning.benchmark(*audio_io.read(birdclef.soundscapes(sample.ensure(), "test")[0]))
    elif options.what == "video":
        table = film_benchmarks.measure()
    else:
        table = benchmarks.triplet()
    print(table.round(1).to_string(index=False))
    return 0


def _package(options):
    from birdlib.pipeline import kaggle

    to = Path(options.to) if options.to else Path(options.outputs) / "kaggle"
    table = kaggle.write(options.outputs, to, options.user, options.competition, not options.no_wheels)
    print(table.round(1).to_string(index=False))
    return 0


def _rehearse(options):
    from birdlib.pipeline import rehearsal

    odd = {kind: getattr(options, kind) for kind in ("corrupt", "empty", "short", "long")}
    report = rehearsal.run(options.outputs, options.files, options.budget_min, options.data, odd, options.keep)
    print(rehearsal.lines(report))
    print(Path(options.outputs) / "rehearsal" / "rehearsal.json")
    return 0 if report["projected_min"] <= report["budget_min"] else 1


if __name__ == "__main__":
    sys.exit(main())
