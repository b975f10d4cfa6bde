"""The command ``status``: which stages of a run are finished, stale or missing."""

from birdlib.commands import arguments


def add(commands):
    """Add ``status``."""
    status = commands.add_parser(
        "status",
        help="show which stages of a run are finished, stale or missing, why, and what they cost",
        description="Show for each stage of a run whether it is finished, stale or missing, and why, with its time, memory, disk and skipped files.",
        examples=["status", "status --outputs my_outputs"],
    )
    arguments.add_outputs(status)
    status.set_defaults(command=_status)


def _status(options):
    from birdlib.pipeline import status

    rows = status.table(options.outputs)
    shown = rows.assign(**{name: rows[name].map(lambda value: "" if value != value else f"{value:,.0f}") for name in ("seconds", "peak_mb", "disk_mb")})
    print(shown.to_string(index=False))
    print(status.describe(options.outputs, rows))
    return 0
