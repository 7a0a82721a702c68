"""What each field of a configuration means: the comments of `defaults.py`, read from its text."""

import ast
import functools
import inspect
import io
import tokenize

from zsl_jax.config import defaults, names


@functools.cache
def meanings() -> dict[str, str]:
    """The comment of each field that any system has, by dotted name; of several the one that comes first."""
    found: dict[str, str] = {}
    for name in functions():
        found = meanings_of(name) | found
    return found


@functools.cache
def functions() -> dict[str, ast.FunctionDef]:
    """The functions of `defaults.py` by name."""
    tree = ast.parse(inspect.getsource(defaults))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


@functools.cache
def comments() -> dict[int, str]:
    """The comments of `defaults.py` by line."""
    tokens = tokenize.generate_tokens(io.StringIO(inspect.getsource(defaults)).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


@functools.cache
def meanings_of(function: str) -> dict[str, str]:
    """The comments on the fields that one function sets, those of the functions it calls included."""
    found: dict[str, str] = {}
    for node in functions()[function].body:
        if isinstance(node, ast.AnnAssign | ast.Assign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            field = ast.unparse(targets[0]).partition(".")[2] if len(targets) == 1 else "?"
            found |= {name: text for name, text in _set(field, node).items() if name not in found}
    return found


def _set(field: str, node: ast.AnnAssign | ast.Assign) -> dict[str, str]:
    """What an assignment says: of a section all that the function says which makes it."""
    value, said = node.value, comments().get(node.end_lineno or 0, "")
    made = value.func.id if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) else ""
    if made in functions():
        return {f"{field}.{name}".lstrip("."): text for name, text in meanings_of(made).items()}
    return {field: said} if said else {}


def everything() -> list:
    """A configuration of each system, with its defaults."""
    zoo = [defaults.gan_zoo(names.GANS[0]), defaults.autoencoder(names.AUTOENCODERS[0])]
    return [defaults.zerodiff(), defaults.d2sc(), defaults.tfvaegan(), *zoo]
