"""The command ``run``: the notebooks in order."""

from pathlib import Path

from birdlib import parallel, runtime


def add(commands):
    """Add ``run``."""
    run = commands.add_parser(
        "run",
        help="run the notebooks in order: train, measure, count, and write a report; current stages are skipped",
        description="Run the notebooks in order on the synthetic sample, a manifest, or a folder laid out as BirdCLEF. Current stages are skipped; "
        "a killed run resumes with the same command.",
        examples=[
            "run --manifest my_recordings.csv --outputs my_outputs",
            "run  # the synthetic sample, 13 minutes on two cores",
            "run --data birdclef-2025",
            "run --from 03  # begin there; --only 07 runs one notebook",
            "run -p policy=soften -p seed=1  # parameters of the notebooks",
            "run --engine dask --address tcp://127.0.0.1:8786  # work over files goes to the workers of a cluster",
            "run --recipe triplet-vgg16  # a published recipe, into outputs/recipes/triplet-vgg16",
        ],
    )
    source = run.add_mutually_exclusive_group()
    source.add_argument(
        "--manifest", metavar="FILE", help="CSV table of your recordings (default: the synthetic sample)"
    )
    source.add_argument("--data", metavar="DIR", help="a folder laid out as BirdCLEF of any year")
    run.add_argument("--recipe", default="", metavar="NAME", help="a published recipe: its notebooks with its parameters; the command recipes lists them (default: none)")
    run.add_argument("--outputs", metavar="DIR", help="where the stages write (default: outputs; with a recipe outputs/recipes/NAME)")
    part = run.add_mutually_exclusive_group()
    part.add_argument("--from", dest="first", default="", metavar="NN", help="begin with this notebook (default: 00)")
    part.add_argument("--only", default="", metavar="NN", help="run this notebook alone (default: all)")
    run.add_argument(
        "-p",
        dest="given",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter in the notebooks that have it; may be repeated (default: as in their parameters cells)",
    )
    run.add_argument(
        "--engine", default="", choices=list(parallel.ENGINES), help="where work over files is done: an engine that is running (default: processes of this machine)"
    )
    run.add_argument("--address", default="", metavar="ADDRESS", help="of the engine: Dask's scheduler, Ray's head, the master of Spark (default: none)")
    run.add_argument("--force", action="store_true", help="run current stages, too")
    run.set_defaults(command=_run)


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
    outputs = options.outputs or ("outputs" if not options.recipe else str(Path("outputs", "recipes", options.recipe)))
    with parallel.on_engine(options.engine, options.address):
        runner.run(outputs, options.first, options.only, given, options.force, options.recipe)
    print(Path(outputs) / "report.html")
    return 0
