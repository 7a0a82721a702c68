"""What a configuration would train, without training it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from zsl_jax.data.dataset import Dataset
from zsl_jax.experiment import checks, problems
from zsl_jax.train_steps import registry
from zsl_jax.training.parallel import make_layout
from zsl_jax.training.stage import Stage


def lines(config: Any, workdir: Path | None) -> Iterator[str]:
    """The data and their rows, and for each task its stages with rows, iterations and parameters.

    Args:
      config: a whole configuration.
      workdir: of the run; nets that were imported there must fit.

    Raises:
      InputError: as when training begins.
    """
    config, dataset = problems.load(config)
    if workdir is not None:
        checks.check_imports(config, dataset, workdir)
    yield f"data: {dataset.name}, fingerprint {dataset.fingerprint()[:12]}"
    key, layout = jax.random.key(config.seed), make_layout(config.parallel)
    tasks = problems.validation_problems(config, dataset, Path(), key, layout, bars=False)
    for problem in [*tasks, problems.test_problem(Path(), key, {}, layout, bars=False)]:
        task = problem.make_task(dataset, config.data)
        parts = {"training": task.train, "seen": task.test_seen, "unseen": task.test_unseen}
        yield f"{problem.name} task: " + ", ".join(f"{len(part.labels)} {name} rows" for name, part in parts.items())
        for stage in stages(config, dataset, problem):
            yield f"  stage {stage.name}: {stage.epochs} epochs; {problems.sizes_line(stage)}"


def stages(config: Any, dataset: Dataset, problem: problems.Problem) -> Iterator[Stage]:
    """The stages of a task, given random rows and shapes for what earlier ones would leave."""
    views, upstream = dataset, {}
    for name, outline in checks.outlines(config, checks.spec_of(dataset)).items():
        stage, _ = problems.make_stage(config, name, dataset, views, problem, upstream)
        yield stage
        method = outline.method
        if method.produces:
            source = dataset if registry.find(name).raw else views
            shape = checks.embedded_shape(method, outline.params, checks.spec_of(source), method.produces)
            rows = np.random.default_rng(0).random((len(dataset.labels), *shape), np.float32)
            views = views.with_view(method.produces, rows, method.name)
        if method.kind != "view":
            upstream |= {name: outline.params}
