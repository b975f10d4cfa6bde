"""The command line: ``python -m birdlib COMMAND``; the commands are in ``birdlib.commands``."""

import os
import sys

import birdlib
from birdlib import devices, runtime
from birdlib.commands import (
    analyse,
    bench,
    chain,
    compose,
    export,
    gallery,
    identify,
    kaggle,
    manifest,
    parsing,
    recipes,
    similarity,
    status,
    weights,
)

_GROUPS = {  # what people want: modules, each with the commands for it
    "answers for your own recordings": (analyse, identify, export),
    "train on your own recordings": (manifest, compose, chain, recipes, status),
    "explore what was learnt": (similarity, gallery),
    "submit to Kaggle": (kaggle,),
    "this machine": (weights, bench),
}


def main(arguments=None):
    """Run one command; returns the exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # without TensorFlow's notices
    devices.choose_backend()
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except runtime.BirdlibError as error:
        print(f"\nbirdlib: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "birdlib").split(".")[0] == "birdlib":
            raise
        install = f"{sys.executable} -m pip install -r {runtime.repository() / 'requirements.txt'}"
        print(f"\nbirdlib: {sys.executable} has no package {error.name}: use the Python of the environment (.venv/bin/python), or run\n{install}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbirdlib: stopped; the same command resumes here", file=sys.stderr)
        return 130


def _parser():
    parser = parsing.Parser(prog=parsing.PROGRAM, usage=f"{parsing.PROGRAM} COMMAND [options]")
    parser.add_argument("--version", action="version", version=f"birdlib {birdlib.__version__}")
    commands = parsing.add_commands(parser, is_listed=False)
    groups = {}
    for title, modules in _GROUPS.items():
        known = set(commands.choices)
        for module in modules:
            module.add(commands)
        groups[title] = [name for name in commands.choices if name not in known]
    parser.description = "Which species, which individual, how many: recordings, photos and films of birds.\n" + parsing.overview(commands, groups)
    parser.epilog = f"Options, defaults and examples of a command: {parsing.PROGRAM} COMMAND --help"
    return parser


if __name__ == "__main__":
    sys.exit(main())
