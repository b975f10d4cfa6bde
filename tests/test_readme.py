"""Facts about the README and the documents that it links to."""

import re

import pytest

from birdlib import __main__, runtime

ROOT = runtime.repository()
DOCUMENTS = ["README.md", "data/README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_files(name):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text_of(name))
    missing = [link for link in links if "://" not in link and not ((ROOT / name).parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_are_those_of_the_command_line(name):
    """Every ``python -m birdlib COMMAND`` is a command of the parser."""
    commands = set(re.findall(r"python -m birdlib ([a-z]+)", text_of(name)))
    parser = __main__._parser()
    assert commands <= set(parser._subparsers._group_actions[0].choices)


def test_the_readme_is_short():
    assert len(text_of("README.md").splitlines()) <= 120
