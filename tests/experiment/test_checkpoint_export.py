"""Nets of runs and imports go out under the published names, and come back with the same bits."""

import sys
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from tests.data.formats import archives, torch_files
from zsl_jax import __main__ as program
from zsl_jax import files
from zsl_jax.config import defaults
from zsl_jax.data.formats import pickles, tensors
from zsl_jax.errors import InputError
from zsl_jax.experiment import checkpoint_export, checkpoint_import
from zsl_jax.interop import conversion, published
from zsl_jax.train_steps.method import TrainState
from zsl_jax.training import checkpoints, imported

PER_EPOCH = 3


@pytest.fixture
def workdir(tmp_path):
    """A workdir with an import of both stages of ZeroDiff."""
    paths = [
        str(torch_files.save(tmp_path / name, value))
        for name, value in {"R.tar": archives.drg(), "G.tar": archives.dfg()}.items()
    ]
    checkpoint_import.write(checkpoint_import.read(paths, tmp_path / "workdir"), tmp_path / "workdir")
    return tmp_path / "workdir"


def trained(folder, config: Any, stage: str, nets: dict[str, Any], epochs: int) -> None:
    """Leaves what a run of a stage leaves: after each epoch its nets, an epoch added to every number."""
    files.write_json(folder / "config.json", config.to_dict())
    with checkpoints.open_checkpoints(folder / "checkpoints" / stage, range(100)) as opened:
        for epoch in range(epochs):
            params = jax.tree.map(lambda leaf, epoch=epoch: jnp.asarray(leaf) + epoch, nets)
            hyper = {"steps_per_epoch": jnp.float32(PER_EPOCH), "lr": jnp.float32(1e-4)}
            state = TrainState(params, {"generator": jnp.zeros(2)}, {}, hyper, {"k": jnp.int32(3)})
            opened.save((epoch + 1) * PER_EPOCH, state, jax.random.key(0))


