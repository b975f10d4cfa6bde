"""The commands ``nearest`` and ``match``: what belongs to a photo, a sound or a film."""

from birdlib.commands import arguments


def add(commands):
    """Add ``nearest`` and ``match``."""
    nearest = commands.add_parser(
        "nearest",
        help="list the recordings and photos most similar to a photo or a sound",
        description="List the recordings and photos of stage 04 that are most similar to a photo, a sound, or a photo and a sound of one bird.",
        examples=["nearest photo.jpg song.wav", "nearest song.wav -n 3 --outputs my_outputs"],
    )
    nearest.add_argument("query", nargs="+", metavar="FILE", help="a photo, a sound, or one of each of the same bird")
    arguments.add_outputs(nearest, "stage 04 has written")
    nearest.add_argument("-n", type=arguments.at_least(1), default=10, metavar="N", help="number of results (default: 10)")
    nearest.set_defaults(command=_nearest)

    match = commands.add_parser(
        "match",
        help="the probability that a film or photo and a sound are of the same bird species",
        description="The probability that a film or photo and a sound are of the same bird species, by the model of stage 05.",
        examples=["match film.mp4 song.wav", "match photo.jpg other_film.mp4  # the soundtrack of the film"],
    )
    match.add_argument("picture", metavar="VIDEO_OR_IMAGE", help="a film or a photo")
    match.add_argument("sound", metavar="AUDIO", help="a sound, or a film, of which the soundtrack is used")
    arguments.add_outputs(match, "stage 05 has written")
    match.set_defaults(command=_match)


def _nearest(options):
    from birdlib.multimodal import search

    with arguments.hidden_library_messages():
        table = search.find(options.query, options.outputs, options.n)
    print(table.round(3).to_string(index=False))
    return 0


def _match(options):
    from birdlib.multimodal import match_files

    with arguments.hidden_library_messages():
        probability, scenes, basis = match_files.match(options.picture, options.sound, options.outputs)
    print(f"probability that they match: {probability:.2f} (if half of all pairs match)\n{basis}\n\nThe scenes with the highest probability:")
    print(scenes.head(5).round(3).to_string(index=False))
    return 0
