"""How much work is in an iteration, counted without executing it, and how fast the machine does such work."""

import dataclasses
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax.benchmarking import costs
from zsl_jax.train_steps.method import Batch, Method, Tables, TrainState
from zsl_jax.training import feed
from zsl_jax.training.stage import Stage, shapes, starting

# Passes of an optimiser over a net: gradient, weight and its own arrays are read, the last two written.
WEIGHT_PASSES, OPTIMISER_PASSES = 3, 2


@dataclasses.dataclass(frozen=True)
class Work:
    """Matrix products with their numbers, and bytes that optimisers move at least."""

    products: Counter[costs.Product]
    update_bytes: int

    @property
    def flops(self) -> int:
        """Of all products."""
        return costs.total(self.products, "flops")

    @property
    def bytes(self) -> int:
        """That products and optimisers move at least, each operand once."""
        return costs.total(self.products, "bytes") + self.update_bytes

    def times(self, count: int) -> "Work":
        """The same so many times over."""
        products = Counter({product: count * times for product, times in self.products.items()})
        return Work(products, count * self.update_bytes)


@dataclasses.dataclass(frozen=True)
class Machine:
    """What one device gives: bytes a second of a copy, seconds of each matrix product measured so far."""

    bandwidth: float
    seconds: dict[costs.Product, float] = dataclasses.field(default_factory=dict)

    def floor(self, products: Counter[costs.Product]) -> float:
        """Seconds that the products alone take, each at its measured rate."""
        for product in products:
            if product not in self.seconds:
                self.seconds[product] = costs.seconds_of(product)
        return sum(times * self.seconds[product] for product, times in products.items())


def of_iteration(stage: Stage, rows: feed.Resident | feed.Streamed) -> Work:
    """The work of one iteration of one run on the whole batch, whatever devices share it."""
    method = stage.method
    state = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), shapes(stage))
    drawn = jax.ShapeDtypeStruct((method.batches_per_step, stage.batch_size), np.int32)
    data = feed.resident(stage.train, stage.tables) if isinstance(rows, feed.Streamed) else rows
    batches, key = jax.eval_shape(feed.gather, data, drawn), jax.eval_shape(lambda: jax.random.key(0))
    products = costs.products(method.train_step, state, batches, key, stage.tables)
    steps = optimiser_steps(method, state, batches, hyper_of(stage), stage.tables)
    return Work(products, sum(n * step_bytes(state.params[net], state.opt[net]) for net, n in steps.items()))


def hyper_of(stage: Stage) -> Any:
    """The numbers of a stage's first state."""
    make, *given = starting(stage)
    return jax.jit(lambda *given: make(*given).hyper)(*given)


def optimiser_steps(method: Method, state: TrainState, batches: Batch, hyper: Any, tables: Tables) -> dict[str, int]:
    """How often one iteration runs each net's optimiser, as the step counters say that optimisers keep.

    The iteration is compiled for these counters alone, which leaves out nearly all of it. It starts from zeros but for
    `hyper`: steps that are taken now and then count if the first iteration takes them. An optimiser without a counter,
    such as plain SGD, is taken to run once.

    Args:
      method: whose `train_step` is looked at.
      state: its shapes.
      batches: their shapes.
      hyper: the state's numbers, as they are.
      tables: of all classes.
    """

    def counters() -> dict[str, list[jax.Array]]:
        start = _zeros(state)._replace(hyper=hyper)
        after, _ = method.train_step(start, _zeros(batches), jax.random.key(0), tables)
        return {net: [leaf for leaf in jax.tree.leaves(opt) if _counts(leaf)] for net, opt in after.opt.items()}

    return {net: max(map(int, found), default=1) for net, found in jax.jit(counters)().items()}


def _zeros(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), tree)


def _counts(leaf: Any) -> bool:
    return leaf.ndim == 0 and jnp.issubdtype(leaf.dtype, jnp.integer)


def step_bytes(params: Any, opt: Any) -> int:
    """Bytes that one step of an optimiser moves at least; `params` and its own state `opt` as arrays or shapes."""
    return WEIGHT_PASSES * _float_bytes(params) + OPTIMISER_PASSES * _float_bytes(opt)


def _float_bytes(tree: Any) -> int:
    floats = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in floats)
