"""Small things that tests of nets, train steps and runs share: random trees, widths of a few units, bits."""

import signal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from zsl_jax.config import defaults
from zsl_jax.train_steps import registry
from zsl_jax.train_steps.method import Batch, Method, Spec, Tables, hyper_parameters, vector_spec
from zsl_jax.training.stopping import StopRequest

SPEC = vector_spec(x_dim=6, r_dim=5, a_dim=3, n_classes=4)
WIDTH = 8
TABLES = Tables(
    np.eye(SPEC.n_classes, SPEC.a_dim, dtype=np.float32),
    np.ones(SPEC.n_classes, bool),
    np.zeros((SPEC.a_dim, 0), np.float32),
)


def random_like(tree: Any, seed: int = 0, deviation: float = 1.0) -> Any:
    """Normal arrays of a tree's shapes: unlike fresh weights, no bias is zero and no gradient tiny."""
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(deviation * random.normal(size=leaf.shape), jnp.float32), tree)


def zerodiff_config(**dfg: Any) -> Any:
    """ZeroDiff of a few units a layer; `dfg` changes fields of its second stage."""
    config = narrow(defaults.zerodiff())
    config.dfg.update(dfg)
    return config


def narrow(config: Any) -> Any:
    """Makes all layers of a configuration a few units wide."""
    for section in (one for one in config.values() if isinstance(one, ConfigDict)):
        section.update({field: WIDTH for field in section if field.endswith("_width")})
        if section.get("z_dim"):
            section.z_dim = WIDTH
    config.finetune_x.hidden, config.finetune_x.width = (), WIDTH
    config.finetune_r.hidden, config.finetune_r.width = (), WIDTH
    config.finetune_r.paco.dim = 4
    return config


def synthetic(config: Any, seed: int = 0) -> Any:
    """Turns a configuration into one of a run of seconds: a small synthetic data set, few epochs, few scores."""
    config.seed = seed
    config.data.source, config.data.dataset = "synthetic", "synthetic"
    config.data.percent, config.data.validation_draws = 100, 1
    made_up = {"preset": "", "seen": 5, "unseen": 3, "a_dim": 4, "x_dim": 10, "r_dim": 6, "trainval": 100}
    config.data.synthetic.update(made_up | {"test_seen": 25, "test_unseen": 30})
    for stage in (one for one in config.values() if isinstance(one, ConfigDict) and "batch_size" in one):
        stage.epochs, stage.batch_size = 1, 16
        if "syn_num" in stage:
            stage.syn_num = 6
    config.finetune_r.paco.queue = 32
    config.eval.first, config.eval.every = 0, 1
    config.eval.classifier_epochs = 2
    config.eval.spaces, config.eval.samplers = ("V", "C"), ("one_step",)
    config.log_every = 2
    return config


def hyper(config: Any, stage: str, method: Method) -> dict[str, np.ndarray]:
    """The numbers that a method takes from its section."""
    del method
    return hyper_parameters(config[stage], registry.find(stage).numbers)


def batches(shape: tuple[int, ...], spec: Spec = SPEC, seed: int = 0) -> Batch:
    """Random training rows of `shape`: x and r in 0..1, semantics of unit length."""
    random = np.random.default_rng(seed)
    x, r = (random.random((*shape, width)).astype(np.float32) for width in (spec.x_dim, spec.r_dim))
    semantics = random.normal(size=(spec.n_classes, spec.a_dim)).astype(np.float32)
    semantics = semantics / np.linalg.norm(semantics, axis=1, keepdims=True)
    labels = random.integers(0, spec.n_classes, shape).astype(np.int32)
    views = {name: jnp.asarray(rows) for name, rows in {"x": x, "r": r}.items() if rows.shape[-1]}
    return Batch(views, jnp.asarray(semantics[labels]), jnp.asarray(labels))


def bits(tree: Any) -> list[bytes]:
    """The bytes of all arrays of a tree."""
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def difference(one: Any, other: Any) -> float:
    """The largest difference between two trees, relative to each array's largest entry: rounding is some 1e-7.

    What is bounded by it holds on any machine; that bits are other ones is perhaps one machine's rounding.
    """

    def of(left: Any, right: Any) -> float:
        left, right = np.asarray(left, np.float64), np.asarray(right, np.float64)
        largest = max(np.abs(left).max(initial=0.0), np.abs(right).max(initial=0.0))
        return float(np.abs(left - right).max(initial=0.0) / largest) if largest else 0.0

    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max((of(left, right) for left, right in pairs), default=0.0)


def untimed(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of a metrics.jsonl without what depends on the clock."""
    return [{name: value for name, value in line.items() if name != "iterations_per_second"} for line in records]


class StopAfter(StopRequest):
    """A request to stop that comes after so many chunks, as from SIGTERM."""

    chunks = 0

    def __init__(self):
        self.asked = 0

    @property
    def signum(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Is looked at after each chunk."""
        self.asked += 1
        return signal.SIGTERM if self.asked >= self.chunks else None
