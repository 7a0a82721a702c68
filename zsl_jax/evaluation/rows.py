"""The rows a classifier is trained and scored on, held in memory only as far as a limit allows.

Training rows are numbered: real ones first, then `per_class` synthetic ones of each class in turn. Synthetic row i
depends on its class and on `fold_in(key, i)` alone, so all ways of holding rows give the same numbers.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zsl_jax.data import rows as row_sources
from zsl_jax.data.dataset import Part
from zsl_jax.train_steps.method import Method, Params, Tables, Views

FLOAT_BYTES = 4
ROUND = 64  # rows
Kind = Literal["features", "views", "draws"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How row numbers become classifier inputs; static (hashable) under jit.

    kind says what is held in memory. "features": finished classifier inputs; the other fields stay empty then, so that
    equal shapes share their compiled code. "views": x and r of every row, embedded whenever they are fetched. "draws":
    only the real rows; synthetic ones are drawn anew from their keys whenever they are fetched.
    """

    kind: Kind
    method: Method | None = None
    space: str = ""
    sampler: str = ""
    per_class: int = 0

    def rows_of(self, source: "Source") -> int:
        """Number of training rows, real and synthetic."""
        return source.n_real + source.semantics.shape[0] * self.per_class


class Source(NamedTuple):
    """What synthetic rows are drawn from, and the real rows beside them.

    params: inference parameters of the method. real: views of the real rows by name [n_real, ...], {} for none.
    semantics: one description for each class to synthesise [c, A]. key: of the synthetic rows.
    """

    params: dict[str, Params]
    real: dict[str, jax.Array]
    semantics: jax.Array
    key: jax.Array

    @property
    def n_real(self) -> int:
        """Number of real rows."""
        return next((view.shape[0] for view in self.real.values()), 0)


class ScoredRows(NamedTuple):
    """Test rows in equal chunks, padded with rows of weight 0.

    inputs: classifier inputs [chunks, size, F], or views by name [chunks, size, ...] that are still to be embedded.
    labels: [chunks, size] int32. weights: what a right answer counts [chunks, size].
    """

    inputs: Any
    labels: jax.Array
    weights: jax.Array


