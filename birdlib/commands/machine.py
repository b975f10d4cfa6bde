"""The commands ``weights`` and ``bench``: what this machine has, and how fast it is."""

import sys


def add(commands):
    """Add ``weights`` and ``bench``."""
    weights = commands.add_parser(
        "weights",
        help="list the pretrained weights: where found, licence, size, sha256",
        description="List the pretrained weights: where they are found, their licence, size (MB) and sha256.",
        examples=["weights", "weights --fetch"],
    )
    weights.add_argument("--fetch", action="store_true", help="download the missing ones")
    weights.set_defaults(command=_weights)

    bench = commands.add_parser(
        "bench",
        help="measure the speed of a stage against a plain implementation",
        description="Measure the speed of a stage on this machine, against a plain implementation.",
        examples=["bench embed", "bench video"],
    )
    bench.add_argument("what", choices=["embed", "clean", "triplet", "video"], help="the stage: embed (03), clean (02), triplet (04) or video (09)")
    bench.set_defaults(command=_bench)


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
