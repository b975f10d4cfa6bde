"""The commands ``package`` and ``rehearse``: a submission to Kaggle."""

from pathlib import Path

from birdlib.commands import arguments


def add(commands):
    """Add ``package`` and ``rehearse``."""
    package = commands.add_parser(
        "package",
        help="write the folders to upload to Kaggle: code, models, wheels, submission notebook",
        description="Write the folders to upload to Kaggle: code, models, wheels, and the notebook of the submission.",
        examples=["package --user my_name --competition birdclef-2025", "package --no-wheels  # without a network"],
    )
    arguments.add_outputs(package, "stage 07 has written")
    package.add_argument("--to", default="", metavar="DIR", help="target folder (default: kaggle in the outputs folder)")
    package.add_argument("--user", default="", help="your user name on Kaggle (default: that of the last time)")
    package.add_argument("--competition", default="", metavar="NAME", help="the name in its URL (default: that of the last time, else birdclef-2025)")
    package.add_argument("--no-wheels", action="store_true", help="without the wheels that Kaggle's image lacks")
    package.set_defaults(command=_package)

    rehearse = commands.add_parser(
        "rehearse",
        help="run the packaged submission on a synthetic test set, without a network, and time it",
        description="Run the packaged submission on a test set made of your soundscapes, without a network, and report time and memory.",
        examples=["rehearse --files 50", "rehearse --files 700 --budget-min 90  # the size of the competition"],
    )
    arguments.add_outputs(rehearse, "stage 07 has written")
    rehearse.add_argument("--data", default="", metavar="DIR", help="folder with the soundscapes for the test set (default: that of stage 01)")
    rehearse.add_argument("--files", type=arguments.at_least(1), default=700, metavar="N", help="number of files (default: 700)")
    for kind, what in (("corrupt", "are corrupt"), ("empty", "are empty"), ("short", "last 10 s"), ("long", "last 61 s")):
        rehearse.add_argument(f"--{kind}", type=arguments.at_least(0), default=1, metavar="N", help=f"number of files that {what} (default: 1)")
    rehearse.add_argument("--budget-min", type=arguments.at_least(0.01), default=90.0, metavar="MINUTES", help="time limit of the competition, in minutes (default: 90)")
    rehearse.add_argument("--keep", action="store_true", help="keep the test set and the submission")
    rehearse.set_defaults(command=_rehearse)


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
