"""A scikit-learn estimator: fit on rows of seen classes and descriptions of all, predict seen and unseen ones.

    model = ZeroShotClassifier(method="zerodiff").fit(X, y, semantics=S, class_names=names)
    model.predict(X_new)

It trains with the engine of the programs, in a folder that is thrown away unless `workdir` names one.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from zsl_jax.config import presets
from zsl_jax.data import columns
from zsl_jax.data.scaling import apply_scaler, scale_semantics
from zsl_jax.errors import InputError
from zsl_jax.estimator import engine, saved
from zsl_jax.estimator.inputs import (
    Described,
    attributes_of,
    check_parameters,
    columns_of,
    describe,
    folder_named,
    named,
    require_labels,
    require_parts,
    say_unseen,
    seed_of,
)
from zsl_jax.evaluation import metrics


class ZeroShotClassifier(ClassifierMixin, BaseEstimator):
    """Generative zero-shot learning as a scikit-learn classifier.

    A generator learns from the rows of seen classes to make rows out of class descriptions; real rows of the seen
    classes and synthetic rows of the unseen ones train a linear final classifier. Without descriptions there is nothing
    to make rows of: `fit(X, y)` trains a linear softmax (logistic regression) on the scaled rows alone.

    Args:
      method: "zerodiff", "d2sc", "tfvaegan", "cramergan_tricks", a GAN of the zoo ("wgan", "clswgan", "cramergan",
        "lsgan", "nsgan", "mmgan", "ransgan", "dragan", "fishergan", "began", "infogan", "fgan_...") or an autoencoder
        ("ae", "ae2", "vae", "bir_vae").
      epochs: of each generator; None: as many as suit the number of rows.
      width: hidden units of all nets; None: a quarter of the number of features, 128 to 1024.
      batch_size: rows of a minibatch; None: 64, of few rows at most half.
      syn_num: synthetic rows of each unseen class.
      generalized: predict among all classes; False: among the unseen ones. May be changed after `fit`.
      space: input of the final classifier: "V", "VS", "C", "VC" or "VCS" (which a method has: docs/estimator.md);
        None: the best on the validation task, without one the last of the method's.
      calibration: what is taken off the scores of seen classes where `generalized`; None: what was best on the
        validation task, without one 0.
      validate: also train on validation tasks, in which some seen classes play "unseen": chooses epoch, space and
        calibration, and takes two to four times as long (of few classes three tasks). It runs from two seen classes on.
      random_state: whole number below 2^32, `numpy.random.RandomState` or None (drawn anew for each fit).
      verbose: whether to show progress bars.
      options: fields of the configuration by dotted name, e.g. {"dfg.gamma_recons": 1.0}; see
        `zsl_jax/config/defaults.py`. They win over the parameters above.
      workdir: folder of the run; the same `fit` again goes on there, another is refused. None: a temporary one.

    Of these `generalized` alone acts after `fit`; then the calibration is the attribute `calibration_`.

    Attributes:
      classes_: all classes, sorted.
      seen_classes_, unseen_classes_: their parts; the unseen ones in the order given.
      semantics_: descriptions of the seen, then of the unseen classes [C, A] float32, as scaled; None without.
      attribute_names_: names of their columns [A], of a data frame; else ().
      calibration_: what is taken off the scores of seen classes.
      generator_: the trained `zsl_jax.estimator.engine.Generator`; None without semantics.
      n_features_in_, feature_names_in_: as scikit-learn has them.
    """

    def __init__(
        self,
        method="zerodiff",
        *,
        epochs=None,
        width=None,
        batch_size=None,
        syn_num=100,
        generalized=True,
        space=None,
        calibration=None,
        validate=False,
        random_state=0,
        verbose=False,
        options=None,
        workdir=None,
    ):
        self.method = method
        self.epochs = epochs
        self.width = width
        self.batch_size = batch_size
        self.syn_num = syn_num
        self.generalized = generalized
        self.space = space
        self.calibration = calibration
        self.validate = validate
        self.random_state = random_state
        self.verbose = verbose
        self.options = options
        self.workdir = workdir

    def fit(self, X, y, semantics=None, class_names=None) -> Self:
        """Trains the generator and the final classifiers.

        Args:
          X: rows of the seen classes [n, D], numbers.
          y: their classes [n], whole numbers or strings.
          semantics: a description of every class, seen and unseen: an array [C, A], or by label a dict of vectors [A]
            or a data frame (labels as its index). Classes without rows in y are the unseen ones. None: a plain
            classifier of the seen classes.
          class_names: labels of the rows of `semantics` [C]; None: those of y, sorted.

        Raises:
          ValueError: the parameters or the data cannot be used, and what to do (`zsl_jax.errors.InputError`, or
            scikit-learn's own); a model fitted before stays as it was.
          zsl_jax.training.stage.Diverged: a loss was not finite.
        """
        with restored_on_failure(self):
            check_parameters(self.get_params())
            x, y = map(np.asarray, validate_data(self, X, y, dtype=np.float32))
            require_labels(y.tolist(), "y")
            check_classification_targets(y)
            return self._fit(x, y, semantics, class_names)

    def _fit(self, x: np.ndarray, y: np.ndarray, semantics: Any, class_names: Any) -> Self:
        seen, labels = np.unique(y, return_inverse=True)
        labels = labels.astype(np.int32)
        if len(seen) < 2:
            raise InputError(f"y has one class, {seen.tolist()[0]!r}: two classes or more are needed")
        if semantics is not None:
            described = describe(semantics, class_names, seen)
            say_unseen(described)
            return self._fit_generator(x, labels, seen, described)
        if class_names is not None:
            raise InputError("class_names: without semantics there are no classes but those of y; give both or none")
        return self._fit_plain(x, labels, seen)

    def add_classes(self, semantics, class_names=None) -> Self:
        """Adds unseen classes: makes rows of them and trains the final classifiers anew, the generator stays.

        Args:
          semantics: their descriptions, as `fit` takes them; the columns of data frames are joined by name.
          class_names: labels of the rows of `semantics`; None with a dict or a data frame.

        Raises:
          ValueError: (`zsl_jax.errors.InputError`) there is no generator, a class is there already, or the descriptions
            are of another width or have other columns.
        """
        check_is_fitted(self)
        if self.generator_ is None or self.semantics_ is None:
            raise InputError("add_classes: fit was called without semantics, so there is no generator; fit with them")
        names, vectors = named(semantics, class_names)
        vectors = columns.joined(vectors, attributes_of(semantics), self.attribute_names_, "add_classes")
        require_labels([*self.classes_.tolist(), *names.tolist()], "add_classes")
        known = set(self.classes_.tolist()) & set(names.tolist())
        if known:
            raise InputError(f"add_classes: class {min(known, key=str)!r} is there already")
        if vectors.shape[1] != self.semantics_.shape[1]:
            raise InputError(
                f"add_classes: {vectors.shape[1]} numbers describe a class, the others have {self.semantics_.shape[1]}"
            )
        unseen = np.concatenate([self.unseen_classes_, names])
        vectors = scale_semantics(self.generator_.semantics, vectors, "add_classes")
        return self._keep(self.generator_, unseen, np.concatenate([self.semantics_, vectors]))

    def predict(self, X) -> np.ndarray:
        """Classes [n] of rows X [n, D]."""
        best = self._scores(X).argmax(1)
        return self.classes_[best]

    def predict_proba(self, X) -> np.ndarray:
        """Probabilities [n, C] of `classes_` for rows X [n, D]; 0 for seen classes unless `generalized`."""
        scores = self._scores(X)
        shares = np.exp(scores - scores.max(1, keepdims=True))
        return shares / shares.sum(1, keepdims=True)

    def score(self, X, y, metric=None) -> float:
        """A score, 0 to 1, of rows X [n, D] of classes y [n]; every class of y counts alike.

        Args:
          X, y: rows and their classes.
          metric: None: mean accuracy per class of `predict`. Else, whatever `generalized` is and of the rows that
            belong to it: "T1", the accuracy of unseen classes among themselves; "U" and "S", of unseen and of seen
            classes among all, `calibration_` included; "H", their harmonic mean; "AUSUC", the area under the
            seen-unseen curve, over all calibrations.

        Raises:
          ValueError: X and y differ in length, or (`zsl_jax.errors.InputError`) the metric is another, a class of y
            is none of `classes_`, or classes that the metric needs have no rows in y.
        """
        y = column_or_1d(y)
        check_consistent_length(X, y)
        if metric is None:
            return metrics.mean_accuracy(self.predict(X), y, np.unique(y))
        x, n_seen = self._rows(X), len(self.seen_classes_)
        columns = columns_of(y, np.concatenate([self.seen_classes_, self.unseen_classes_]))
        require_parts(metric, columns < n_seen)
        return engine.measure(metric, self._among(x, metric != "T1"), columns, n_seen)

    def save(self, path) -> None:
        """Writes the fitted estimator to a folder: `estimator.json` and `arrays.safetensors`, nothing pickled.

        The real rows are kept too, as views scaled to train on, since `add_classes` needs them. An estimator that is
        there alone is replaced.

        Raises:
          ValueError: (`zsl_jax.errors.InputError`) something else is there, a parameter is no plain value, or the
            folder cannot be written.
        """
        check_is_fitted(self)
        saved.write(folder_named(path), self)

    @classmethod
    def load(cls, path) -> Self:
        """Reads an estimator that `save` wrote, from anyone: nothing in the files is executed or trusted; no `workdir`.

        Raises:
          ValueError: (`zsl_jax.errors.InputError`) the folder is missing, damaged or not of this format.
        """
        return saved.read(folder_named(path), cls())

    def _fit_plain(self, x: np.ndarray, labels: np.ndarray, seen: np.ndarray) -> Self:
        self.scaler_, head = engine.fit_plain(x, labels)
        self.heads_ = {"gzsl": head}
        self.generator_, self.semantics_, self.attribute_names_, self.calibration_ = None, None, (), 0.0
        self._views, self._labels = {}, labels[:0]
        self.seen_classes_, self.unseen_classes_, self.classes_ = seen, seen[:0], seen
        return self

    def _fit_generator(self, x: np.ndarray, labels: np.ndarray, seen: np.ndarray, described: Described) -> Self:
        config = presets.start(self.method)
        config.seed = seed_of(self.random_state)
        presets.override(config, self.options or {})  # what becomes of the data may be asked for there
        names = tuple(map(str, [*seen, *described.unseen]))
        dataset = engine.in_memory(config, x, labels, described.semantics, names, described.attributes)
        self._configure(config)
        own = None if self.workdir is None else contextlib.nullcontext(self.workdir)
        with own or tempfile.TemporaryDirectory(prefix="zsl_jax_") as workdir:
            generator, chosen = engine.learn(config, dataset, Path(workdir), bool(self.verbose))
        self.generator_, self.scaler_, self.seen_classes_ = generator, None, seen
        self.attribute_names_ = described.attributes
        self.calibration_ = float(chosen if self.calibration is None else self.calibration)
        self._views, self._labels = engine.views_of(engine.ready(generator), x), labels
        return self._keep(generator, described.unseen, scale_semantics(generator.semantics, described.semantics, "fit"))

    def _keep(self, generator: engine.Generator, unseen: np.ndarray, semantics: np.ndarray) -> Self:
        """Trains final classifiers of the seen and these unseen classes, then takes both over."""
        classes = np.sort(np.concatenate([self.seen_classes_, unseen]))
        heads = engine.fit_heads(generator, self._views, self._labels, semantics)
        self.heads_, self.unseen_classes_, self.semantics_, self.classes_ = heads, unseen, semantics, classes
        return self

    def _configure(self, config: Any) -> None:
        """Sets what the parameters ask for; single fields that `options` names win."""
        presets.resize(config, *(int(given or 0) for given in (self.epochs, self.width, self.batch_size, self.syn_num)))
        config.validate, config.upstream = bool(self.validate), "validated" if self.validate else "last"
        if self.space is not None:
            config.eval.spaces = (str(self.space),)
        presets.override(config, self.options or {})

    def _rows(self, X) -> np.ndarray:
        """Rows [n, D] as the fitted estimator takes them."""
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, dtype=np.float32, reset=False))

    def _scores(self, X) -> np.ndarray:
        """Class scores [n, C] in the order of `classes_`; -inf for classes that are not to be predicted."""
        found = self._among(self._rows(X), self.generalized)
        return found[:, np.argsort(np.concatenate([self.seen_classes_, self.unseen_classes_]))]

    def _among(self, x: np.ndarray, generalized: bool) -> np.ndarray:
        """Scores [n, C] of the seen, then of the unseen classes; -inf for seen ones unless `generalized`."""
        n_seen = len(self.seen_classes_)
        if generalized:
            found = self._through("gzsl", x)
            found[:, :n_seen] -= self.calibration_
            return found
        if "zsl" not in self.heads_:
            raise InputError("generalized=False: there are no unseen classes; fit with semantics that describe some")
        return np.pad(self._through("zsl", x), ((0, 0), (n_seen, 0)), constant_values=-np.inf)

    def _through(self, head: str, x: np.ndarray) -> np.ndarray:
        """Scores [n, ...] that a final classifier gives to raw rows x [n, D]."""
        if self.scaler_ is not None:
            return engine.class_scores(self.heads_[head], apply_scaler(self.scaler_, x), unit=False)
        assert self.generator_ is not None
        use = engine.ready(self.generator_)
        features = engine.features_of(use, engine.views_of(use, x))
        kind = use.options.of(self.generator_.space).classifier
        return engine.class_scores(self.heads_[head], features, unit=kind == "prototype")


@contextlib.contextmanager
def restored_on_failure(estimator: Any) -> Iterator[None]:
    """Leaves an estimator as it was where a fit fails: the model before still predicts."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
