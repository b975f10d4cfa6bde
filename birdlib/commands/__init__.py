"""The commands of ``python -m birdlib``: a module a group, whose ``add(commands)`` adds its parsers."""
