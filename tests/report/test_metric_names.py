"""Names of what methods log, in words: every method's, and any other's."""

import jax
import pytest

from tests.tiny import SPEC, TABLES, batches
from tests.train_steps.test_registry import CASES, KEY, configuration, upstream_of
from zsl_jax.report import metric_names
from zsl_jax.train_steps import registry
from zsl_jax.train_steps.method import hyper_parameters

PANEL_OF = {  # by the kind that a name begins with
    "accuracy": "Accuracy (%)",
    "wasserstein": "Critics' Wasserstein distances",
    "score": "Critics' scores",
    "penalty": "Gradient penalties",
    "lambda": "Weight of the penalties",
    "grad_norm": "Gradient norms",
    "state": "State of the objective",
    "omega": "State of the objective",
}


def logged(stage: str, options: dict) -> list[str]:
    """What a stage logs."""
    config = configuration(stage, **options)
    entry = registry.find(stage)
    method, numbers = entry.build(config, SPEC), hyper_parameters(config[stage], entry.numbers)
    state = jax.eval_shape(method.init, KEY, upstream_of(config, stage), numbers, TABLES)
    given = batches((method.batches_per_step, 4))
    return list(jax.eval_shape(method.train_step, state, given, KEY, TABLES)[1])


@pytest.mark.parametrize("stage", registry.stages())
def test_all_that_methods_log_has_words_and_a_panel(stage):
    """No two curves of a panel have the same words."""
    found = [name for one, options in CASES if one == stage for name in logged(stage, options)]
    names = list(dict.fromkeys([*found, "evaluation/heldout_loss", "evaluation/heldout_accuracy"]))
    groups = metric_names.grouped(names)
    assert sorted(name for members in groups.values() for name in members) == sorted(names)
    for title, members in groups.items():
        words = [metric_names.words(name) for name in members]
        assert len(set(words)) == len(words), title
        assert not any("_" in one or "/" in one for one in words)
        kinds = {PANEL_OF.get(name.split("/")[0], title) for name in members}
        assert kinds == {title}
        assert title != metric_names.OTHER


@pytest.mark.parametrize(
    ("name", "words", "panel"),
    [
        ("critic_x0", "critic x0", "Critics' scores"),
        ("gradient_norm_critic_x0", "gradient norm critic x0", "Gradient norms"),
        ("penalty_x0", "penalty x0", "Gradient penalties"),
        ("loss/my_own", "my own", "Terms of the losses"),
        ("mystery", "mystery", metric_names.OTHER),
    ],
)
def test_names_that_are_in_no_table(name, words, panel):
    assert (metric_names.words(name), metric_names.panel(name)) == (words, panel)
