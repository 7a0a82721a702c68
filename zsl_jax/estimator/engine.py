"""What the estimator learns, as values: the views of raw rows, a generator, and linear final classifiers."""

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression

from zsl_jax.config import presets
from zsl_jax.data import splits
from zsl_jax.data.checks import float32
from zsl_jax.data.dataset import Dataset, Part, Task
from zsl_jax.data.scaling import Scaler, SemanticsScaler, apply_scaler, fit_scaler, fit_semantics
from zsl_jax.evaluation import classifier, fits, metrics, protocol, prototype, rows
from zsl_jax.evaluation.options import EvalOptions
from zsl_jax.evaluation.scoring import InSpace, Scorer, Synthesis, class_columns
from zsl_jax.experiment import checks, problems, runs
from zsl_jax.experiment.settling import settle
from zsl_jax.train_steps.method import Method, Params, Spec
from zsl_jax.training import lockstep, stage, stopping
from zsl_jax.training.workdir import RunFiles

CHUNK_ROWS = 512  # rows embedded at once: fewer are padded, so that one program serves any number of rows


class View(NamedTuple):
    """A stage that makes a view of the rows: its inference parameters, and the scaler of the raw rows it takes."""

    params: dict[str, Params]
    scaler: Scaler


class Head(NamedTuple):
    """A linear final classifier: weights [C, F] and bias [C], float32."""

    weights: np.ndarray
    bias: np.ndarray


@dataclasses.dataclass(frozen=True)
class Generator:
    """A trained generator, and what raw rows go through before a final classifier sees them.

    Attributes:
      config: the configuration it was trained with, as plain values.
      raw: sizes of the raw data.
      views: the stages that make views, by name, in order.
      scalers: of the views "x" and maybe "r", by name.
      semantics: the scaler of descriptions.
      params: inference parameters of the last stage.
      space: input space of the final classifiers.
      sampler: the way to sample.
      key: of synthetic rows and final classifiers, as raw data [words] uint32.
    """

    config: dict[str, Any]
    raw: Spec
    views: dict[str, View]
    scalers: dict[str, Scaler]
    semantics: SemanticsScaler
    params: dict[str, Params]
    space: str
    sampler: str
    key: np.ndarray


class Ready(NamedTuple):
    """A generator made ready for use: the methods of its views and of itself, and its options of evaluation."""

    generator: Generator
    views: dict[str, Method]
    method: Method
    options: EvalOptions

    def root(self) -> jax.Array:
        """The key that those of rows and classifiers are derived from, as in an evaluation."""
        return jax.random.wrap_key_data(jnp.asarray(self.generator.key))


def ready(generator: Generator) -> Ready:
    """Finds the methods of a generator."""
    config = presets.restore(generator.config)
    methods = {name: outline.method for name, outline in checks.outlines(config, generator.raw).items()}
    *_, last = methods
    options = problems.eval_options(config, last, methods[last])
    return Ready(generator, {name: methods[name] for name in generator.views}, methods[last], options)


def in_memory(
    config: Any,
    x: np.ndarray,
    labels: np.ndarray,
    semantics: np.ndarray,
    names: tuple[str, ...],
    attributes: tuple[str, ...] = (),
) -> Dataset:
    """A data set of training rows alone.

    Args:
      config: whole configuration.
      x: features [N, D] float32.
      labels: classes [N] int32; classes without rows are unseen.
      semantics: of all classes [C, A], as they are given.
      names: of all classes.
      attributes: names of the columns of `semantics`, or none.

    Raises:
      InputError: more validation classes are asked for than can be spared.
    """
    parts = {"trainval": np.arange(len(x)), "test_seen": np.zeros(0, np.int64), "test_unseen": np.zeros(0, np.int64)}
    chosen, notes = splits.complete_splits(parts, labels, config.data.validation_classes, "memory", "memory")
    given = float32(semantics)
    made = Dataset(
        "memory", {"x": x}, {"x": "features"}, "given", labels, given, chosen, names, notes,
        given_semantics=semantics, attribute_names=attributes,
    )  # fmt: skip
    return made.with_semantics(config.data.semantics_scaling)