def equal_pieces(n: int, chunk_rows: int) -> tuple[int, int]:
    """(number of pieces, rows in each, 1 or more): n rows fit into pieces of at most `chunk_rows`, nearly evenly."""
    pieces = max(-(-n // chunk_rows), 1)
    return pieces, max(-(-n // pieces), 1)


def take(views, rows: jax.Array):
    """The rows of every array of a pytree."""
    return jax.tree.map(lambda array: array[rows], views)


def draw(recipe: Recipe, source: Source, numbers: jax.Array) -> dict[str, jax.Array]:
    """Synthesises the rows of the given numbers (among the synthetic ones, int32 [b]); numbers too high repeat."""
    assert recipe.method is not None
    assert recipe.method.synthesize is not None
    last = source.semantics.shape[0] * recipe.per_class - 1
    numbers = jnp.clip(numbers, 0, last)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(source.key, numbers)
    semantics = source.semantics[numbers // recipe.per_class]
    made = recipe.method.synthesize(source.params, semantics, keys, recipe.sampler)
    return single_precision(recipe.method, "synthesize", made)


def input_of(space: str) -> str:
    """What a classifier is given in a space: the space itself, or of "INPUT:KIND", KIND the classifier's, the input."""
    return space.partition(":")[0]


def kind_of(space: str) -> str:
    """The kind of classifier that a space names, "" for none."""
    return space.partition(":")[2]


def embed(method: Method | None, params: dict[str, Params], views: Views, space: str) -> jax.Array:
    """Classifier inputs [b, F] of a method that is known to have them."""
    assert method is not None
    assert method.embed is not None
    return single_precision(method, "embed", method.embed(params, views, input_of(space)))


def real_or_drawn(recipe: Recipe, source: Source, rows: jax.Array) -> dict[str, jax.Array]:
    """Views of any training rows, the synthetic ones drawn on the spot."""
    n_real = source.n_real
    drawn = draw(recipe, source, rows - n_real)
    if not n_real:
        return drawn
    real = take({name: source.real[name] for name in drawn}, jnp.minimum(rows, n_real - 1))
    is_real = (rows < n_real)[:, None]
    return jax.tree.map(lambda true, fake: jnp.where(is_real, true, fake), real, drawn)


def materialise(make: Callable[[jax.Array], Any], n: int, chunk_rows: int):
    """Calls `make` on row numbers 0..n-1 chunk by chunk and joins the results, a little over n rows of each array."""
    pieces, size = equal_pieces(n, chunk_rows)
    chunks = lax.map(make, jnp.arange(pieces * size, dtype=jnp.int32).reshape(pieces, size))
    return jax.tree.map(lambda array: array.reshape(pieces * size, *array.shape[2:]), chunks)


@partial(jax.jit, static_argnames=("recipe", "chunk_rows"))
def all_views(recipe: Recipe, source: Source, chunk_rows: int) -> dict[str, jax.Array]:
    """Views of all training rows: the real ones, then the synthetic ones, drawn once."""
    n = source.semantics.shape[0] * recipe.per_class
    drawn = materialise(partial(draw, recipe, source), n, chunk_rows)
    if not source.n_real:
        return drawn
    return {name: jnp.concatenate([source.real[name], drawn[name][:n]]) for name in drawn}


@partial(jax.jit, static_argnames=("method", "space", "chunk_rows"))
def all_features(method: Method, space: str, params: dict[str, Params], views, chunk_rows: int) -> jax.Array:
    """Classifier inputs [n or a little over, F] of all rows of `views`."""
    n = next(iter(views.values())).shape[0]
    return materialise(lambda rows: embed(method, params, take(views, jnp.minimum(rows, n - 1)), space), n, chunk_rows)


def fetch(recipe: Recipe, held, rows: jax.Array) -> jax.Array:
    """Classifier inputs [b, F] of training rows [b]; of `held` (for use inside jit).

    held: of kind "features" the inputs of all rows [n, F]; else (source, views), views of "draws" None.
    """
    if recipe.kind == "features":
        return held[rows]
    source, views = held
    chosen = take(views, rows) if recipe.kind == "views" else real_or_drawn(recipe, source, rows)
    return embed(recipe.method, source.params, chosen, recipe.space)


def read_all(part: Part) -> dict[str, np.ndarray]:
    """All rows of a part by view, in memory."""
    return {name: row_sources.read(view, np.arange(len(part))) for name, view in part.views.items()}


def widths(recipe: Recipe, source: Source) -> tuple[int, int]:
    """(numbers per row of all synthesised views, numbers per row of the classifier inputs), without computing them."""
    one = jax.ShapeDtypeStruct((1,), jnp.int32)
    views = jax.eval_shape(partial(draw, recipe), source, one)
    features = jax.eval_shape(lambda p, v: embed(recipe.method, p, v, recipe.space), source.params, views)
    return sum(view.size for view in views.values()), features.size


def choose_kind(view_width: int, feature_width: int, n_train: int, n_test: int, memory_mb: float) -> Kind:
    """What of `n_train` training and `n_test` test rows fits into `memory_mb` megabytes (2^20 bytes)."""
    limit = memory_mb * 2**20
    views = FLOAT_BYTES * n_train * view_width
    features = FLOAT_BYTES * (n_train + n_test) * feature_width
    if views + features <= limit:
        return "features"
    return "views" if views <= limit else "draws"


def over_rows(function: Callable[[dict[str, np.ndarray]], Any], part: Part, size: int) -> Any:
    """What a function makes of all rows of a part, chunk by chunk: the one way over rows, in memory or not.

    The next chunk is read while the device works on the last.

    Args:
      function: (views by name [size, ...]) -> a pytree of arrays [size, ...]; compiled, it is compiled once.
      part: rows; arrays or sources.
      size: rows in a chunk; the last one is padded with its last row.

    Returns:
      The pytree with numpy arrays [n, ...].

    Raises:
      InputError: a row cannot be read.
    """
    n, parts, waiting = len(part), [], None
    for start in range(0, n, size):
        numbers = np.minimum(np.arange(start, start + size), n - 1)
        views = {name: row_sources.read(view, numbers) for name, view in part.views.items()}
        made = function(views)  # returns before it is computed
        parts += [] if waiting is None else [jax.device_get(waiting)]
        waiting = made
    parts.append(jax.device_get(waiting))
    return jax.tree.map(lambda *pieces: np.concatenate(pieces)[:n], *parts)


@partial(jax.jit, static_argnames=("method", "what", "space"))
def _made(method: Method, what: str, params: dict[str, Params], views: Views, **rest: Any) -> Any:
    return single_precision(method, what, getattr(method, what)(params, views, *rest.values()))


def _of_part(method: Method, what: str, params: dict[str, Params], part: Part, size: int, **rest: Any) -> Any:
    """What a function of a method makes of all rows of a part, in chunks of `size`; rest: its last argument."""
    own, params = part.only(method.views), jax.device_put(params)
    return over_rows(lambda views: _made(method, what, params, views, **rest), own, size)


def class_scores(method: Method, params: dict[str, Params], part: Part, tables: Tables, chunk_rows: int) -> np.ndarray:
    """A method's own class scores of all rows of a part [n, C] float32."""
    if not len(part):
        return np.zeros((0, len(tables.semantics)), np.float32)
    return _of_part(method, "scores", params, part, equal_pieces(len(part), chunk_rows)[1], tables=tables)


def embedded(method: Method, params: dict[str, Params], part: Part, space: str, size: int) -> np.ndarray:
    """What a method makes of all rows of a part [n, ...] float32: classifier inputs of a space, or its view.

    They are computed in chunks of `size`; equal sizes share their compiled code.
    """
    return _of_part(method, "embed", params, part, size, space=space)


def read_off(method: Method, params: dict[str, Params], part: Part, chunk_rows: int) -> dict[str, np.ndarray]:
    """What a method reads off all rows of a part, see `Method.read`; {} where it reads nothing off them."""
    if method.read is None:
        return {}
    return _of_part(method, "read", params, part, equal_pieces(len(part), chunk_rows)[1])


def single_precision(method: Method, what: str, made: Any) -> Any:
    """What a method made, whatever precision it computed in: float32 is asserted where numbers leave it."""
    for leaf in jax.tree.leaves(made):
        if leaf.dtype != jnp.float32:
            raise TypeError(f"{method.name}: {what} returned {leaf.dtype.name}; float32 is needed")
    return made


def chunked(array: np.ndarray, chunk_rows: int) -> jax.Array:
    """Host array [n, ...] as [chunks, size, ...] on the device, padded with zeros.

    Sizes are rounded up, so that tasks of nearly as many rows share their compiled code.
    """
    pieces, size = equal_pieces(len(array), chunk_rows)
    size = min(-(-size // ROUND) * ROUND, max(size, chunk_rows))
    padding = [(0, pieces * size - len(array))] + [(0, 0)] * (array.ndim - 1)
    return jnp.asarray(np.pad(array, padding).reshape(pieces, size, *array.shape[1:]))


@partial(jax.jit, static_argnames=("method", "space"))
def embed_chunks(method: Method, space: str, params: dict[str, Params], scored: ScoredRows) -> ScoredRows:
    """Test rows as classifier inputs [chunks, size, F], of their views."""
    return scored._replace(inputs=lax.map(lambda views: embed(method, params, views, space), scored.inputs))


def over_chunks(recipe: Recipe, params: dict[str, Params], scored: ScoredRows, function: Callable[..., Any]):
    """Calls `function(features, labels, weights)` on every chunk of test rows; results stacked (inside jit)."""

    def of_chunk(chunk: ScoredRows):
        inputs = chunk.inputs
        if recipe.kind != "features":
            inputs = embed(recipe.method, params, inputs, recipe.space)
        return function(inputs, chunk.labels, chunk.weights)

    return lax.map(of_chunk, scored)
