"""The command ``gallery``: individuals with names."""

from pathlib import Path

from birdlib import runtime
from birdlib.commands import arguments, parsing


def add(commands):
    """Add ``gallery`` with its actions ``add``, ``list`` and ``match``."""
    gallery = commands.add_parser(
        "gallery",
        help="recognise known individuals in films and photos",
        description="Recognise known individuals in films and photos, by the detector and encoder of stage 09.",
        examples=['gallery add "red ring" film.mp4', "gallery list", "gallery match other.mp4"],
    )
    actions = parsing.add_commands(gallery, "ACTION")
    add = actions.add_parser(
        "add", help="add films and photos of one bird under its name", description="Add films and photos of one bird under its name.",
        examples=['gallery add "red ring" film.mp4', "gallery add ada pair.mp4 --bird 2"],
    )  # fmt: skip
    add.add_argument("name", metavar="NAME", help="the name of the bird")
    add.add_argument("--bird", type=arguments.at_least(1), metavar="N", help="number of the bird in each file, from 1 (default: a file has one bird)")
    listing = actions.add_parser("list", help="list the known birds", description="List the known birds.", examples=["gallery list"])
    match = actions.add_parser(
        "match", help="identify the birds in films and photos, or report them as new",
        description="Identify the birds in films and photos as known ones, or report them as new.", examples=["gallery match other.mp4 photo.jpg"],
    )  # fmt: skip
    match.add_argument(
        "--false-accept", type=float, default=0.05, metavar="SHARE",
        help="share of unknown birds that may be identified as a known one (default: 0.05)",
    )  # fmt: skip
    for action, command in ((add, _gallery_add), (listing, _gallery_list), (match, _gallery_match)):
        if action is not listing:
            action.add_argument("files", nargs="+", metavar="FILE", help="a film or a photo")
        arguments.add_outputs(action, "stage 09 has written")
        action.add_argument("--gallery", default="", metavar="DIR", help="the gallery's folder (default: known_birds in the outputs folder)")
        action.set_defaults(command=command)


def _gallery_add(options):
    from birdlib.individuals import gallery as individuals_gallery

    with arguments.hidden_library_messages():
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
    with arguments.hidden_library_messages():
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
