"""How a process finds the others of its run, and what one alone does; several are tried in `tests/test_main.py`."""

import jax
import pytest

from zsl_jax.errors import InputError
from zsl_jax.training import processes


@pytest.fixture
def joined(monkeypatch) -> list[tuple]:
    """What JAX is asked to join."""
    asked = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *arguments, **_: asked.append(arguments))
    for name in processes.LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    return asked


@pytest.mark.parametrize("launcher", processes.LAUNCHERS)
def test_a_launcher_of_several_is_followed_unless_one_process_is_asked_for(joined, monkeypatch, launcher):
    monkeypatch.setenv(launcher, "2")
    processes.join(None, 1, None)
    assert joined == []
    processes.join(None, None, None)
    assert joined == [(None, None, None)]


def test_alone_without_a_launcher(joined):
    processes.join(None, None, None)
    assert joined == []
    with pytest.raises(InputError, match="give all three or none"):
        processes.join(None, 1, 1)


def test_what_cannot_be_written_is_bad_input(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*file/below"):
        processes.first_does((tmp_path / "file" / "below").touch)


def test_one_process_raises_and_returns_what_its_actions_do():
    value = {"score": float("nan"), 3: (1, 2)}
    assert processes.of_first(processes.first_does(lambda: value)) is value

    def fail() -> None:
        raise KeyError("name")

    with pytest.raises(KeyError, match="name"):
        processes.all_do(fail)
