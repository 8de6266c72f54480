"""Where the packages speak of errors, read from their source: every message, with … for what is filled in.

A site is a call that makes an exception or a warning, or that hands a message to a function which does. Messages that
repeat what another error says have no words of their own, and are none.
"""

import ast
import builtins
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

from spill_format import errors

ROOT = Path(__file__).parents[2]
PACKAGES = ("spill_format", "shuffle")
FILLED = "…"

SPEAKING = {"warn": 0, "fail": 0, "say_error": 0, "say_warning": 0, "ArgumentTypeError": 0}
"""Functions that take a message, and which of their arguments it is."""
BEHIND_ANOTHER = frozenset({"FetchError", "NetworkError", "ServerError", "Refusal"})
"""Errors whose message is their second argument."""


class Site(NamedTuple):
    """One message of the source.

    Attributes:
        module: path of its file below the repository.
        line: where it is made.
        maker: the class or function that is called.
        text: the words as they stand there, ``…`` for what is filled in.
        keywords: names of the keyword arguments given.
        is_part: its maker is a function, which may put more around the text.
    """

    module: str
    line: int
    maker: str
    text: str
    keywords: frozenset[str]
    is_part: bool = False


def all_sites() -> list[Site]:
    """Every site of the packages."""
    trees = {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }
    return list(sites_of(trees))


def sites_of(trees: dict[str, ast.Module]) -> Iterator[Site]:
    """The sites of parsed modules, which are named by their paths."""
    makers = SPEAKING | {name: place for tree in trees.values() for name, place in _makers(tree)}
    for module, tree in trees.items():
        for call, function in _calls(tree):
            name = _called(call)
            if name not in makers and not _is_error(name) and not _is_chosen_error(call, function):
                continue
            message = _message(call, name, makers)
            keywords = frozenset(keyword.arg for keyword in call.keywords if keyword.arg is not None)
            for text in sorted(_texts(message, function)) if message is not None else ():
                if any(character.isalpha() for character in text):
                    yield Site(module, call.lineno, name, text, keywords, name in makers)


def _makers(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """What is told the message of an error by those who call it: its name, and which argument that is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            parameters = [parameter.arg for parameter in node.args.args if parameter.arg not in {"self", "cls"}]
            makes_errors = node.returns is not None and _is_error(ast.unparse(node.returns))
            for place, parameter in enumerate(parameters):
                if node.name != "__init__" and (parameter == "problem" or (parameter == "what" and makes_errors)):
                    yield node.name, place
        elif isinstance(node, ast.ClassDef):
            fields = [
                field.target.id
                for field in node.body
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            ]
            if "problem" in fields:
                yield node.name, fields.index("problem")


def _calls(tree: ast.Module) -> Iterator[tuple[ast.Call, ast.AST]]:
    """Every call, with the innermost function, or else the module, in which it is."""

    def below(node: ast.AST, function: ast.AST) -> Iterator[tuple[ast.Call, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call):
                yield child, function
            yield from below(child, child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function)

    return below(tree, tree)


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name
    return ""


def _is_error(name: str) -> bool:
    return name == "Refusal" or name.endswith(("Error", "Exception", "Warning", "BadParameter"))


def _is_chosen_error(call: ast.Call, function: ast.AST) -> bool:
    """Whether what is called is a variable that holds one class of errors or another."""
    values = _assigned(call.func.id, function) if isinstance(call.func, ast.Name) else ()
    return any(isinstance(node, ast.Name) and _is_error(node.id) for value in values for node in ast.walk(value))


def _message(call: ast.Call, name: str, makers: dict[str, int]) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg in {"problem", "what"}:
            return keyword.value
    builtin = getattr(builtins, name, None)
    place = makers.get(name, 0)
    if name in BEHIND_ANOTHER or (isinstance(builtin, type) and issubclass(builtin, OSError) and len(call.args) > 1):
        place = 1  # behind URL, status or errno
    return call.args[place] if len(call.args) > place else None


def _texts(message: ast.expr, function: ast.AST) -> set[str]:
    """What a message can be, as far as it stands in the source."""
    texts: set[str] = set()
    match message:
        case ast.Constant(value=str(text)):
            texts = {text}
        case ast.JoinedStr(values):
            texts = {"".join(parts) for parts in product(*(_texts(part, function) for part in values))}
        case ast.FormattedValue(value=ast.Name() as name):
            texts = _texts(name, function)
        case ast.IfExp(body=one, orelse=other):
            texts = _texts(one, function) | _texts(other, function)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            texts = {start + end for start in _texts(left, function) for end in _texts(right, function)}
        case ast.Name(name):
            for value in _assigned(name, function):
                if not _uses(value, name):
                    texts |= _texts(value, function)
    return texts or {FILLED}


def _assigned(name: str, function: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            yield node.value


def _uses(value: ast.expr, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(value))


def makes_spill_errors(site: Site) -> bool:
    """Whether the site makes an error that concerns a file."""
    kind = getattr(errors, site.maker, None)
    return isinstance(kind, type) and issubclass(kind, errors.SpillError)
