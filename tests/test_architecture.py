"""The import rule of the packages, and what every module owes its reader."""

import ast
import importlib

import pytest

from birdlib import runtime

ORDER = ("metrics", "losses", "models", "audio", "video", "data", "multimodal", "individuals", "species", "analysis", "reports", "pipeline", "commands")
FORBIDDEN = {("losses", "metrics"), ("species", "multimodal"), ("species", "individuals")}
HOME = runtime.repository() / "birdlib"
MODULES = sorted(HOME.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in MODULES}


def name_of(path):
    """``birdlib.audio.io`` of ``birdlib/audio/io.py``."""
    return ".".join(path.relative_to(HOME.parent).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(path) for path in MODULES}
every_module = pytest.mark.parametrize("path", MODULES, ids=name_of)


def imported(tree):
    """{local name: (module, name in it, or "" for the module itself)} of what a module imports of birdlib, anywhere in it."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "birdlib":
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                found[alias.asname or alias.name] = (module, "") if module in NAMES else (node.module, alias.name)
    return found


def package(module):
    """``data`` of ``birdlib.data.synthetic.sample``; empty for the root, which is open to all."""
    parts = module.split(".")
    return parts[1] if len(parts) > 2 or parts[-1] in ORDER else ""


def test_every_package_has_its_place_in_the_order():
    assert {path.name for path in HOME.iterdir() if (path / "__init__.py").is_file()} == set(ORDER)


@every_module
def test_a_package_imports_only_from_packages_to_its_left(path):
    mine = package(name_of(path))
    if name_of(path) in ("birdlib", "birdlib.__main__"):  # `birdlib.analyse` and the command line start everything
        return
    for module, _ in imported(TREES[path]).values():
        if other := package(module):
            assert mine and ORDER.index(other) <= ORDER.index(mine), f"{mine or 'the root'} imports {other}"
            assert (mine, other) not in FORBIDDEN, f"{mine} imports {other}"


def test_no_import_circles():
    imports = {name_of(path): {module for module, _ in imported(tree).values()} for path, tree in TREES.items()}
    imports = {name: modules - {"birdlib"} for name, modules in imports.items()}
    while free := {name for name, modules in imports.items() if not modules & imports.keys()}:
        imports = {name: modules for name, modules in imports.items() if name not in free}
    assert not imports


@every_module
def test_public_functions_have_docstrings(path):
    assert ast.get_docstring(TREES[path])
    for node in TREES[path].body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{name_of(path)}.{node.name}"


@every_module
def test_names_taken_from_other_modules_exist(path):
    """Names that are moved leave callers behind, which nobody notices where the call is rare, as in a benchmark."""
    tree = TREES[path]
    own = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    modules = {local: module for local, (module, name) in imported(tree).items() if not name and local not in own}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            module = importlib.import_module(modules[node.value.id])
            assert hasattr(module, node.attr), f"{name_of(path)}, line {node.lineno}: {module.__name__} has no {node.attr}"


CLASSES = [node for tree in TREES.values() for node in tree.body if isinstance(node, ast.ClassDef)]
FILE_ERRORS = {"FileError", "error"} | {node.name for node in CLASSES if any("FileError" in ast.unparse(base) for base in node.bases)}


@every_module
def test_errors_about_a_file_end_with_a_remedy(path):
    """``song.wav: is empty: copy it again``. The text of a value is not known here."""
    for node in ast.walk(TREES[path]):
        if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and len(node.exc.args) == 2):
            continue
        name, reason = ast.unparse(node.exc.func).split(".")[-1], node.exc.args[1]
        parts = reason.values if isinstance(reason, ast.JoinedStr) else [reason]
        if name in FILE_ERRORS and isinstance(parts[-1], ast.Constant):
            assert ": " in "".join(str(part.value) for part in parts if isinstance(part, ast.Constant)), f"line {node.lineno}: {ast.unparse(reason)}"


RUNS_CODE = {  # what runs code that a file or text holds, by the last names of a call
    "eval", "exec", "os.system", "os.popen", "joblib.load", "torch.load", "yaml.load", "saving.load_model", "models.load_model", "marshal.loads",
    "enable_unsafe_deserialization", "unpack_archive",
}  # fmt: skip
ALLOWED = {"birdlib.models.saved": {"saving.load_model"}}  # which has looked into the file
RUNS_CODE_WITH = {"allow_pickle": "True", "shell": "True", "safe_mode": "False", "weights_only": "False"}
PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "shelve", "marshal"}


@every_module
def test_nothing_that_is_opened_runs_code(path):
    """Tables, arrays and models only: a pickle runs code when it is opened, and so may models of others, archives and texts."""
    nodes = list(ast.walk(TREES[path]))
    modules = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {(node.module or "").split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not modules & PICKLES
    for call in (node for node in nodes if isinstance(node, ast.Call)):
        name = ".".join(ast.unparse(call.func).split(".")[-2:])
        assert name not in RUNS_CODE - ALLOWED.get(name_of(path), set()), f"line {call.lineno}: {name}"
        for keyword in call.keywords:
            assert RUNS_CODE_WITH.get(keyword.arg) != ast.unparse(keyword.value), f"line {call.lineno}: {name}({keyword.arg}=...)"
