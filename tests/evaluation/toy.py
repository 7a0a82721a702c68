"""A task with a known answer and methods that know it: rows are Gaussian around a linear map of the semantics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax.data.dataset import Part, Task
from zsl_jax.train_steps.method import Method

X_DIM, R_DIM, A_DIM, N_SEEN, N_UNSEEN = 12, 6, 5, 7, 4


def params(noise: float = 0.3) -> dict:
    """The true maps from semantics to x and r, and the noise around them."""
    random = np.random.default_rng(0)
    maps = {"x": random.normal(size=(A_DIM, X_DIM)), "r": random.normal(size=(A_DIM, R_DIM))}
    return {"maps": {name: jnp.asarray(m, jnp.float32) for name, m in maps.items()}, "noise": jnp.float32(noise)}


def synthesize(truth, semantics, keys, sampler):
    """Draws from the true densities; the "progressive" sampler has half the noise."""
    scale = truth["noise"] * (0.5 if sampler == "progressive" else 1.0)

    def one(a, key):
        x_key, r_key = jax.random.split(key)
        x = a @ truth["maps"]["x"] + scale * jax.random.normal(x_key, (X_DIM,))
        return {"x": x, "r": a @ truth["maps"]["r"] + scale * jax.random.normal(r_key, (R_DIM,))}

    return jax.vmap(one)(semantics, keys)


def embed(truth, views, space):
    """V is x, C is r, VC both, VS x beside a function of it that has parameters."""
    parts = {"V": [views["x"]], "C": [views["r"]], "VC": [views["x"], views["r"]]}
    parts["VS"] = [views["x"], jnp.tanh(views["x"] @ truth["maps"]["x"].T)]
    return jnp.concatenate(parts[space], 1)


def generative() -> Method:
    """The optimal generative method of the task."""
    return Method(
        name="toy",
        batches_per_step=1,
        init=lambda key, upstream, hyper, tables: (_ for _ in ()).throw(AssertionError("not trained")),
        train_step=lambda state, batches, key, tables: (_ for _ in ()).throw(AssertionError("not trained")),
        inference=lambda state: state.params,
        synthesize=synthesize,
        embed=embed,
        spaces=("V", "VS", "C", "VC"),
        samplers=("one_step", "progressive"),
    )


def direct() -> Method:
    """The same knowledge as class scores: minus the squared distance to each class's true mean."""

    def scores(truth, views, tables):
        del tables
        means = truth["semantics"] @ truth["maps"]["x"]
        return -jnp.sum((views["x"][:, None, :] - means[None, :, :]) ** 2, -1)

    toy = generative()
    return Method(
        toy.name, toy.batches_per_step, toy.init, toy.train_step, toy.inference, scores=scores, kind="classifier"
    )


@functools.cache
def task(rows_per_class: int = 30, noise: float = 0.3, seed: int = 1) -> Task:
    """Seven seen and four unseen classes in mixed order, with as many test as training rows."""
    random = np.random.default_rng(seed)
    truth = jax.tree.map(np.asarray, params(noise))
    n_classes = N_SEEN + N_UNSEEN
    semantics = random.normal(size=(n_classes, A_DIM)).astype(np.float32)
    order = random.permutation(n_classes).astype(np.int32)
    seen, unseen = np.sort(order[:N_SEEN]), np.sort(order[N_SEEN:])

    def part(classes):
        labels = random.permutation(np.repeat(classes, rows_per_class))
        means = {name: semantics[labels] @ truth["maps"][name] for name in ("x", "r")}
        rows = {name: (m + noise * random.normal(size=m.shape)).astype(np.float32) for name, m in means.items()}
        return Part(rows, labels)

    names = tuple(f"class {i}" for i in range(n_classes))
    return Task("toy", part(seen), part(seen), part(unseen), semantics, seen, unseen, names, np.arange(0), np.arange(0))
