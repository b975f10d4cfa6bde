"""The command ``weights``: which pretrained weights this machine has."""

import sys


def add(commands):
    """Add ``weights``."""
    weights = commands.add_parser(
        "weights",
        help="list the pretrained weights: where found, licence, size, sha256",
        description="List the pretrained weights: where they are found, their licence, size (MB) and sha256.",
        examples=["weights", "weights --fetch"],
    )
    weights.add_argument("--fetch", action="store_true", help="download the missing ones")
    weights.set_defaults(command=_weights)


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
