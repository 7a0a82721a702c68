"""What a program costs, counted from its trace, and what the machine gives, measured at the same shapes."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

COPY_BYTES = 2**28  # of the array whose copies measure the bandwidth
TOGETHER = 8  # products in one turn of the loop that measures them: on GPUs a turn costs as much as a small product
LEAST_COPIES = 8  # in one timing: the first one writes to fresh pages, which costs more than the copy itself
LEAST_SECONDS = 0.05  # a timing must take at least this long


class Product(NamedTuple):
    """One kind of matrix product: shapes and dtype of its operands, dimension numbers of `dot_general`."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    dtype: str
    dimensions: Any

    @property
    def out(self) -> tuple[int, ...]:
        """Shape of the result: batch dimensions, then what is left of both operands."""
        (contract_left, contract_right), (batch_left, batch_right) = self.dimensions
        free_left = [size for axis, size in enumerate(self.left) if axis not in (*contract_left, *batch_left)]
        free_right = [size for axis, size in enumerate(self.right) if axis not in (*contract_right, *batch_right)]
        return (*(self.left[axis] for axis in batch_left), *free_left, *free_right)

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * math.prod(self.out) * math.prod(self.left[axis] for axis in self.dimensions[0][0])

    @property
    def bytes(self) -> int:
        """Bytes of both operands and of the result."""
        entries = math.prod(self.left) + math.prod(self.right) + math.prod(self.out)
        return entries * np.dtype(self.dtype).itemsize


def products(function: Callable[..., Any], *arguments: Any) -> Counter[Product]:
    """The matrix products that a function's trace holds, with their numbers; a scan's body counts for each step.

    Loops of unknown length count once; of a conditional's branches, the one with the most FLOP. Nothing is executed:
    arguments may be `jax.ShapeDtypeStruct`s.
    """
    counts: Counter[Product] = Counter()
    for product, times in _walk(jax.make_jaxpr(function)(*arguments).jaxpr, 1):
        counts[product] += times
    return counts


def _walk(jaxpr: Any, times: int) -> Iterator[tuple[Product, int]]:
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            left, right = (operand.aval for operand in equation.invars)
            dimensions = equation.params["dimension_numbers"]
            yield Product(left.shape, right.shape, left.dtype.name, _as_tuples(dimensions)), times
        inner = times * equation.params.get("length", 1) if equation.primitive.name == "scan" else times
        found = [list(_walk(body, inner)) for body in _bodies(equation)]
        if equation.primitive.name == "cond":
            found = [max(found, key=_flops)]
        for counted in found:
            yield from counted


def _bodies(equation: Any) -> Iterator[Any]:
    for value in equation.params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if hasattr(one, "eqns") or hasattr(one, "jaxpr"):
                yield getattr(one, "jaxpr", one)


def _flops(counted: list[tuple[Product, int]]) -> int:
    return sum(times * product.flops for product, times in counted)


def _as_tuples(dimensions: Any) -> Any:
    return tuple(tuple(tuple(axes) for axes in pair) for pair in dimensions)


def total(counts: Counter[Product], what: str) -> int:
    """Sum of "flops" or "bytes" over all products."""
    return sum(times * getattr(product, what) for product, times in counts.items())


def seconds_of(product: Product) -> float:
    """Measures the median seconds of one product inside a compiled loop, where its buffers are reused."""
    left, right = (_filled(shape, product.dtype) for shape in (product.left, product.right))

    @jax.jit
    def repeat(left, right, times):
        def body(_, carry):
            left, out = carry
            for _ in range(TOGETHER):
                # One entry of the operand depends on the last result, so that no product can be left out or moved.
                left = left.at[(0,) * left.ndim].set(0.5 * out[(0,) * out.ndim])
                out = jax.lax.dot_general(left, right, product.dimensions)
            return left, out

        return jax.lax.fori_loop(0, times, body, (left, jnp.zeros(product.out, product.dtype)))[1]

    return _median_per_call(lambda times: repeat(left, right, np.int32(times)), least=1) / TOGETHER


def _filled(shape: tuple[int, ...], dtype: str) -> jax.Array:
    # Of any numbers but equal ones, with which GPUs need less power and run faster.
    return jnp.asarray(np.random.default_rng(0).random(shape, np.float32) - np.float32(0.5)).astype(dtype)


def copy_bandwidth() -> float:
    """Bytes a second, read and written, of copying an array much larger than caches."""
    array = jnp.zeros(COPY_BYTES // 4, jnp.float32)

    @jax.jit
    def repeat(array, times):
        return jax.lax.fori_loop(0, times, lambda _, x: x + jnp.float32(1), array)

    return 2 * COPY_BYTES / _median_per_call(lambda times: repeat(array, np.int32(times)), least=LEAST_COPIES)


def _median_per_call(run: Callable[[int], Any], least: int, repeats: int = 5) -> float:
    """Median seconds of one of the turns that `run(times)` takes, at least so many and long enough for the clock."""
    jax.block_until_ready(run(1))
    once = clock(run, 1)
    times = max(least, math.ceil(LEAST_SECONDS / max(once, 1e-6)))
    return float(np.median([clock(run, times) for _ in range(repeats)])) / times


def clock(run: Callable[..., Any], *arguments: Any) -> float:
    """Seconds until what `run` returns is ready on the device."""
    began = time.perf_counter()
    jax.block_until_ready(run(*arguments))
    return time.perf_counter() - began
