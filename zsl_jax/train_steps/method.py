"""The contract between a method and everything that trains, evaluates or sweeps it.

A method is a value: a record of pure functions over a `TrainState`. It knows losses, nets and diffusion; it never knows
files, devices, logging or epochs.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from zsl_jax.train_steps import sampling

Params = Any
Trees = dict[str, Params]  # of several nets, by name
Numbers = dict[str, jax.Array]
Metrics = Numbers
Views = Mapping[str, jax.Array]


Shape = tuple[int, ...]
Kind = Literal["view", "auxiliary", "generator", "classifier"]


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes a method needs.

    Attributes:
      views: shape of one row of each view of the data by name, e.g. x (D,), r (R,), image (H, W, 3), map (h, w, F).
      a_dim: semantics width A.
      n_classes: classes C.
      word_dim: width W of the attributes' word vectors; 0: the data have none.
    """

    views: Mapping[str, Shape] = dataclasses.field(hash=False)
    a_dim: int
    n_classes: int
    word_dim: int = 0

    @property
    def x_dim(self) -> int:
        """Feature width D; 0 without features."""
        return self.views["x"][0] if "x" in self.views else 0

    @property
    def r_dim(self) -> int:
        """Representation width R; 0 without representations."""
        return self.views["r"][0] if "r" in self.views else 0

    def with_view(self, name: str, shape: Shape) -> "Spec":
        """The same with one more view, or one of another shape."""
        return dataclasses.replace(self, views={**self.views, name: shape})


def vector_spec(x_dim: int, r_dim: int, a_dim: int, n_classes: int) -> Spec:
    """Sizes of data whose views are vectors, features and representations; of width 0: there are none."""
    widths = {"x": x_dim, "r": r_dim}
    return Spec({name: (width,) for name, width in widths.items() if width}, a_dim, n_classes)


class Tables(NamedTuple):
    """What is known of all classes and attributes.

    semantics [C, A]; is_seen [C] bool: which classes have training rows; attribute_vectors [A, W], one word vector for
    each attribute (W = 0: none).
    """

    semantics: Any
    is_seen: Any
    attribute_vectors: Any


class Batch(NamedTuple):
    """Training rows. views by name [B, ...]; a [B, A] semantics of each row's class; labels [B] int32.

    `train_step` takes batches with a leading axis of `batches_per_step`.
    """

    views: dict[str, jax.Array]
    a: jax.Array
    labels: jax.Array

    @property
    def x(self) -> jax.Array:
        """Features [B, D]."""
        return self.views["x"]

    @property
    def r(self) -> jax.Array:
        """Representations [B, R]."""
        return self.views["r"]


class TrainState(NamedTuple):
    """All that a training step reads and writes, as pytrees of arrays.

    params and opt: by net. frozen: parameters of earlier stages. hyper: numbers such as rates and loss weights, as
    scalars, so that they can be swept without recompiling. extra: counters and memories (lambda, queues, ...). stats:
    running statistics by net, moved by forward passes and not by gradients (of normalisation over batches).
    """

    params: dict[str, Params]
    opt: dict[str, Any]
    frozen: dict[str, Params]
    hyper: dict[str, jax.Array]
    extra: dict[str, jax.Array]
    stats: dict[str, Any] = {}  # noqa: RUF012  (never changed in place)


@dataclasses.dataclass(frozen=True)
class Method:
    """A system as a value.

    Functions of `tables` may ignore it; `Tables` are those of the task, the same in every call.

    Attributes:
      name: for logs.
      batches_per_step: leading axis of the batches of one `train_step`.
      init: (key, upstream, hyper, tables) -> TrainState; `upstream` holds the inference parameters of earlier stages by
        stage name, `hyper` the stage's traced numbers and "steps_per_epoch" as float32 scalars by name.
      train_step: (state, batches, key, tables) -> (state, metrics); one iteration, all that is random from `key`.
      inference: state -> parameters (and statistics) that the functions below and later stages need.
      synthesize: (params, semantics [n, A], keys [n], sampler) -> {"x": [n, D], "r": [n, R]} or a part of it. Row i
        depends on semantics[i] and keys[i] alone, so results don't depend on how rows are chunked.
      embed: (params, views, space) -> [n, ...] float32: classifier inputs of one of `spaces`, or the view `produces`.
      spaces: names of the input spaces.
      samplers: names of the ways to synthesise.
      scores: (params, views, tables) -> [n, C] float32 class scores, for methods that classify directly.
      mapped_step: (state, batches, key, axis, tables) -> as `train_step`, on one device's share of the batches under a
        named axis (see `zsl_jax.train_steps.mapped`); a method without it is run on whole batches by every device of a
        pmap.
      read: (params, views) -> {"semantics": [n, A], "attention": [n, A, h, w]} or a part of it: what the method reads
        off a row, for statistics of its errors and for pictures.
      kind: what is done with the stage. "view": it makes a view of the data for later stages; "auxiliary": it trains
        something for them; both are judged by a held-out loss. "generator": it synthesises rows, on which classifiers
        are trained; "classifier": its own `scores` are scored.
      produces: name of the view that the stage makes by `embed`, "" for none; a stage of another kind may make one too.
      views: names of the views that it reads; of these, the data may lack some.
      draw: which rows a batch takes, see `zsl_jax.train_steps.sampling`.
    """

    name: str
    batches_per_step: int
    init: Callable[..., TrainState]
    train_step: Callable[..., tuple[TrainState, Metrics]]
    inference: Callable[[TrainState], dict[str, Params]]
    synthesize: Callable[[dict[str, Params], jax.Array, jax.Array, str], dict[str, jax.Array]] | None = None
    embed: Callable[[dict[str, Params], Views, str], jax.Array] | None = None
    spaces: tuple[str, ...] = ()
    samplers: tuple[str, ...] = ()
    scores: Callable[..., jax.Array] | None = None
    mapped_step: Callable[..., tuple[TrainState, Metrics]] | None = None
    read: Callable[[dict[str, Params], Views], dict[str, jax.Array]] | None = None
    kind: Kind = "generator"
    produces: str = ""
    views: tuple[str, ...] = ("x", "r")
    draw: sampling.Draw = sampling.uniform

    @property
    def is_scored(self) -> bool:
        """Whether the stage is evaluated on test rows."""
        return self.kind in ("generator", "classifier")


class Entry(NamedTuple):
    """What a module offers by its constant STAGES = {name: Entry}.

    build: (whole configuration, sizes) -> method. numbers: fields of the stage's section of the configuration that
    reach the method by way of `hyper` alone, dotted where they are nested: configurations that differ in these alone
    share one method and its compiled programs. raw: whether the stage reads the data's own views, not those that
    earlier stages made.
    """

    build: Callable[[Any, Spec], Method]
    numbers: tuple[str, ...] = ()
    raw: bool = False


def hyper_parameters(section: Any, names: tuple[str, ...], steps_per_epoch: int = 1) -> dict[str, np.ndarray]:
    """The named numbers of a configuration section and "steps_per_epoch", for methods whose steps follow a schedule.

    All are float32 scalars: compiled code depends neither on them nor on the number of training rows.
    """

    def look_up(name: str):
        return functools.reduce(operator.getitem, name.split("."), section)

    numbers = {name: np.asarray(look_up(name), np.float32) for name in names}
    return numbers | {"steps_per_epoch": np.asarray(steps_per_epoch, np.float32)}
