"""Facts about the command line."""

import argparse
import os
import re
import shlex
import subprocess
import sys

import pytest

from birdlib import __main__, runtime
from birdlib.commands import parsing

TALK = """
import os, sys
from birdlib import runtime
from birdlib.commands import arguments
with arguments.hidden_library_messages():
    os.write(2, b"a note, ")
    print("a warning,", file=sys.stderr)
os.write(2, b"later, ")
try:
    with arguments.hidden_library_messages():
        os.write(2, b"of bad input, ")
        raise runtime.BirdlibError
except runtime.BirdlibError:
    with arguments.hidden_library_messages():
        os.write(2, b"of a crash")
        raise SystemError
"""


def subparsers(parser):
    """The parsers of the commands of a parser, by name."""
    return next((action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)), {})


def all_parsers(parser, words=()):
    """(words of the command, parser), also of actions of commands."""
    for name, inner in subparsers(parser).items():
        yield (*words, name), inner
        yield from all_parsers(inner, (*words, name))


PARSERS = {" ".join(words): parser for words, parser in all_parsers(__main__._parser())}
every_command = pytest.mark.parametrize("name", PARSERS)


def test_without_a_command_the_help_is_shown(capsys):
    assert __main__.main([]) == 0
    shown = capsys.readouterr().out
    titles = re.findall(r"(?m)^(\S.*):$", shown)
    assert list(__main__._GROUPS) == titles[: len(__main__._GROUPS)]
    for name in subparsers(__main__._parser()):
        assert re.search(rf"(?m)^  {name}  +\S.*(\n {{6,}}[^$\s].*)*\n +\$ python -m birdlib {name}\b", shown), name


def test_without_an_action_the_help_of_the_command_is_shown(capsys):
    assert __main__.main(["gallery"]) == 0
    assert "list the known birds" in capsys.readouterr().out


@every_command
def test_help_has_examples_that_parse(name):
    parser = PARSERS[name]
    assert parser.examples
    for line in parser.examples:
        assert line in parser.format_help()
        words = shlex.split(line.removeprefix(f"{parsing.PROGRAM} "), comments=True)
        assert " ".join(words).startswith(name)
        __main__._parser().parse_args(words)


@every_command
def test_help_says_what_every_argument_is_and_its_default(name):
    for action in PARSERS[name]._actions:
        assert action.help or action.choices == subparsers(PARSERS[name]), f"{action.dest} has no help"
        takes_a_value = action.option_strings and action.nargs != 0
        if takes_a_value and not action.required and action.help is not argparse.SUPPRESS:
            assert "default" in action.help or action in alternatives(PARSERS[name]), f"{action.dest} has no default in its help"
            if isinstance(action.default, int | float) and not isinstance(action.default, bool) and action.default > 0:
                assert f"{action.default:g}" in action.help, f"{action.dest}: another default than {action.default}"


def alternatives(parser):
    """Arguments that exclude each other."""
    return [action for group in parser._mutually_exclusive_groups for action in group._group_actions]


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("nearst photo.jpg", "'nearst' is unknown: did you mean nearest?"),
        ("xyz", "'xyz' is unknown: choose "),
        ("gallery mach a.mp4", "'mach' is unknown: did you mean match?"),
        ("bench audoi", "'audoi' is unknown: did you mean audio?"),
        ("nearest a.wav --ouputs out", "--ouputs is no option: did you mean --outputs?"),
        ("run --xyz=3", "--xyz=3 is no option"),
        ("match my film.mp4 song.wav", "song.wav is one word too many: names with a space stand in quotation marks"),
        ("nearest", "the following arguments are required: FILE"),
        ("run --from", "expected one argument"),
    ],
)
def test_errors_name_the_nearest_word_and_where_examples_are(line, remedy, capsys):
    with pytest.raises(SystemExit) as ended:
        __main__.main(line.split())
    shown = capsys.readouterr().err
    known = [word for word in line.split()[:1] if word in PARSERS]
    assert ended.value.code == 2 and f"birdlib: {remedy}" in re.sub(r"argument \S+: ", "", shown)
    assert f"Examples: {' '.join([parsing.PROGRAM, *known])} --help\n" in shown


def test_messages_of_libraries_are_shown_only_at_a_crash():
    done = subprocess.run([sys.executable, "-c", TALK], cwd=runtime.repository(), capture_output=True, text=True)
    assert done.stdout == "" and done.stderr.startswith("a warning,\nlater, of a crashTraceback")


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path):
    """As with a Python outside the environment."""
    (tmp_path / "pandas.py").write_text("raise ModuleNotFoundError('No module named pandas', name='pandas')")
    command = [sys.executable, "-m", "birdlib", "manifest", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{runtime.repository()}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "has no package pandas" in done.stderr and "-m pip install -r" in done.stderr


def test_a_file_whose_name_begins_like_an_option_has_a_remedy(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-dawn.wav").touch()
    for line in ("analyse -dawn.wav", "nearest a.wav -dawn.wav"):
        with pytest.raises(SystemExit):
            __main__.main(line.split())
        assert "birdlib: -dawn.wav is no option: write ./-dawn.wav for the file of this name" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["analyse a.wav --lat 50,9", "analyse a.wav --min-confidence half", "analyse a.wav --merge-gap 0,5", "export --to raven --min-confidence 0,5"])
def test_numbers_are_written_with_a_point(line, capsys):
    with pytest.raises(SystemExit):
        __main__.main(line.split())
    assert f"'{line.split()[-1]}' is no number: write it with a point, such as 0.5" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "error"), [
    ("nearest a.wav -n -3", "-3 is below 1"), ("nearest a.wav -n 0", "0 is below 1"), ("nearest a.wav -n x", "'x' is no whole number"),
    ("rehearse --files 0", "0 is below 1"), ("rehearse --budget-min nan", "nan is below 0.01"), ("gallery add ada a.mp4 --bird 0", "0 is below 1"),
    ("export --to raven --min-confidence 50", "50 is above 1"), ("analyse a.wav --week x", "'x' is no whole number"),
])  # fmt: skip
def test_numbers_that_make_no_sense_are_refused_by_the_command_line(arguments, error, capsys):
    with pytest.raises(SystemExit):
        __main__.main(arguments.split())
    assert error in capsys.readouterr().err
