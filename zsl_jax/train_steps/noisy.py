"""Noise on the descriptions that a generator is trained with.

The rows of a class all have one description, so that a generator learns those of the seen classes by heart; with noise
it learns what holds near them.
"""

import dataclasses
from typing import Any

import jax

from zsl_jax.train_steps import mapped
from zsl_jax.train_steps.method import Batch, Method

PURPOSE = 0x6E6F6973  # tells the noise's key from all others of a step


def with_noise(method: Method, deviation: float) -> Method:
    """The same method, its batches' semantics with normal noise of a deviation, drawn for each row of each step."""

    def noisy(batches: Batch, key: jax.Array, axis: str | None = None) -> Batch:
        updates, rows, width = batches.a.shape
        drawn = jax.random.normal(jax.random.fold_in(key, PURPOSE), (updates, mapped.all_rows(rows, axis), width))
        return batches._replace(a=batches.a + deviation * mapped.own_rows(drawn, rows, axis, dim=1))

    def train_step(state: Any, batches: Batch, key: jax.Array, tables: Any = None):
        return method.train_step(state, noisy(batches, key), key, tables)

    changed: dict[str, Any] = {"train_step": train_step}
    if given := method.mapped_step:
        changed["mapped_step"] = lambda state, batches, key, axis, tables=None: given(
            state, noisy(batches, key, axis), key, axis, tables
        )
    return dataclasses.replace(method, **changed)
