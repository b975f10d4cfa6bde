"""The command ``identify``: the species in photos of your own."""

from birdlib.commands import arguments


def add(commands):
    """Add ``identify``."""
    parser = commands.add_parser(
        "identify",
        help="list the most probable species of photos",
        description="List the most probable species of photos, by the classifier of stage 04; it knows the species it was trained on, and no others.",
        examples=["identify photo.jpg", "identify photos/*.jpg -n 1 --outputs my_outputs"],
    )
    parser.add_argument("photo", nargs="+", metavar="PHOTO", help="a photo of any kind and size")
    arguments.add_outputs(parser, "stage 04 has written")
    parser.add_argument("-n", type=arguments.at_least(1), default=3, metavar="N", help="number of species for each photo (default: 3)")
    parser.set_defaults(command=_identify)


def _identify(options):
    from birdlib.multimodal import photo_classifier

    with arguments.hidden_library_messages():
        classifier = photo_classifier.load(options.outputs)
        table = photo_classifier.identify(options.photo, classifier, options.n)
    print(table.round(3).to_string(index=False))
    return 0
