"""How a method is scored."""

import dataclasses

import jax.numpy as jnp

from zsl_jax.errors import InputError
from zsl_jax.evaluation import fits, rows
from zsl_jax.evaluation.prototype import Options as Prototype
from zsl_jax.train_steps.method import Method


@dataclasses.dataclass(frozen=True)
class EvalOptions:
    """How a method is scored.

    Attributes:
      syn_num: synthetic rows per class.
      classifier: kind of classifier, one of `fits.KINDS`.
      classifier_lr: Adam's rate of softmax classifiers.
      classifier_epochs: their epochs.
      classifier_batch: their minibatch; 0: `syn_num`, as published.
      prototype: how prototype classifiers are trained.
      shrinkage: of discriminant analyses, see `zsl_jax.evaluation.discriminant`.
      seen_factor: what generalised scores of seen classes are multiplied with (published with prototypes: 0.95).
      spaces: classifier inputs to try, "INPUT", or "INPUT:KIND" with a kind of classifier of its own, e.g. "VCS:lda";
        those the method lacks are left out.
      samplers: ways to sample; those the method lacks are left out.
      chunk_rows: most rows synthesised, embedded or scored at once.
      memory_mb: megabytes that stored rows may take, see `rows.choose_kind`.
    """

    syn_num: int
    classifier_lr: float
    spaces: tuple[str, ...]
    classifier_epochs: int = 25
    classifier_batch: int = 0
    classifier: str = "softmax"
    prototype: Prototype = dataclasses.field(default_factory=Prototype)
    shrinkage: float = 0.3
    seen_factor: float = 1.0
    samplers: tuple[str, ...] = ("one_step", "progressive")
    chunk_rows: int = 4096
    memory_mb: float = 1024

    def of(self, space: str) -> "EvalOptions":
        """The same with the kind of classifier that a space names, if it does."""
        kind = rows.kind_of(space)
        return dataclasses.replace(self, classifier=kind) if kind else self

    @property
    def epochs(self) -> int:
        """Epochs of a fit."""
        return {"softmax": self.classifier_epochs, "prototype": self.prototype.epochs}.get(self.classifier, 1)

    @property
    def batch(self) -> int:
        """Minibatch of a fit."""
        return self.prototype.batch if self.classifier == "prototype" else self.classifier_batch or self.syn_num

    def setup(
        self, purpose: fits.Purpose, recipe: rows.Recipe, n_train: int, n_seen: int, n_classes: int, first: int = 0
    ) -> fits.Setup:
        """The static side of a fit; the arguments are those of `fits.Setup`."""
        how = self.epochs, self.batch, self.chunk_rows, self.prototype
        return fits.Setup(purpose, self.classifier, recipe, n_train, first, n_seen, n_classes, *how)

    def numbers(self, gamma: float = 0.0) -> fits.Numbers:
        """The scalars of a fit."""
        return fits.Numbers(*map(jnp.float32, (self.classifier_lr, gamma, self.seen_factor, self.shrinkage)))

    def spaces_of(self, method: Method) -> tuple[str, ...]:
        """The spaces that are asked for and that the method has; raises InputError if there is none."""
        return restrict(self.spaces, method.spaces, "spaces", method.name)

    def samplers_of(self, method: Method) -> tuple[str, ...]:
        """The samplers that are asked for and that the method has; raises InputError if there is none."""
        return restrict(self.samplers, method.samplers, "samplers", method.name)


def restrict(asked: tuple[str, ...], offered: tuple[str, ...], what: str, name: str) -> tuple[str, ...]:
    """What is both asked for and offered, in the order asked; of "INPUT:KIND" the input."""
    shared = tuple(one for one in asked if rows.input_of(one) in offered)
    if not shared:
        raise InputError(f"evaluation {what}: {name} offers none of {asked}; choose from {offered}")
    return shared
