"""Scores of a method on a task: classifiers trained on synthetic rows, or the method's own class scores.

As published (ZeroDiff, TF-VAEGAN and their kin): generalised zero-shot learning (GZSL) trains on the real rows of seen
classes and `syn_num` synthetic rows per unseen class, over all classes; zero-shot learning (ZSL) on the synthetic rows
of unseen classes alone; the "seen" score on synthetic rows of seen classes alone.
"""

import copy
import dataclasses
import weakref
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax.data.dataset import Part, Task
from zsl_jax.evaluation import classifier, fits, metrics, rows
from zsl_jax.evaluation.options import EvalOptions
from zsl_jax.train_steps.method import Method, Params, Tables

DIRECT_SPACE, DIRECT_SAMPLER = "scores", "direct"
Series = dict[str, list[float]]  # scores by name, over the epochs of a classifier, in percent


def derive(key: jax.Array, *purpose: str) -> jax.Array:
    """A key for a purpose: the same whatever else is evaluated beside it, and in whatever order."""
    return jax.random.fold_in(key, _code(purpose))


def _code(purpose: tuple[str, ...]) -> np.uint32:
    return np.uint32(zlib.crc32("/".join(purpose).encode()))


def tables_of(task: Task) -> Tables:
    """What a task says of all classes and attributes, as numpy arrays."""
    n_classes, a_dim = task.semantics.shape
    vectors = np.zeros((a_dim, 0), np.float32) if task.attribute_vectors is None else task.attribute_vectors
    is_seen = np.isin(np.arange(n_classes), task.seen)
    return Tables(task.semantics, is_seen, vectors)


