"""The command ``manifest``: a table of a folder of recordings, photos and films."""

from pathlib import Path

from birdlib import runtime
from birdlib.commands import arguments


def add(commands):
    """Add ``manifest``."""
    parser = commands.add_parser(
        "manifest", help="make a manifest of a folder: species folders, films, BirdCLEF, Xeno-Canto, Macaulay, iNaturalist, SSW60, CUB-200-2011",
        description="List the recordings, photos and films of a folder as a manifest, and guess which of them must stay together in a split.",
        examples=["manifest my_recordings", "manifest nest_box_films --species 'Parus major' --output films.csv"],
    )  # fmt: skip
    parser.add_argument("folder", metavar="FOLDER", help="the folder of the recordings")
    parser.add_argument("--output", default="manifest.csv", metavar="FILE", help="the table to write (default: manifest.csv); its paths are relative to it")
    parser.add_argument("--overwrite", action="store_true", help="replace the table if it exists")
    parser.add_argument("--layout", default="", metavar="NAME", help="read it as species-folders, films, birdclef, xeno-canto, macaulay, ssw60, cub, inaturalist, inaturalist-competition or annotations (default: guessed)")
    parser.add_argument("--names", choices=("scientific", "common"), default="scientific", help="which names are the labels, where both are known (default: scientific)")
    parser.add_argument("--species-level", type=arguments.at_least(0), default=0, metavar="N", help="the N-th folder below FOLDER names the species (default: guessed)")
    parser.add_argument("--species", default="", metavar="NAME", help="the species of files that no folder or table names (default: none)")
    parser.set_defaults(command=_manifest)


def _manifest(options):
    from birdlib.data.layouts import registry

    output = Path(options.output)
    if output.suffix.lower() != ".csv":
        raise runtime.BirdlibError(f"--output {output}: a manifest is a CSV table; give a name that ends in .csv")
    if output.is_dir():
        raise runtime.BirdlibError(f"--output {output} is a folder: give the name of the table, such as {output / 'manifest.csv'}")
    if output.exists() and not options.overwrite:
        raise runtime.BirdlibError(f"{output} exists and is kept: give --overwrite to replace it, or another --output")
    reading = registry.read(options.folder, options.layout, options.names, options.species_level, options.species)
    unplaced = registry.write(reading, output)
    print("\n".join(_layout_lines(reading, options.folder)))
    print()
    print("\n".join(_summary_lines(reading, unplaced)))
    print(f"\n{output}\n\nNext: python -m birdlib run --manifest {_quoted(output)} --outputs my_outputs")
    return 0


def _layout_lines(reading, folder):
    layouts = reading.layouts
    lines = [f"Layout of {folder}:" if len(layouts) == 1 else f"Layouts of {folder} (a file belongs to the one whose folder is nearest above it):"]
    lines += [f"- {row.layout} in {row.folder}: {row.why} ({row.rows} rows)" for row in layouts.itertuples()]
    if ((layouts["layout"] == "birdclef") & (layouts["folder"] == ".")).any():
        lines.append(f"Note: run --data {_quoted(folder)} reads it as it is, with its soundscapes without labels")
    return lines + [f"Note: {note}" for note in reading.notes]


def _summary_lines(reading, unplaced):
    from birdlib.data import splits
    from birdlib.data.layouts import registry

    table = reading.table
    counts = table.loc[table["species"] != "", "species"].value_counts()
    kinds = {kind: int((splits.kinds(table) == kind).sum()) for kind in ("sound", "photo", "video")}
    cells = [
        ("rows", str(len(table))),
        ("sounds, photos, films", f"{kinds['sound']}, {kinds['photo']}, {kinds['video']}"),
        ("species", str(len(counts))),
    ]
    if len(counts):
        cells.append(("rows per species", f"{counts.min()} to {counts.max()}, median {counts.median():g}"))
    if n_without := int((table["species"] == "").sum()):
        cells.append(("without species", f"{n_without} films, to be counted"))
    cells.append(("groups", str(table["group_id"].nunique())))
    ways = table["group_by"].value_counts()
    cells += [(f"  {n / len(table):.0%}", f"by {way}" if way != "each file alone" else _ALONE) for way, n in ways.items()]
    licences = table.loc[table["licence"] != "", "licence"].value_counts()
    if len(licences):
        more = f", and {len(licences) - 3} others" if len(licences) > 3 else ""
        cells.append(("licences", ", ".join(f"{licence} ({n})" for licence, n in licences.head(3).items()) + more))
    where = f" ({unplaced}): {registry.reasons_text(reading.unplaced)}" if unplaced else ""
    cells.append(("unplaced", f"{len(reading.unplaced)}{where}"))
    width = max(len(name) for name, _ in cells) + 2
    return [f"{name:<{width}}{text}" for name, text in cells]


_ALONE = "each file alone: write recordist + place + date into group_id where you know them, else scores are too optimistic"


def _quoted(path):
    return f'"{path}"' if " " in str(path) else str(path)
