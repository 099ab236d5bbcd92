"""What of our code can change a result: all but comments, docstrings, and texts that are only said.

Said is what is given to an error, a warning or a note (the classes of ``errors`` and ``events``, mistakes of recipes,
Python's own errors). A text that goes nowhere else is left out, also one that gets there by a variable, a constant, a
parameter or a function of its own: whatever else names it keeps it in. So to reword a message rebuilds nothing; what is
not seen to be a message counts.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from imagebuilder.store import sha256

SPEAKERS = ("imagebuilder.errors", "imagebuilder.events")  # modules of which no result depends on anything
MISTAKES = (("imagebuilder.recipe.base", "mistake"), ("imagebuilder.recipe.base", "mistake_at"))
ERRORS = ("ValueError", "TypeError", "RuntimeError")
TEXT = "…"
SIMPLE_DECORATORS = ("property", "classmethod", "staticmethod", "cached_property")
ADDING = ("append", "add", "extend")

Region = tuple[str, ...]
"""A piece of code whose value goes to one place: said, or to a local name, a global one or an argument."""
SAID: Region = ("said",)


@dataclass(frozen=True, slots=True)
class Text:
    """A string, or an f-string with all in it, inside regions."""

    tokens: "tuple[Token, ...]"
    regions: tuple[Region, ...]


Token = str | Text


@dataclass
class Facts:
    """What is known of some modules: each use of a name, as the regions that it stands in, and the parameters of
    functions, by module and name."""

    uses: defaultdict[Region, list[tuple[Region, ...]]] = field(default_factory=lambda: defaultdict(list))
    parameters: dict[tuple[str, str], list[Region]] = field(default_factory=dict)

    def said(self) -> set[Region]:
        """The regions of which nothing is used but to be said."""
        said = {SAID}
        while more := {region for region in self._candidates() if region not in said and self._only(region, said)}:
            said |= more
        return said

    def _candidates(self) -> Iterator[Region]:
        yield from self.uses
        for function, parameters in self.parameters.items():
            for at, each in enumerate(parameters):
                yield from (("argument", *function, str(at)), ("argument", *function, each[-1]))

    def _only(self, region: Region, said: set[Region]) -> bool:
        if region[0] != "argument":
            return all(any(each in said for each in regions) for regions in self.uses[region])
        _, module, function, key = region
        parameters = self.parameters[module, function]
        return next((each for at, each in enumerate(parameters) if key in (str(at), each[-1])), None) in said


class Reader:
    """Reads one module: into tokens, and into facts that all modules share."""

    def __init__(self, module: str, tree: ast.Module, facts: Facts) -> None:
        self.tokens: list[Token] = []
        self._module, self._facts = module, facts
        self._origins = dict(_origins(module, tree))
        said = (name for name, origin in self._origins.items() if origin in SPEAKERS or (origin, name) in MISTAKES)
        self._speakers = {*said, *ERRORS}
        for name in _renamed(tree):
            facts.uses["global", name].append(())
        self._scope: tuple[str, ...] = ()
        self._own: frozenset[str] = frozenset()
        self._regions: tuple[Region, ...] = ()
        self.read(tree)

    def read(self, node: object) -> None:
        """Take in a node, or a list of them, or a plain value."""
        if isinstance(node, list):
            self.tokens.append("[")
            for each in node:
                self.read(each)
            self.tokens.append("]")
        elif isinstance(node, ast.AST):
            special = getattr(self, f"_{type(node).__name__}", None)
            special(node) if special else self._plain(node)
        else:
            self.tokens.append(repr(node))

    def _plain(self, node: ast.AST) -> None:
        self.tokens.append(type(node).__name__)
        for _, value in ast.iter_fields(node):
            self.read(value)

    def _inside(self, region: Region | None, node: object) -> None:
        before = self._regions
        self._regions = (*before, region) if region else before
        self.read(node)
        self._regions = before

    # Texts

    def _Expr(self, node: ast.Expr) -> None:
        if not (isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)):
            self._plain(node)

    def _Constant(self, node: ast.Constant) -> None:
        token = repr(node.value)
        is_text = isinstance(node.value, str) and node.value != ""
        self.tokens.append(Text((token,), self._regions) if is_text else token)

    def _JoinedStr(self, node: ast.JoinedStr) -> None:
        before, self.tokens = self.tokens, []
        self._plain(node)
        is_text = any(isinstance(each, ast.Constant) and each.value for each in node.values)
        self.tokens = [*before, *((Text(tuple(self.tokens), self._regions),) if is_text else self.tokens)]

    # Names

    def _Name(self, node: ast.Name) -> None:
        self.tokens.append(f"Name {node.id}")
        if isinstance(node.ctx, ast.Load):
            self._facts.uses[self._place(node.id)].append(self._regions)

    def _Attribute(self, node: ast.Attribute) -> None:
        self.tokens += ("Attribute", node.attr)
        self.read(node.value)
        if isinstance(node.ctx, ast.Load):
            self._facts.uses["global", node.attr].append(self._regions)

    def _place(self, name: str) -> Region:
        return ("local", self._module, *self._scope, name) if name in self._own else ("global", name)

    # Where values go

    def _Assign(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        name = targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else None
        is_field = self._scope and not self._own  # of a class
        self.tokens.append(type(node).__name__)
        for key, value in ast.iter_fields(node):
            region = self._place(name) if key == "value" and name and not is_field else None
            self._inside(region, value)

    _AnnAssign = _AugAssign = _NamedExpr = _Assign

    def _Call(self, node: ast.Call) -> None:
        self.tokens.append("Call")
        target = node.func
        if isinstance(target, ast.Attribute) and target.attr in ADDING and isinstance(target.value, ast.Name):
            self.tokens += (target.value.id, target.attr)
            self._inside(self._place(target.value.id), [*node.args, *node.keywords])
            return
        self.read(target)
        function = self._function(target)
        is_said = isinstance(target, ast.Name) and target.id in self._speakers
        starred = next((at for at, each in enumerate(node.args) if isinstance(each, ast.Starred)), len(node.args))
        given = [(str(at), each) for at, each in enumerate(node.args[:starred])]
        given += [("", each) for each in node.args[starred:]]
        self.tokens.append(str(len(given)))
        for key, value in [*given, *((each.arg or "", each.value) for each in node.keywords)]:
            self.tokens.append(key)
            self._inside(SAID if is_said else function and ("argument", *function, key), value)
        self.tokens.append("]")

    def _function(self, target: ast.expr) -> tuple[str, str] | None:
        """The function that is called, by module and name, where that is plain."""
        if isinstance(target, ast.Name) and target.id not in self._own and target.id in self._origins:
            return self._origins[target.id], target.id
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
            return (self._module, target.attr) if target.attr.startswith("_") else None
        return None

    def _If(self, node: ast.If | ast.While | ast.IfExp) -> None:
        """Whether there is a text at all does not change with its words."""
        asked = node.test.operand if isinstance(node.test, ast.UnaryOp) else node.test
        if isinstance(asked, ast.Name):
            self.tokens += (type(node).__name__, ast.dump(node.test))
            for name, value in ast.iter_fields(node):
                if name != "test":
                    self.read(value)
        else:
            self._plain(node)

    _While = _IfExp = _If

    # Definitions

    def _ClassDef(self, node: ast.ClassDef) -> None:
        before = self._scope, self._own
        self._scope, self._own = (*self._scope, node.name), frozenset()
        self._plain(node)
        self._scope, self._own = before

    def _FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if self._own:  # in another function: its names are among that one's
            self._plain(node)
            return
        before = self._scope
        self._scope, self._own = (*before, node.name), frozenset(_own_names(node))
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = [each.arg for each in arguments if each.arg not in ("self", "cls")]
        known = (self._module, node.name)
        # Two of one name (methods of two classes) are not distinguished: then what is passed to them counts.
        self._facts.parameters[known] = [] if known in self._facts.parameters else [*map(self._place, names)]
        simple = all(isinstance(each, ast.Name) and each.id in SIMPLE_DECORATORS for each in node.decorator_list)
        region = ("global", node.name) if simple and not node.name.startswith("__") else None
        self.tokens += (type(node).__name__, node.name)
        for part in (node.args, node.decorator_list, node.returns):
            self.read(part)
        self._inside(region, node.body)
        self._scope, self._own = before, frozenset()

    _AsyncFunctionDef = _FunctionDef


def _own_names(node: ast.AST) -> Iterator[str]:
    """The names that a function binds."""
    ours = {name for each in ast.walk(node) if isinstance(each, ast.Global) for name in each.names}
    yield from (name for name in _bound_names(node) if name not in ours)
    yield ""  # so that a function without names is one


def _bound_names(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.arg):
            yield each.arg
        elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            yield each.id
        elif isinstance(each, ast.ExceptHandler) and each.name:
            yield each.name


def _origins(module: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The module of each function and class that is defined in this one, or imported under its own name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, module
    for each in ast.walk(tree):
        if isinstance(each, ast.ImportFrom) and each.module:
            yield from ((alias.name, each.module) for alias in each.names if not alias.asname)


def _renamed(tree: ast.Module) -> Iterator[str]:
    """What is imported under another name: its uses are not seen."""
    for each in ast.walk(tree):
        if isinstance(each, ast.ImportFrom):
            yield from (alias.name for alias in each.names if alias.asname)


def essences(modules: Mapping[str, ast.Module]) -> dict[str, str]:
    """The hash of what counts in each of the modules, all of which belong together."""
    facts = Facts()
    tokens = {name: Reader(name, tree, facts).tokens for name, tree in modules.items()}
    said = facts.said()
    return {name: sha256("\0".join(_written(each, said)).encode()) for name, each in tokens.items()}


def _written(tokens: Iterable[Token], said: set[Region]) -> Iterator[str]:
    for token in tokens:
        if isinstance(token, str):
            yield token
        elif any(region in said for region in token.regions):
            yield TEXT
        else:
            yield from _written(token.tokens, said)