def learn(config: Any, dataset: Dataset, workdir: Path, bars: bool) -> tuple[Generator, float]:
    """Trains all stages; a workdir that has them, made with the same options and data, is taken as it is.

    Returns:
      the generator, and the calibration chosen on the validation task, 0 without one.

    Raises:
      InputError: the options contradict each other or do not fit the data, or the workdir is of another run.
      Diverged: a loss or gradient was not finite.
    """
    checks.check_options(config)
    config, dataset = settle(config, dataset)
    checks.rehearse(config, dataset)
    with contextlib.ExitStack() as held:
        RunFiles(workdir).own(held, config.to_dict() | runs.records_of(dataset), runs.FREE_FIELDS)
        return collect(config, lockstep.drive(problems.run(config, dataset, workdir, stopping.StopRequest(), bars)))


def collect(config: Any, trained: problems.Runs) -> tuple[Generator, float]:
    """Takes from a run's checkpoints what is used of it."""
    dataset, last = trained.dataset, trained.test.last
    space, place, gamma = choose(config, trained)
    made = {"x": dataset.x}
    views: dict[str, View] = {}
    for name, one in trained.test.stages.items():
        if one.method.produces:
            best = max(trained.test.evaluations[name], key=lambda evaluation: evaluation["score"])["epoch"]
            scaler = fit_scaler(config[name].scaling, dataset.x, divide=False)
            views[name] = View(jax.device_get(stage.load_inference(one, best)), scaler)
            made[one.method.produces] = view_of(one.method, views[name], dataset.x)
    generator = Generator(
        config=config.to_dict(),
        raw=checks.spec_of(dataset),
        views=views,
        scalers={name: fit_scaler(config.data.scaling, view) for name, view in made.items()},
        semantics=dataset.semantics_scaler or fit_semantics("none", dataset.semantics),
        params=jax.device_get(stage.load_inference(last, place.epoch)),
        space=space,
        sampler=place.sampler,
        key=stage.raw(last.evaluation_key(place.epoch)),
    )
    return generator, gamma


def choose(config: Any, trained: problems.Runs) -> tuple[str, protocol.Place, float]:
    """Space, place and calibration by the validation task; without one the last space and epoch, the first sampler."""
    last = trained.test.last
    choices = trained.choices.get(last.name, {})
    space = protocol.best_space(choices)
    if space is None:
        options = problems.eval_options(config, last.name, last.method)
        space = options.spaces_of(last.method)[-1]
        place = protocol.Place(last.epochs - 1, options.samplers_of(last.method)[0], options.of(space).epochs - 1)
        return space, place, 0.0
    there = [protocol.at(one.evaluations[last.name], space, choices[space]["H"]) for one in trained.validation]
    return space, there[0][0], float(np.mean([values["gamma"] for _, values in there]))


def embed(method: Method, params: dict[str, Params], views: Mapping[str, np.ndarray], space: str) -> np.ndarray:
    """What a method makes of views [n, ...] in one space: [n, F] float32."""
    n = len(next(iter(views.values())))
    return rows.embedded(method, params, Part(views, np.zeros(n, np.int32)), space, CHUNK_ROWS)


def view_of(method: Method, view: View, x: np.ndarray) -> np.ndarray:
    """The view [n, F] that a stage makes of raw rows x [n, D]."""
    return embed(method, view.params, {"x": apply_scaler(view.scaler, x)}, method.produces)


def views_of(use: Ready, x: np.ndarray) -> dict[str, np.ndarray]:
    """The scaled views of raw rows x [n, D] that the generator's rows stand beside: "x" and maybe "r"."""
    made = {use.views[name].produces: view_of(use.views[name], view, x) for name, view in use.generator.views.items()}
    return {name: apply_scaler(scaler, made.get(name, x)) for name, scaler in use.generator.scalers.items()}


def features_of(use: Ready, views: Mapping[str, np.ndarray]) -> np.ndarray:
    """Inputs [n, F] of the final classifiers."""
    return embed(use.method, use.generator.params, views, use.generator.space)


