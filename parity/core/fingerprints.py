"""What results depend on besides data and params: code, library versions, files of the user's.

The code of a stage is its module and every definition that it reaches by name. An imported
function, class or constant counts if code that counts uses it, even if the import is inside a
function. Comments, docstrings and layout do not count. A module that a string names, as the command
line of a child process does, counts as a whole.
"""

import ast
import hashlib
import re
import sys
import sysconfig
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

from parity.core.files import read_json_if_whole

ROOT = Path(__file__).parents[2]
PACKAGES = ("parity", "stages")
MODULE_NAME = re.compile(rf"\b(?:{'|'.join(PACKAGES)})(?:\.\w+)+")
FOLDER_NAME = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:/\w+)+")

# The distributions that an import stands for, of the libraries that can change a result. PyTorch's
# exporter loads onnxscript by itself.
DISTRIBUTIONS = {
    "cv2": ("opencv-python",),
    "jinja2": ("jinja2",),
    "matplotlib": ("matplotlib",),
    "numpy": ("numpy",),
    "onnx": ("onnx", "onnxscript"),
    "onnx_ir": ("onnx-ir",),
    "onnxruntime": ("onnxruntime",),
    "PIL": ("pillow",),
    "scipy": ("scipy",),
    "torch": ("torch", "torchvision"),
    "torchvision": ("torch", "torchvision"),
    "vl_convert": ("vl-convert-python",),
}

# Code that only validates or looks after files cannot change a result, since DVC compares the
# values of params.yaml themselves. Only the fingerprint of `check_params` includes it.
VALIDATION = {
    (f"{__package__}.{module}", name)
    for module, names in {
        "cli": ["last_outputs_left"],
        "params": ["Params", "load_params"],
        "places": ["Place", "check_inputs", "locked_places"],
        "written": ["note_written"],
    }.items()
    for name in names
}
VALIDATING = "check_params"

# A module, by its dotted name, and a definition in it; None for the module as a whole.
Target = tuple[str, str | None]


def fingerprint(module: str) -> dict[str, dict[str, str]]:
    """What the results of a module depend on.

    `code` has the digest of each definition that it reaches, as `module:name`, and `libraries` the
    version of each distribution. Raises FileNotFoundError where there is no such module.
    """
    code, imported = {}, set()
    done: set[Target] = set() if module.endswith(VALIDATING) else set(VALIDATION)
    todo: list[Target] = [(module, None)]
    while todo:
        target = todo.pop()
        if target in done:
            continue
        done.add(target)
        name, definition = target
        library = name.partition(".")[0]
        if library in DISTRIBUTIONS:
            imported.add(library)
        elif library in PACKAGES:
            for part in _module(name).parts(definition):
                code[f"{name}:{part.name}"] = part.digest
                code |= {file: digest(content) for file, content in part.files.items()}
                todo += part.targets | {(name, other) for other in part.local}
    names = {name for library in imported for name in DISTRIBUTIONS[library]}
    return {"code": dict(sorted(code.items())), "libraries": versions(names)}


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """The installed version of each distribution, sorted by name."""
    return {name: version(name) for name in sorted(distributions)}


def module_file(name: str) -> Path:
    """The file of a module of this project; of a package, its `__init__.py`."""
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


class _Part:
    """A top-level definition of a module: its name, the digest of its code, what it refers to."""

    def __init__(self, name: str, statements: list[ast.stmt], imported: dict[str, Target]) -> None:
        self.name = name
        self.digest = digest("\n".join(map(ast.unparse, statements)))[:16]
        self.local: set[str] = set()  # names of the same module
        self.targets: set[Target] = set()
        self.files: dict[str, bytes] = {}  # of folders that a string names
        for statement in statements:
            self.files |= _files_in_folders(statement)
            bound = imported | {key: target for key, target in _imports(statement) if key}
            for name, attribute in _references(statement):
                if name in bound:
                    self.targets.add(_attribute_of(bound[name], attribute))
                else:
                    self.local.add(name)
            self.targets |= {target for key, target in _imports(statement) if not key}


class _Module:
    """The top-level definitions of a module; statements that define no name stand together under
    the empty name, as importing the module runs them."""

    def __init__(self, name: str) -> None:
        tree = ast.parse(module_file(name).read_text(encoding="utf-8"))
        _drop_docstrings(tree)
        imported = {}
        statements: dict[str, list[ast.stmt]] = {}
        for statement in tree.body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                imported.update(_imports(statement))
            elif not _is_for_type_checkers(statement):
                for defined in _defined(statement) or [""]:
                    statements.setdefault(defined, []).append(statement)
        self.all = {key: _Part(key, value, imported) for key, value in statements.items()}

    def parts(self, name: str | None) -> list[_Part]:
        """A definition and what runs on import, or all definitions."""
        names = self.all if name is None else ("", name)
        return [self.all[one] for one in names if one in self.all]


