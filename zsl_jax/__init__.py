"""Generative zero-shot learning in functional JAX."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zsl_jax.estimator.classifier import ZeroShotClassifier

__all__ = ["ZeroShotClassifier"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The estimator, imported when it is asked for: `import zsl_jax` alone loads neither JAX nor scikit-learn."""
    if name != "ZeroShotClassifier":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from zsl_jax.estimator.classifier import ZeroShotClassifier

    return ZeroShotClassifier
