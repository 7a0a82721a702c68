"""The plan of the house holds: no import goes up, and nothing imports in a circle."""

from tools import rooms


def test_no_import_goes_up_and_none_in_a_circle(capsys):
    assert rooms.main() == 0, capsys.readouterr().out
    printed = capsys.readouterr().out
    assert all(f" {name} " in printed for name in ("data", "train_steps", "experiment", "commands"))


def test_what_goes_up_or_round_is_found():
    edges = {
        "zsl_jax.nets.layers": {"zsl_jax.training.loop"},
        "zsl_jax.training.loop": {"zsl_jax.training.stage"},
        "zsl_jax.training.stage": {"zsl_jax.training.loop"},
        "zsl_jax.training.alone": {"zsl_jax.nets.layers"},
    }
    assert rooms.upward(edges) == ["zsl_jax.nets.layers -> zsl_jax.training.loop"]
    assert rooms.circles(edges) == ["zsl_jax.training.loop <-> zsl_jax.training.stage", "nets <-> training"]
