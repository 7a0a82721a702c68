"""`zsl-jax COMMAND`: arguments, help, what is said before anything is trained."""

import os
import subprocess
import sys

import pytest

from tests import linear
from zsl_jax import __main__ as program
from zsl_jax.commands import cli, train
from zsl_jax.config import options


def said(capsys, *arguments: str) -> tuple[int, str, str]:
    code = program.main(arguments)
    return code, *capsys.readouterr()


def helped(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        program.main(arguments)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_overview_names_every_command(capsys):
    code, out, _ = said(capsys, "--help")
    assert code == 0
    for name in program.COMMANDS:
        assert f"  {name} " in out
    assert said(capsys)[0] == 2
    assert said(capsys, "--version")[1].startswith("zsl-jax 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "'trian': no such command; there are train, "),
        (["data"], "'data': no such command"),
        (["train", "--seed=1", "zerodiff_digits"], "unrecognized arguments: --seed=1"),
        (["train", "zerodiff_digits", "--work=x"], "unrecognized arguments: --work=x"),
        (["train", "one", "--config=two"], "name one configuration, not one and two"),
        (["train", "--workdir=x"], "--config is missing"),
        (["sweep", "zerodiff_digits", "--workdir=x", "--seeds=0"], "--seeds: 0; it must be at least 1"),
        (["sweep", "zerodiff_digits", "--workdir=x", "--seeds=two"], "--seeds: invalid int value: 'two'"),
        (["synthesize", "--workdir=x", "--out=x.npz", "--units=metres"], "--units: invalid choice: 'metres'"),
        (["synthesize", "--workdir=x", "--out=x.npz", "--seed=4294967296"], "it must be at most 4294967295"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = said(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert message in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", program.COMMANDS)
def test_help_has_every_flag_and_the_fields(name, capsys):
    out = helped(capsys, *name.split(), "--help")
    assert (program.load(name).__doc__ or "").splitlines()[0] in out
    assert "--help" in out
    takes_fields = name in ("train", "sweep", "bench", "leaderboard", "checkpoint import")
    assert ("  dfg.gamma_recons=1.0 " in out and "weight of the semantics' reconstruction" in out) == takes_fields
    assert ("  root='' " in out and "folder of the data sets" in out) == (name in ("evaluate", "synthesize"))


@pytest.mark.parametrize(
    "arguments",
    [("zerodiff_digits", "--help"), ("-h", "--workdir=x", "zerodiff_digits"), ("--config=zerodiff_digits", "-h")],
)
def test_help_beside_a_configuration_has_its_values(arguments, capsys):
    out = helped(capsys, "train", *arguments, "--config.seed=7")
    for line in ("  dfg.gamma_recons=10.0 ", "  stages=('finetune_r', 'drg', 'dfg') ", "  seed=7 "):
        assert line in out
    assert "tfvaegan" not in out


def test_fields_are_set_with_or_without_an_equals_sign():
    given = ["zerodiff_digits", "--config.seed", "3", "--workdir", "x", "--config.dfg.lr=-1", "--config.drg.lr", "-2"]
    config = cli.read_config(cli.parse(train, "train", [*given, "--noconfig.validate", "--config.dfg.freeze_decoder"]))
    assert (config.seed, config.dfg.lr, config.drg.lr) == (3, -1.0, -2.0)
    assert (config.validate, config.dfg.freeze_decoder) == (False, True)


def test_home_is_expanded_in_every_path(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    parsed = cli.parse(train, "train", ["zerodiff_digits", "--workdir=~/run"])
    assert parsed.workdir == tmp_path / "run"
    for arguments in (["evaluate", "--workdir=~/run"], ["checkpoint", "import", "~/x.tar", "--out=~/out"]):
        assert f"error: {tmp_path}" in said(capsys, *arguments)[2]
    code, _, err = said(capsys, "train", "zerodiff_sun", "--workdir=~/run", "--config.data.root=~/none")
    assert (code, f"{tmp_path / 'none' / 'SUN'}: no such folder" in err) == (2, True)
    monkeypatch.setenv("ZSL_JAX_DATA", "~/other")
    assert f"{tmp_path / 'other'}: no such folder" in said(capsys, "data", "check")[2]


def test_a_dry_run_says_what_would_be_trained_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, err = said(capsys, "train", "zerodiff_digits", "--dry-run", "--workdir=run", "--config.drg.epochs=2")
    assert (code, err) == (0, "")
    for line in (
        "  drg.epochs=2 ",
        "data: digits, fingerprint 8475e70700f3",
        "validation task: 577 training rows, 145 seen rows, 288 unseen rows",
        "  stage drg: 2 epochs; 1010 rows, 32 iterations, ",
        "  stage dfg: 60 epochs; 1010 rows, 960 iterations, ",
    ):
        assert line in out
    assert not list(tmp_path.iterdir())
    code, out, err = said(capsys, "train", "zerodiff_digits", "--dry-run", "--config.drg.batch_size=5000")
    assert (code, out) == (2, "")
    assert "config.drg.batch_size: 5000" in err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_names_are_printed_on_any_terminal(encoding, tmp_path):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "zsl_jax", "train", "zerodiff_digits", "--help", "--config.data.dataset=\u732b"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"data.dataset='\u732b'" in done.stdout
    done = subprocess.run([*command[:4], "\u732b"], capture_output=True, env=environment, check=False)
    assert (done.returncode, rb"error: --config \u732b: no such file" in done.stderr) == (2, True)


def test_a_finished_run_says_whether_its_data_are_as_they_were(tmp_path, monkeypatch, capsys):
    file = linear.write_config(tmp_path / "linear.py", "linear")
    command = ["train", file, f"--workdir={tmp_path / 'run'}", "--config.linear.epochs=1", "--config.validate=False"]
    command += ["--config.upstream=last"]
    assert said(capsys, *command)[0] == 0
    code, out, _ = said(capsys, *command)
    assert (code, "Its data are as they were" in out) == (0, True)
    load = options.load

    def others(*given):
        """Other rows under the same options, as when a file is exchanged."""
        from zsl_jax import data

        made = load(*given)
        source = data.SOURCES["synthetic"]
        monkeypatch.setitem(data.SOURCES, "synthetic", lambda section, seed: source(section, seed + 1))
        return made

    monkeypatch.setattr(options, "load", others)
    code, _, err = said(capsys, *command)
    assert code == 2
    assert "finished on other data than those at hand" in err
