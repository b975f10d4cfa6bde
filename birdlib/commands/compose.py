"""The command ``compose``: soundscapes with known truth, mixed from real recordings."""

import shlex
from pathlib import Path

from birdlib import runtime
from birdlib.commands import arguments


def add(commands):
    """Add ``compose``."""
    parser = commands.add_parser(
        "compose", help="mix soundscapes with known truth from your recordings, as a BirdCLEF folder with train and test soundscapes",
        description="Mix soundscapes from real recordings, noise and voices, so that it is known which species sings when. Recordings in soundscapes are held apart from training by "
        "group, and those of test soundscapes from those of train soundscapes. It writes a folder in the layout of BirdCLEF+ 2026, with the truth beside it.",
        examples=[
            "compose --manifest my_recordings.csv --minutes 60 --output composed",
            "compose --manifest my_recordings.csv --minutes 60 --noise rain wind.ogg --speech voices --output composed  # files or folders",
        ],
    )  # fmt: skip
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--manifest", metavar="FILE", help="CSV table of your recordings")
    source.add_argument("--data", metavar="DIR", help="a folder laid out as BirdCLEF of any year")
    parser.add_argument("--output", required=True, metavar="DIR", help="the folder to write; it must not exist")
    parser.add_argument("--minutes", type=arguments.at_least(0.1), default=60.0, metavar="N", help="of all soundscapes (default: 60)")
    parser.add_argument("--soundscape-s", type=arguments.at_least(5.0), default=60.0, metavar="S", help="seconds of each soundscape (default: 60)")
    parser.add_argument("--noise", nargs="+", default=[], metavar="FILE", help="backgrounds, files or folders, best without your species (default: synthetic pink noise)")
    parser.add_argument("--speech", nargs="+", default=[], metavar="FILE", help="human voices, files or folders (default: none)")
    parser.add_argument("--test", type=arguments.at_least(0.0, 1.0), default=0.3, metavar="SHARE", help="share of the soundscapes that are for the test (default: 0.3)")
    parser.add_argument("--labelled", type=arguments.at_least(0.0, 1.0), default=0.1, metavar="SHARE", help="share of the train soundscapes with labels (default: 0.1)")
    parser.add_argument("--species", type=arguments.at_least(1.0), default=3.0, metavar="N", help="species in a soundscape, on average (default: 3)")
    parser.add_argument("--snr", type=arguments.number, nargs=2, default=(0.0, 20.0), metavar=("LOW", "HIGH"), help="level of birds over the background in their own frequencies, in dB (default: 0 20)")
    parser.add_argument("--sites", type=arguments.at_least(1), default=8, metavar="N", help="number of sites (default: 8)")
    parser.add_argument("--format", choices=("ogg", "flac"), default="ogg", help="of the soundscapes, at 32 kHz (default: ogg)")
    parser.add_argument("--seed", type=arguments.at_least(0), default=0, help="of all that is drawn at random (default: 0)")
    parser.set_defaults(command=_compose)


def _compose(options):
    from birdlib.data import birdclef, compose, composition_plan, manifest

    chosen = composition_plan.Options(
        minutes=options.minutes, soundscape_s=options.soundscape_s, test_share=options.test, labelled_share=options.labelled, n_species=options.species,
        snr_db=tuple(options.snr), n_sites=options.sites, suffix=options.format, seed=options.seed,
    )  # fmt: skip
    table, root = manifest.load(options.manifest) if options.manifest else birdclef.read(options.data)
    inputs = compose.Inputs(table, root, _sounds(options.noise, "--noise"), _sounds(options.speech, "--speech"), options.data or "")
    summary = compose.compose(inputs, options.output, chosen)
    for name in ("soundscapes", "minutes", "species", "species in soundscapes", "songs", "windows without birds", "recordings", "backgrounds", "skipped"):
        value = summary[name]
        print(f"{name:<24}{', '.join(f'{key}: {part}' for key, part in value.items()) if isinstance(value, dict) else value}")
    print(f"\n{Path(options.output)}\n\nNext: python -m birdlib run --data {shlex.quote(options.output)} --outputs {shlex.quote(options.output + '_outputs')}")
    return 0


def _sounds(names, option):
    """The sound files of files and folders, as a list of Path."""
    from birdlib import media_types

    paths = []
    for path in map(Path, names):
        if not path.exists():
            raise runtime.BirdlibError(f"{option}: there is no {path.absolute()}")
        found = media_types.list_media(path, media_types.WITH_SOUND, "**/*")[0] if path.is_dir() else [path]
        if not found:
            raise runtime.BirdlibError(f"{option}: {path} holds no sound files; give files, or a folder of them")
        paths += found
    return paths