def positions(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Places of `labels` [n] in the ascending `classes`, int32."""
    return np.searchsorted(classes, labels).astype(np.int32)


def class_columns(purpose: fits.Purpose, task: Task) -> np.ndarray:
    """Class numbers in the order of a classifier's columns."""
    return {"gzsl": np.concatenate([task.seen, task.unseen]), "zsl": task.unseen, "seen": task.seen}[purpose]


def training_labels(purpose: fits.Purpose, task: Task, syn_num: int) -> np.ndarray:
    """Columns of the training rows: the real ones of seen classes (gzsl), then `syn_num` for each synthesised class."""
    n_seen, n_unseen = len(task.seen), len(task.unseen)
    if purpose != "gzsl":
        return np.repeat(np.arange(n_seen if purpose == "seen" else n_unseen, dtype=np.int32), syn_num)
    made = np.repeat(np.arange(n_seen, n_seen + n_unseen, dtype=np.int32), syn_num)
    return np.concatenate([positions(task.train.labels, task.seen), made])


def gains_of(task: Task, seen: np.ndarray, unseen: np.ndarray) -> metrics.Gains:
    """What class scores of test_seen and test_unseen [n, C], seen classes in the first columns, add to S and U."""
    own = positions(task.test_seen.labels, task.seen), positions(task.test_unseen.labels, task.unseen)
    return metrics.gains(
        np.concatenate([seen, unseen]).astype(np.float32),
        np.concatenate([own[0], own[1] + np.int32(len(task.seen))]),
        np.concatenate([metrics.class_balance(labels) for labels in own]),
        len(task.seen),
    )


_gzsl_scores = jax.jit(fits.gzsl_scores)


def percent(measures: Mapping[str, jax.Array]) -> Series:
    """Shares as lists of percentages over the classifier epochs; a gamma stays as it is.

    Percentages are rounded to 1e-4, below which float32 sums of hits say nothing.
    """

    def scale(name: str, value) -> float:
        return float(value) if name == "gamma" else round(100 * float(value), 4)

    return {name: [scale(name, value) for value in np.atleast_1d(values)] for name, values in measures.items()}


class OnDevice(NamedTuple):
    """Rows of a task on the device. real: views of the training rows; scored: `n_test` test rows, as views."""

    real: dict[str, jax.Array]
    scored: fits.ScoredParts
    n_test: int


def upload(task: Task, views: tuple[str, ...], chunk_rows: int) -> OnDevice:
    """Uploads some views of the rows of a task."""

    def scored(part: Part, classes: np.ndarray) -> rows.ScoredRows:
        arrays = rows.read_all(part.only(views)), positions(part.labels, classes), metrics.class_balance(part.labels)
        return rows.ScoredRows(*jax.tree.map(lambda array: rows.chunked(array, chunk_rows), arrays))

    parts = scored(task.test_seen, task.seen), scored(task.test_unseen, task.unseen)
    real = jax.tree.map(jnp.asarray, rows.read_all(task.train.only(views)))
    return OnDevice(real, parts, len(task.test_seen) + len(task.test_unseen))


class Synthesis(NamedTuple):
    """Rows to train on for one sampler, shared by the spaces: their source, and their views if these fit."""

    sampler: str
    source: rows.Source
    views: dict[str, jax.Array] | None


class InSpace(NamedTuple):
    """Rows to train on and to score in one space.

    made: where they come from. recipe, arrays: for `rows.fetch`. scored: rows to score; None for none.
    """

    made: Synthesis
    space: str
    recipe: rows.Recipe
    arrays: Any
    scored: fits.ScoredParts | None


_HOLDERS: "weakref.WeakSet[Scorer]" = weakref.WeakSet()  # scorers whose rows are on the device


@dataclasses.dataclass(eq=False)
class Scorer:
    """Scores states of a method on a task.

    The task's rows are uploaded when they are first needed and stay until `release`, or until the scorer goes; of the
    scorers of a process one at a time has its rows there, however many runs are under way.

    Attributes:
      method: it has `synthesize` and `embed`, or `scores`. Compiled code is kept for it: pass the same value each time.
      task: what to train classifiers on and what to score.
      options: see `EvalOptions`.
    """

    method: Method
    task: Task
    options: EvalOptions
    _data: OnDevice | None = dataclasses.field(default=None, init=False, repr=False)

    @property
    def data(self) -> OnDevice:
        """The task's rows on the device."""
        if self._data is None:
            for other in tuple(_HOLDERS):
                other.release()
            self._data = upload(self.task, self.method.views, self.options.chunk_rows)
            _HOLDERS.add(self)
        return self._data

    def release(self) -> None:
        """Takes the rows off the device; the next evaluation uploads them again."""
        self._data = None
        _HOLDERS.discard(self)

    def with_classifier(self, **options: Any) -> "Scorer":
        """The same with other options of the classifier, and the same rows on the device."""
        other = copy.copy(self)
        other.options = dataclasses.replace(self.options, **options)
        return other

    def evaluate(
        self,
        params: dict[str, Params],
        key: jax.Array,
        gammas: Mapping[str, float] | None = None,
        tick: Callable[[], object] = lambda: None,
    ) -> dict[str, Any]:
        """Scores one state.

        Args:
          params: inference parameters of the method.
          key: of everything random. Rows depend on their class and sampler, a classifier on its space and sampler, so
            that asking for one more space changes no other number.
          gammas: by space, the calibration (subtracted from the scores of seen classes) to report beside none; 0 if
            absent.
          tick: called after each space and sampler, and after the "seen" score, e.g. to move a progress bar.

        Returns:
          {"spaces": {space: {sampler: scores}}, "seen": {space: accuracies}}. The scores are lists over the
          classifier's epochs, in percent: T1, U, S, H, AUSUC; gamma and H_gamma (the gamma of highest H on this task,
          and that H); U_cal, S_cal, H_cal (at `gammas`). The "seen" score stands for the first space and sampler.
          Methods with `scores` alone have the space "scores", the sampler "direct" and lists of length 1, and no
          "seen".

        Raises:
          InputError: the method has none of the spaces or samplers asked for.
        """
        gammas = gammas or {}
        if self.method.synthesize is None:
            direct = self.score_directly(params, gammas.get(DIRECT_SPACE, 0.0))
            return {"spaces": {DIRECT_SPACE: {DIRECT_SAMPLER: direct}}, "seen": {}}
        spaces, samplers = self.options.spaces_of(self.method), self.options.samplers_of(self.method)
        found: dict[str, dict[str, Series]] = {space: {} for space in spaces}
        for group in self.side_by_side(params):
            made = [self.synthesise(params, key, sampler) for sampler in group]
            for space in spaces:
                scores = self.score_space(made, space, key, gammas.get(space, 0.0))
                found[space] |= dict(zip(group, scores, strict=True))
                for _ in group:
                    tick()
            del made  # before the next sampler's rows take as much memory
        seen = self.seen_score(params, key, spaces[0], samplers[0])
        tick()
        return {"spaces": found, "seen": {spaces[0]: seen}}

    def class_scores(self, params: dict[str, Params]) -> tuple[np.ndarray, np.ndarray]:
        """The method's own class scores of both test parts [n, C]: columns of the seen, then of the unseen classes."""
        tables, order = tables_of(self.task), class_columns("gzsl", self.task)
        parts = self.task.test_seen, self.task.test_unseen
        made = (rows.class_scores(self.method, params, part, tables, self.options.chunk_rows) for part in parts)
        seen, unseen = (scores[:, order] for scores in made)
        return seen, unseen

    def score_directly(self, params: dict[str, Params], gamma: float) -> Series:
        """Scores of the method's own class scores, as lists of length 1."""
        task, (seen, unseen) = self.task, self.class_scores(params)
        true = task.test_unseen.labels
        given = unseen[:, len(task.seen) :], positions(true, task.unseen), metrics.class_balance(true)
        t1 = metrics.weighted_accuracy(*map(jnp.asarray, given))
        return percent({"T1": t1, **_gzsl_scores(gains_of(task, seen, unseen), jnp.float32(gamma))})

    def side_by_side(self, params: dict[str, Params]) -> tuple[tuple[str, ...], ...]:
        """The samplers, in groups whose classifiers are trained as one program: all, if their rows fit together."""
        options, n_unseen = self.options, len(self.task.unseen)
        samplers = options.samplers_of(self.method)
        semantics = jax.ShapeDtypeStruct((n_unseen, self.task.semantics.shape[1]), jnp.float32)
        source = rows.Source(params, self.data.real, semantics, jax.eval_shape(lambda: jax.random.key(0)))  # pyright: ignore[reportArgumentType]
        recipes = [
            rows.Recipe("draws", self.method, space, sampler, options.syn_num)
            for space in options.spaces_of(self.method)
            for sampler in samplers
        ]
        views, features = zip(*(rows.widths(recipe, source) for recipe in recipes), strict=True)
        k, n_train = len(samplers), recipes[0].rows_of(source)
        # Features of each sampler, once more where they are stacked.
        kind = rows.choose_kind(k * max(views), 2 * k * max(features), n_train, self.data.n_test, options.memory_mb)
        return (samplers,) if kind == "features" else tuple((sampler,) for sampler in samplers)

    def synthesise(
        self, params: dict[str, Params], key: jax.Array, sampler: str, of: Literal["unseen", "seen"] = "unseen"
    ) -> Synthesis:
        """`syn_num` synthetic rows of each unseen class beside the real rows, or of each seen class without these.

        They are drawn once for all spaces, if they fit into memory.
        """
        task, options, real = self.task, self.options, self.data.real if of == "unseen" else {}
        semantics = jnp.asarray(task.semantics[task.unseen if of == "unseen" else task.seen])
        source = rows.Source(params, real, semantics, derive(key, "rows", of, sampler))
        recipe = rows.Recipe("views", self.method, options.spaces_of(self.method)[0], sampler, options.syn_num)
        kind = rows.choose_kind(rows.widths(recipe, source)[0], 0, recipe.rows_of(source), 0, options.memory_mb)
        views = None if kind == "draws" else rows.all_views(recipe, source, options.chunk_rows)
        return Synthesis(sampler, source, views)

    def in_space(self, made: Synthesis, space: str, scored: fits.ScoredParts | None = None) -> InSpace:
        """Training and test rows in one space, as the memory allows; `scored`: test rows in that space, if at hand."""
        options, source = self.options, made.source
        recipe = rows.Recipe("draws", self.method, space, made.sampler, options.syn_num)
        sizes = *rows.widths(recipe, source), recipe.rows_of(source), self.data.n_test
        kind = rows.choose_kind(*sizes, options.memory_mb)
        if made.views is None or kind != "features":
            recipe = dataclasses.replace(recipe, kind=kind)
            return InSpace(made, space, recipe, (source, made.views), self.data.scored)
        features = rows.all_features(self.method, space, source.params, made.views, options.chunk_rows)
        if scored is None:
            seen, unseen = (rows.embed_chunks(self.method, space, source.params, part) for part in self.data.scored)
            scored = seen, unseen
        return InSpace(made, space, rows.Recipe("features"), features, scored)

    def fit_inputs(self, purpose: fits.Purpose, given: InSpace) -> tuple[fits.Setup, fits.Inputs]:
        """The static side and the arrays of one fit."""
        task, classes = self.task, class_columns(purpose, self.task)
        labels = training_labels(purpose, task, self.options.syn_num)
        first = len(task.train) if purpose == "zsl" else 0
        options = self.options.of(given.space)
        setup = options.setup(purpose, given.recipe, len(labels), len(task.seen), len(classes), first)
        arrays = jnp.asarray(labels), given.made.source.params, given.scored, jnp.asarray(task.semantics[classes])
        return setup, fits.Inputs(given.arrays, *arrays)

    def fit(
        self, purpose: fits.Purpose, given: Sequence[InSpace], key: jax.Array, gamma: float = 0.0, epoch: int = -1
    ) -> Sequence[classifier.Fit]:
        """Fits a classifier on the rows of each sampler; keeps its parameters after epoch `epoch` (-1: the last)."""
        setup, inputs = self.fit_inputs(purpose, given[0])
        purposes = [(purpose, one.space, one.made.sampler) for one in given]
        rest = self.options.numbers(gamma), jnp.int32(epoch % setup.epochs)
        if len(given) == 1:
            return [fits.train(setup, inputs, derive(key, *purposes[0]), *rest)]
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, np.stack([_code(one) for one in purposes]))
        return fits.train_together(setup, tuple(one.arrays for one in given), inputs._replace(held=None), keys, *rest)

    def score_space(self, made: Sequence[Synthesis], space: str, key: jax.Array, gamma: float) -> list[Series]:
        """Scores of one space for the synthetic rows of each sampler."""
        first = self.in_space(made[0], space)
        given = [first, *(self.in_space(one, space, first.scored) for one in made[1:])]
        gzsl, zsl = self.fit("gzsl", given, key, gamma), self.fit("zsl", given, key)
        return [percent({"T1": z.measures, **g.measures}) for z, g in zip(zsl, gzsl, strict=True)]

    def seen_score(self, params: dict[str, Params], key: jax.Array, space: str, sampler: str) -> list[float]:
        """Accuracy on the seen classes of a classifier that saw synthetic rows only, in percent, by its epochs."""
        (fit,) = self.fit("seen", [self.in_space(self.synthesise(params, key, sampler, "seen"), space)], key)
        return percent({"seen": fit.measures})["seen"]
