"""The contract between a method and everything that trains, evaluates or sweeps it.

A method is a value: a record of pure functions over a `TrainState`. It knows losses, nets and diffusion; it never knows
files, devices, logging or epochs.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

Params = Any
Metrics = dict[str, jax.Array]
Views = Mapping[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes a method needs: feature width D, representation width R (0: none), semantics width A, classes C."""

    x_dim: int
    r_dim: int
    a_dim: int
    n_classes: int


class Batch(NamedTuple):
    """Training rows. x [B, D]; r [B, R] (R may be 0); a [B, A] semantics of each row's class; labels [B] int32.

    `train_step` takes batches with a leading axis of `batches_per_step`.
    """

    x: jax.Array
    r: jax.Array
    a: jax.Array
    labels: jax.Array


class TrainState(NamedTuple):
    """All that a training step reads and writes, as pytrees of arrays.

    params and opt: by net. frozen: parameters of earlier stages. hyper: numbers such as rates and loss weights, as
    scalars, so that they can be swept without recompiling. extra: counters and memories (lambda, queues, ...).
    """

    params: dict[str, Params]
    opt: dict[str, Any]
    frozen: dict[str, Params]
    hyper: dict[str, jax.Array]
    extra: dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Method:
    """A system as a value.

    Attributes:
      name: for logs.
      batches_per_step: leading axis of the batches of one `train_step`.
      init: (key, upstream, hyper) -> TrainState; `upstream` holds the inference parameters of earlier stages by stage
        name, `hyper` the `numbers` and "steps_per_epoch" as float32 scalars by name.
      train_step: (state, batches, key) -> (state, metrics); one iteration, everything random comes from `key`.
      inference: state -> parameters that `synthesize`, `embed`, `scores` and later stages need.
      synthesize: (params, semantics [n, A], keys [n], sampler) -> {"x": [n, D], "r": [n, R]} or a part of it. Row i
        depends on semantics[i] and keys[i] alone, so results don't depend on how rows are chunked.
      embed: (params, views, space) -> [n, F] classifier inputs of one of `spaces`.
      spaces: names of the input spaces.
      samplers: names of the ways to sample.
      scores: (params, views) -> [n, C] class scores, for methods that classify directly.
      mapped_step: (state, batches, key, axis) -> as `train_step`, on one device's share of the batches under a named
        axis (see `zsl_jax.train_steps.mapped`); a method without it is run on whole batches by every device of a pmap.
      numbers: fields of the stage's section of the configuration that reach the method by way of `hyper` alone, dotted
        where they are nested: runs that differ in these alone share one compiled program.
      produces: "x" or "r" when the stage makes that view of the data for later stages, by `embed` from raw features.
      auxiliary: the stage trains something for later stages and is judged by its held-out loss, as a stage that makes a
        view is; but it sees the views made so far, and makes none. Nothing is scored.
    """

    name: str
    batches_per_step: int
    init: Callable[[jax.Array, dict[str, Params], dict[str, Any]], TrainState]
    train_step: Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]
    inference: Callable[[TrainState], dict[str, Params]]
    synthesize: Callable[[dict[str, Params], jax.Array, jax.Array, str], dict[str, jax.Array]] | None = None
    embed: Callable[[dict[str, Params], Views, str], jax.Array] | None = None
    spaces: tuple[str, ...] = ()
    samplers: tuple[str, ...] = ()
    scores: Callable[[dict[str, Params], Views], jax.Array] | None = None
    mapped_step: Callable[[TrainState, Batch, jax.Array, str], tuple[TrainState, Metrics]] | None = None
    numbers: tuple[str, ...] = ()
    produces: str = ""
    auxiliary: bool = False

    @property
    def is_scored(self) -> bool:
        """Whether the stage is evaluated on test rows."""
        return not (self.produces or self.auxiliary)


def hyper_parameters(section: Any, names: tuple[str, ...], steps_per_epoch: int = 1) -> dict[str, np.ndarray]:
    """The named numbers of a configuration section and "steps_per_epoch", for methods whose steps follow a schedule.

    All are float32 scalars: compiled code depends neither on them nor on the number of training rows.
    """

    def look_up(name: str):
        return functools.reduce(operator.getitem, name.split("."), section)

    numbers = {name: np.asarray(look_up(name), np.float32) for name in names}
    return numbers | {"steps_per_epoch": np.asarray(steps_per_epoch, np.float32)}