_module = cache(_Module)


def _imports(tree: ast.AST) -> Iterator[tuple[str, Target]]:
    """The names that imports in a statement bind and what they stand for; modules that a string
    names are bound to no name."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield alias.asname or alias.name.partition(".")[0], (alias.name, None)
            case ast.ImportFrom(module=str(module), level=0):
                for alias in node.names:
                    yield alias.asname or alias.name, _attribute_of((module, None), alias.name)
            case ast.Constant(value=str(text)):
                for name in MODULE_NAME.findall(text):
                    if found := _module_of(name):
                        yield "", (found, None)


def _files_in_folders(tree: ast.AST) -> dict[str, bytes]:
    """The content of each file in a folder of this project that a string names."""
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    names = [text for text in texts if isinstance(text, str) and FOLDER_NAME.fullmatch(text)]
    files = [file for name in names for file in sorted((ROOT / name).glob("*")) if file.is_file()]
    return {file.relative_to(ROOT).as_posix(): file.read_bytes() for file in files}


def _attribute_of(target: Target, attribute: str | None) -> Target:
    """What `attribute` of an import stands for: a module below a package, or a definition."""
    module, definition = target
    if attribute is None or definition is not None:
        return target
    below = f"{module}.{attribute}"
    return (below, None) if _module_of(below) == below else (module, attribute)


def _module_of(name: str) -> str | None:
    """The module that a dotted name lies in, None for what is not of this project."""
    while name.partition(".")[0] in PACKAGES:
        if module_file(name).is_file():
            return name
        name = name.rpartition(".")[0]
    return None


def _references(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """The names that a statement reads, each with the attribute that is read of it, if any."""
    todo = [tree]
    while todo:
        node = todo.pop()
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                yield name, attribute
            case ast.Name(id=name):
                yield name, None
            case _:
                todo += ast.iter_child_nodes(node)


def _defined(statement: ast.stmt) -> list[str]:
    """The names that a top-level statement defines."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            nodes = [node for target in targets for node in ast.walk(target)]
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            nodes = [target]
        case _:
            return []
    return [node.id for node in nodes if isinstance(node, ast.Name)]


def _is_for_type_checkers(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"


def _drop_docstrings(tree: ast.AST) -> None:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]


def digest(value: object) -> str:
    """A short name for a large value, by its `repr`."""
    return hashlib.sha256(repr(value).encode()).hexdigest()


Stamp = list[int] | None


def stamp(path: Path) -> Stamp:
    """Size in bytes and time of change in ns of a file, None where there is none."""
    try:
        stat = path.stat()
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return None
    return [stat.st_size, stat.st_mtime_ns]


def stamps(paths: Iterable[Path]) -> dict[str, Stamp]:
    """The stamp of each file, by its path."""
    return {str(path): stamp(path) for path in paths}


def outside_mark(record: Path, before: Path) -> dict[str, str | None]:
    """A mark that changes when one of the outside files listed in a stage's record changes.

    A stage writes the `stamps` of such files under `files` into its `record`, with the folder that
    they are relative to under `root`, if any. If a file differs from its stamp, the mark is new.
    Otherwise the previous mark, in the file `before`, is kept, because DVC treats any other value
    as a change.
    """
    if noted_files := read_json_if_whole(record, _noted_files):
        root, noted = noted_files
        now = {name: stamp(root / name) for name in noted}
        if now != noted:
            return {"changed": digest(now)}
    return read_json_if_whole(before) or {"changed": None}


def _noted_files(record: dict) -> tuple[Path, dict[str, Stamp]]:
    return Path(record.get("root", "")), dict(record.get("files", {}))


def loaded_sources(before: Collection[str]) -> list[Path]:
    """The source files of the modules that this process has loaded since `before`, names of
    `sys.modules`: those outside of Python's library, the installed packages and this project."""
    new = [sys.modules[name] for name in sys.modules.keys() - set(before)]
    files = {Path(file) for module in new if (file := getattr(module, "__file__", None))}
    return sorted(filter(is_users, files))


def is_users(source: Path) -> bool:
    """Whether a source file is outside of Python's library, the installed packages and this
    project."""
    installed = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib")}
    own = {ROOT / name for name in (*PACKAGES, "tools", "tests")}
    return source.is_absolute() and not (installed | own) & set(source.parents)
