"""The list of all cures that `svc doctor` can print, read from the source of its checks.

A cure is the text "KEY: COMMAND" of one `Finding(...)`, with * for every value that is computed, such as
"program.*: supervisorctl start *". A finding with several commands has a text for each, and the same text appears as
often as there are findings with it.
"""

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHECKS = ROOT / "svc" / "doctor" / "checks"


def printed_cures() -> list[str]:
    cures = (cure for path in CHECKS.glob("*.py") for cure in cures_of(path.read_text()))
    return sorted(cure for cure in cures if not cure.endswith(": "))  # a finding may have no command


def cures_of(source: str) -> Iterator[str]:
    """Yield the cures of a module's findings."""
    module = ast.parse(source)
    for function in (node for node in module.body if isinstance(node, ast.FunctionDef)):
        scope = Scope(module, function)
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Finding":
                fields = {"key": call.args[0], **{word.arg: word.value for word in call.keywords}}
                for key in scope.texts(fields["key"]):
                    yield from (f"{key}: {command}" for command in scope.texts(fields.get("fix", ast.Constant(""))))


class Scope:
    """The assignments that an expression in a function of a module may refer to."""

    def __init__(self, module: ast.Module, function: ast.FunctionDef) -> None:
        self._functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
        self._module = module
        self._values: dict[str, list[ast.expr]] = {}
        for node in [*module.body, *ast.walk(function)]:
            if isinstance(node, ast.Assign):
                self._assign(node.targets[0], node.value)

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self._values.setdefault(target.id, []).append(value)
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for part, part_value in zip(target.elts, value.elts, strict=True):
                self._assign(part, part_value)

    def texts(self, node: ast.expr) -> list[str]:
        """Return the texts that an expression may stand for, with * for what is computed."""
        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, str) else ["*"]
        if isinstance(node, ast.JoinedStr):
            return ["".join(part.value if isinstance(part, ast.Constant) else "*" for part in node.values)]
        if isinstance(node, ast.IfExp):
            return [*self.texts(node.body), *self.texts(node.orelse)]
        if isinstance(node, ast.Name) and node.id in self._values:
            return [text for value in self._values[node.id] for text in self.texts(value)]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self._functions:
            function = self._functions[node.func.id]
            scope = Scope(self._module, function)
            returned = [part.value for part in ast.walk(function) if isinstance(part, ast.Return) and part.value]
            return [text for value in returned for text in scope.texts(value)]
        return ["*"]


def is_cure(declared: str, key: str, command: str) -> bool:
    """Return whether a declared cure is the one of a finding that the doctor printed."""
    return fnmatchcase(f"{key}: {command}", declared.replace("[", "[[]"))
