"""Digests of the modules that a notebook imports: changed code makes the stages stale that use it.

Only what is executed counts: comments, docstrings and layout do not.
"""

import ast
import functools
import hashlib
from pathlib import Path

from birdlib import runtime

_PACKAGE = "birdlib."  # not the root itself, which imports what people call from Python


def of_notebook(notebook):
    """Digests of all modules of birdlib that a notebook imports, directly or through others.

    Args:
        notebook: path of an ``.ipynb``.

    Returns:
        {module, such as ``birdlib.audio.io``: hex digest}, sorted; {} if there is no such notebook.
    """
    notebook = Path(notebook)
    if not notebook.is_file():
        return {}
    cells = ["".join(cell["source"]) for cell in runtime.read_json(notebook)["cells"] if cell["cell_type"] == "code"]
    found, todo = {}, {module for cell in cells for module in _imports(_parse(cell))}
    while todo:
        module = todo.pop()
        found[module], imported = _read(*_version(_path(module)))
        todo |= imported - found.keys()
    return dict(sorted(found.items()))


def changed(before, now):
    """The first module, in the order of names, that was added, removed or changed between two results of ``of_notebook``; ``""`` if none."""
    return next((module for module in sorted({*before, *now}) if before.get(module) != now.get(module)), "")


def _version(path):
    found = path.stat()
    return path, found.st_mtime_ns, found.st_size


@functools.cache
def _read(path, modified_ns, size):
    """(digest, modules of birdlib that it imports) of a module's file; the other arguments tell its versions apart."""
    tree = _parse(path.read_text(encoding="utf-8"))
    imported = _imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16], imported


def _parse(source):
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]  # commands of a notebook
    return ast.parse("\n".join(lines))


def _imports(tree):
    """Names of the modules of birdlib that are imported anywhere in a tree."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.startswith(_PACKAGE) and _path(name)}


def _path(module):
    """The file of a module of birdlib; None where a name is no module."""
    base = Path(__file__).parent.joinpath(*module.split(".")[1:])
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)
