"""Lines where there is no terminal."""

from unittest import mock

from zsl_jax.training import progress, workdir


def test_one_line_says_where_all_is(monkeypatch, capsys):
    clock = mock.Mock(return_value=0.0)
    monkeypatch.setattr(progress.time, "monotonic", clock)
    with workdir.progress(2, "runs", "run"):
        with workdir.progress(10, "drg", "it") as one, workdir.progress(10, "drg", "it") as other:
            for clock.return_value in (10.0, 29.0, 31.0, 50.0, 62.0):
                one.update(2)
                other.update(2)
        assert capsys.readouterr().err.splitlines() == [
            "runs: 0 of 2 run, drg: 6 of 10 it, drg: 4 of 10 it",
            "runs: 0 of 2 run, drg: 10 of 10 it, drg: 8 of 10 it",
        ]
    assert not progress.Lines.under_way


def test_what_is_not_shown_is_silent(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    with workdir.progress(10, "drg", "it", shown=False) as bar:
        bar.update()
    assert capsys.readouterr().err == ""