def fit_heads(
    generator: Generator, views: Mapping[str, np.ndarray], labels: np.ndarray, semantics: np.ndarray
) -> dict[str, Head]:
    """Trains the final classifiers, as an evaluation of a run would.

    Synthetic rows of a class depend on its semantics and its place: more classes after it change nothing.

    Args:
      generator: makes the rows of the unseen classes.
      views: of the real rows.
      labels: their classes [n] int32; the seen classes have the first numbers.
      semantics: of all classes [C, A], the seen ones first.

    Returns:
      "gzsl": among all classes, trained on real and synthetic rows. "zsl": among the unseen classes, on synthetic rows
      alone; absent without unseen classes.
    """
    use, seen, none = ready(generator), np.unique(labels), np.arange(0)
    classes, unscored = np.arange(len(semantics), dtype=np.int32), Part({}, labels[:0])
    unseen = classes[len(seen) :]
    task = Task("fit", Part(views, labels), unscored, unscored, semantics, seen, unseen, (), none, none)
    scorer, heads = Scorer(use.method, task, use.options), {}
    given = training_rows(use, scorer)
    purposes: tuple[fits.Purpose, ...] = ("gzsl", "zsl") if len(unseen) else ("gzsl",)
    for purpose in purposes:
        (fit,) = scorer.fit(purpose, [given], use.root())
        heads[purpose] = linear(fit.kept, semantics[class_columns(purpose, task)], use.options)
    # Prototypes have no bias: to weigh their scores is to weigh the weights.
    heads["gzsl"].weights[: len(seen)] *= np.float32(use.options.seen_factor)
    return heads


def training_rows(use: Ready, scorer: Scorer) -> InSpace:
    """What the final classifiers are trained on: real rows and, where there are unseen classes, synthetic ones."""
    params, space, sampler = use.generator.params, use.generator.space, use.generator.sampler
    if len(scorer.task.unseen):
        made = scorer.synthesise(params, use.root(), sampler)
        return scorer.in_space(made, space, scorer.data.scored)._replace(scored=None)
    real = scorer.data.real
    made = Synthesis(sampler, rows.Source(params, real, jnp.zeros((0, use.generator.raw.a_dim)), use.root()), real)
    features = rows.all_features(use.method, space, params, real, use.options.chunk_rows)
    return InSpace(made, space, rows.Recipe("features"), features, None)


def linear(kept: Any, semantics: np.ndarray, options: EvalOptions) -> Head:
    """A fitted classifier as weights and bias; prototypes, whose scores are cosines, ask for rows of unit length."""
    if isinstance(kept, classifier.Linear):
        return Head(np.array(kept.weights), np.array(kept.bias))
    unit_rows = jnp.eye(kept.out.bias.size)
    weights = prototype.scores(kept, jnp.asarray(semantics), unit_rows, options.prototype).T
    return Head(np.array(weights), np.zeros(len(semantics), np.float32))


def fit_plain(x: np.ndarray, labels: np.ndarray) -> tuple[Scaler, Head]:
    """A linear softmax of scaled rows x [n, D] of classes [n]: what is left without semantics."""
    scaler = fit_scaler("minmax", x)
    fitted = LogisticRegression(max_iter=1000).fit(apply_scaler(scaler, x), labels)
    weights, bias = fitted.coef_, fitted.intercept_
    if len(weights) == 1:  # of two classes scikit-learn keeps the difference
        weights, bias = np.concatenate([0 * weights, weights]), np.concatenate([0 * bias, bias])
    return scaler, Head(weights.astype(np.float32), bias.astype(np.float32))


def class_scores(head: Head, features: np.ndarray, unit: bool) -> np.ndarray:
    """Class scores [n, C] float64 of features [n, F]; `unit`: of rows of length 1."""
    wide = features.astype(np.float64)
    if unit:
        wide = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), prototype.SMALLEST_NORM)
    return wide @ head.weights.T.astype(np.float64) + head.bias[None, :]


def measure(metric: str, scores: np.ndarray, columns: np.ndarray, n_seen: int) -> float:
    """A score, 0 to 1, of class scores [n, C] of rows whose classes are `columns` [n], seen classes in the first ones.

    metric: "U", "S", "H", "AUSUC", or of scores among the unseen classes alone "T1".
    """
    is_seen = columns < n_seen
    if metric == "AUSUC":
        return area(scores, columns, n_seen)
    predicted = metrics.predict(scores)
    s, u = (
        metrics.mean_accuracy(predicted[part], columns[part], np.unique(columns[part])) for part in (is_seen, ~is_seen)
    )
    return {"T1": u, "U": u, "S": s, "H": float(metrics.harmonic_mean(u, s))}[metric]


def area(scores: np.ndarray, columns: np.ndarray, n_seen: int) -> float:
    """AUSUC, 0 to 1, as `measure`."""
    weights = np.zeros(len(columns), np.float32)
    for part in (columns < n_seen, columns >= n_seen):
        weights[part] = metrics.class_balance(columns[part])
    gains = metrics.gains(scores.astype(np.float32), columns, weights, n_seen)
    _, u, s = metrics.seen_unseen_curve(gains)
    return metrics.area(u, s)