def run(capsys: Any, *arguments: Any) -> tuple[int, str, str]:
    code = program.main(["checkpoint", "export", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_imports_go_out_and_come_back(workdir, tmp_path, capsys):
    paths = []
    for stage in ("drg", "dfg"):
        paths.append(str(tmp_path / f"{stage}.safetensors"))
        code, text, _ = run(capsys, workdir, f"--stage={stage}", f"--out={paths[-1]}")
        assert code == 0
        assert f"stage {stage} of {workdir}, imported" in text
    given = archives.dfg()
    assert tensors.read(paths[1])[1] == {"stage": "dfg"}
    written = tensors.read(paths[1])[0]
    assert set(written) == {f"{key}.{name}" for key, net in given.items() for name in net}
    for key, net in given.items():
        for name, array in net.items():
            np.testing.assert_array_equal(written[f"{key}.{name}"], array)
    made = checkpoint_import.read(paths, tmp_path / "again")
    for stage, nets in made.nets.items():
        assert tiny.bits(nets) == tiny.bits(imported.read(workdir, stage))
    # An archive of the second stage alone says of itself that it is ZeroDiff's.
    assert set(checkpoint_import.read(paths[1:], tmp_path / "again").nets) == {"dfg"}


def test_a_generator_alone_comes_back(workdir, tmp_path, capsys):
    path = tmp_path / "net.safetensors"
    assert run(capsys, workdir, "--stage=drg", "--net=generator", f"--out={path}")[0] == 0
    made = checkpoint_import.read([str(path)], tmp_path / "again")
    assert tiny.bits(made.nets["drg"]) == tiny.bits(imported.read(workdir, "drg"))


def test_runs_go_out(tmp_path, capsys):
    """Parameters of a checkpoint alone, whatever else a state holds."""
    nets = {"generator": archives.stage("gan", ("generator",))["state_dict_G"]}
    layout = published.gan(archives.OPTIONS)
    tree = {"generator": conversion.to_ours(layout["generator"], nets["generator"], archives.SIZES)}
    trained(tmp_path / "run", defaults.gan_zoo("wgan"), "gan", tree, epochs=2)
    code, text, _ = run(capsys, tmp_path / "run", f"--out={tmp_path / 'last.safetensors'}")
    assert (code, "epoch 1" in text) == (0, True)
    last = tensors.read(tmp_path / "last.safetensors")[0]
    np.testing.assert_array_equal(last["state_dict_G.fc1.weight"], nets["generator"]["fc1.weight"] + 1)
    code, *_ = run(capsys, tmp_path / "run", "--epoch=0", "--net=generator", f"--out={tmp_path / 'net.safetensors'}")
    first = tensors.read(tmp_path / "net.safetensors")[0]  # as the zoo saves it
    assert code == 0
    assert {name: array.tobytes() for name, array in first.items()} == {
        name: array.tobytes() for name, array in nets["generator"].items()
    }
    code, _, err = run(capsys, tmp_path / "run", "--epoch=7", f"--out={tmp_path / 'no.safetensors'}")
    assert (code, err.count("\n")) == (2, 1)
    assert "keeps the epochs 0, 1" in err


@pytest.fixture
def torch(monkeypatch):
    """What of torch is used, saving as torch does."""
    module = types.SimpleNamespace(from_numpy=np.asarray, save=lambda value, path: torch_files.save(path, value))
    monkeypatch.setitem(sys.modules, "torch", module)


@pytest.mark.usefixtures("torch")
def test_torch_archives_have_the_published_structure(workdir, tmp_path, capsys):
    code, *_ = run(capsys, workdir, f"--out={tmp_path / 'dfg.tar'}")
    found, given = pickles.load(tmp_path / "dfg.tar"), archives.dfg()
    assert code == 0
    assert {key: set(net) for key, net in found.items()} == {key: set(net) for key, net in given.items()}
    np.testing.assert_array_equal(found["state_dict_G"]["fc1.weight"], given["state_dict_G"]["fc1.weight"])
    made = checkpoint_import.read([str(tmp_path / "dfg.tar")], tmp_path / "again", stages=["dfg"])
    assert tiny.bits(made.nets["dfg"]) == tiny.bits(imported.read(workdir, "dfg"))


@pytest.mark.usefixtures("torch")
def test_autoencoders_are_saved_as_one_net(tmp_path):
    layout = published.autoencoder({"objective": "vae", "meant": False})
    nets = {name: archives.state_dict(net) for name, net in layout.items()}
    made = checkpoint_export.Nets("autoencoder", nets, "")
    checkpoint_export.write(tmp_path / "vae.pkl", made)
    assert set(pickles.load(tmp_path / "vae.pkl")) == {f"{key}.{name}" for key, net in nets.items() for name in net}


REFUSED = {
    "no torch": ("x.tar", [], "torch is not installed"),
    "suffix": ("x.npz", [], "the suffix says how to write"),
    "folder": ("none/x.safetensors", [], "cannot be written"),
    "there already": ("there.safetensors", [], "is there already"),
    "stage": ("x.safetensors", ["--stage=tfvaegan"], "the run's stages that are published nets are drg, dfg"),
    "net": ("x.safetensors", ["--net=critic"], "stage dfg has"),
    "epoch": ("x.safetensors", ["--epoch=3"], "was imported, and has one state"),
    "two workdirs": ("x.safetensors", ["other"], "one workdir is needed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_requests_end_in_one_line(workdir, tmp_path, capsys, monkeypatch, case):
    monkeypatch.setitem(sys.modules, "torch", None)
    name, flags, message = REFUSED[case]
    (tmp_path / "there.safetensors").write_text("mine")
    before = sorted(tmp_path.iterdir())
    code, out, err = run(capsys, workdir, f"--out={tmp_path / name}", *flags)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.safetensors").read_text() == "mine"


def test_folders_without_a_run_are_refused(tmp_path):
    with pytest.raises(InputError, match="no run here"):
        checkpoint_export.read(tmp_path)
    config = defaults.zerodiff()
    files.write_json(tmp_path / "config.json", config.to_dict())
    with pytest.raises(InputError, match="no nets of drg, dfg to export"):
        checkpoint_export.read(tmp_path)
