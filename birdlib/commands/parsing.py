"""The parser of the command line: help that teaches by example, errors that name the nearest word and where the examples are."""

import argparse
import difflib
import itertools
import os
import shlex
import shutil
import sys
import textwrap

PROGRAM = "python -m birdlib"


class Parser(argparse.ArgumentParser):
    """A parser with examples.

    ``examples`` are lines behind ``python -m birdlib``, with a comment behind ``#`` where it helps: ``"nearest photo.jpg -n 3  # the three nearest"``.
    ``commands.add_parser(name, examples=[...])`` makes one, since sub-parsers have the class of their parent.
    """

    def __init__(self, *arguments, examples=(), **settings):
        settings.setdefault("formatter_class", _HelpFormatter)
        super().__init__(*arguments, **settings)
        self.examples = [f"{PROGRAM} {line}" for line in examples]
        if self.examples:
            self.epilog = "\n".join(["examples:", *(f"  {line}" for line in self.examples), *([self.epilog] if self.epilog else [])])

    def parse_known_args(self, args=None, namespace=None):
        """As in argparse; an unknown option of a command is an error of that command, which knows its own."""
        for word in itertools.takewhile(lambda word: word != "--", args or () if self._subparsers is None else ()):
            if self._looks_like_an_option(word) and os.path.lexists(word):
                self.error(f"{word} is no option: write ./{word} for the file of this name")
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            options = [word for word in unknown if word.startswith("-")]
            self.error("; ".join(map(self._unknown, options or unknown)))
        return namespace, unknown

    def _looks_like_an_option(self, word):
        return word.startswith("-") and word not in self._option_string_actions and not self._negative_number_matcher.match(word)

    def _unknown(self, word):
        if not word.startswith("-"):
            return f"{shlex.quote(word)} is one word too many: names with a space stand in quotation marks"
        near = nearest(word.split("=")[0], self._option_string_actions)
        return f"{word} is no option" + (f": did you mean {near}?" if near else "")

    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            near = nearest(value, map(str, action.choices))
            remedy = f"did you mean {near}?" if near else f"choose {', '.join(map(str, action.choices))}"
            raise argparse.ArgumentError(action, f"{value!r} is unknown: {remedy}")

    def error(self, message):
        """End with status 2, the usage, what is wrong, and where the examples are."""
        self.print_usage(sys.stderr)
        self.exit(2, f"\nbirdlib: {message}\nExamples: {self.prog} --help\n")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Wraps a text of one line; keeps the lines of others."""

    def _fill_text(self, text, width, indent):
        return super()._fill_text(text if "\n" in text else textwrap.fill(text, width), width, indent)


def nearest(word, words):
    """The word that a mistyped one is nearest to; empty if none is near."""
    return next(iter(difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)), "")


def add_commands(parser, metavar="COMMAND", is_listed=True):
    """The action of argparse whose ``add_parser`` adds commands to a parser. Without a command the parser's help is shown.

    ``is_listed`` False leaves them out of argparse's own list.
    """

    def show_help(_options):
        parser.print_help()
        return 0

    parser.set_defaults(command=show_help)
    return parser.add_subparsers(prog=parser.prog, metavar=metavar, help=None if is_listed else argparse.SUPPRESS)


def overview(commands, groups):
    """Help by example.

    Args:
        commands: of ``add_commands``.
        groups: {title: names of commands}.

    Returns:
        text: under each title the commands with what they do and their first example.
    """
    what = {action.dest: action.help for action in commands._choices_actions}
    width = 4 + max(map(len, what))
    columns = min(shutil.get_terminal_size().columns - 2, 120)
    lines = []
    for title, names in groups.items():
        lines += ["", f"{title}:"]
        for name in names:
            lines += textwrap.wrap(what[name], columns, initial_indent=f"  {name}".ljust(width), subsequent_indent=" " * width)
            lines += [f"{'':<{width}}$ {line.split('  #')[0]}" for line in commands.choices[name].examples[:1]]
    return "\n".join(lines)
