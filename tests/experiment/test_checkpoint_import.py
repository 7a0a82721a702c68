"""Archives of the published programs become stages, options and nets; what they leave open is asked for."""

import jax
import numpy as np
import pytest

from tests import tiny
from tests.data.formats import archives, torch_files
from zsl_jax.errors import InputError
from zsl_jax.experiment import checkpoint_import
from zsl_jax.interop import conversion, published
from zsl_jax.training import imported

GAN, AUTOENCODER = "configs/gan_zoo.py:{},awa2", "configs/autoencoders.py:{},awa2"


@pytest.fixture
def read(tmp_path):
    """Saves values as archives and reads them for a workdir that is not there."""

    def read_values(*values, **options):
        paths = [str(torch_files.save(tmp_path / f"{place}.tar", value)) for place, value in enumerate(values)]
        return checkpoint_import.read(paths, tmp_path / "out", **options)

    return read_values


def flat(module: dict) -> dict:
    """A stage's nets as one module's tensors."""
    return {
        f"{key.removeprefix('state_dict_')}.{name}": one for key, net in module.items() for name, one in net.items()
    }


def test_both_stages_of_zerodiff(read):
    first, second = archives.drg(), archives.dfg()
    made = read(first, second)
    assert {stage: set(nets) for stage, nets in made.nets.items()} == {
        "drg": {"generator"}, "dfg": {"generator", "decoder", "x0", "xt", "xc"},
    }  # fmt: skip
    wanted = conversion.to_ours(published.drg({})["generator"], first["state_dict_R"], archives.SIZES)
    assert tiny.bits(made.nets["drg"]["generator"]) == tiny.bits(wanted)
    assert (made.config.drg.z_dim, made.config.dfg.critic_width, made.config.dfg.embed_dim) == (3, 7, 0)
    assert (made.config.validate, made.config.upstream) == (False, "last")
    assert made.missing == {"drg": ["decoder", "r0", "rt"], "dfg": ["encoder"]}
    assert made.notes == []


def test_one_stage_alone_says_what_was_taken_for_granted(read):
    made = read(archives.drg())
    assert made.sizes["a"] == archives.SIZES["a"]
    assert made.notes == ["a is taken to be as wide as drg.time_dim (4), as published"]
    critic = archives.stage("drg", ("generator", "rt"), a=5)
    assert (read(critic).sizes["a"], read(critic).notes) == (5, [])
    told = read(archives.drg(), assignments=["drg.z_dim=2"])
    assert (told.sizes["a"], told.notes) == (5, [])
    with pytest.raises(InputError, match=r"fc1\.weight: 17 columns, which drg\.z_dim 13 \+ a \+ r 6 .* cannot make"):
        read(archives.drg(), assignments=["drg.z_dim=13"])


def test_what_looks_alike_is_asked_for(read):
    renamed = {"state_dict_G_con": archives.drg()["state_dict_R"]}
    for value, stages in ((renamed, ("drg", "d2sc_drg")), (archives.dfg(), ("dfg", "d2sc_dfg"))):
        with pytest.raises(
            InputError, match=f"may be of ZeroDiff or of D2SC.*--stage {stages[0]} or --stage {stages[1]}"
        ):
            read(value)
        for stage in stages:
            assert set(read(value, stages=[stage]).nets) == {stage}
    assert read(renamed | archives.drg()).system == "ZeroDiff"  # D2SC writes no state_dict_R
    assert set(read(renamed, file="configs/d2sc_awa2.py").nets) == {"d2sc_drg"}
    assert set(read(renamed, file="configs/zerodiff_cub.py").nets) == {"drg"}


def test_a_whole_module_has_both_stages(read):
    first, second = archives.drg(), archives.dfg()
    module = {f"module.netR.{name}": array for name, array in first["state_dict_R"].items()}
    module |= {f"module.net{name}": array for name, array in flat(second).items()}
    made, apart = read({"state_dict": module, "epoch": 9}), read(first, second)
    assert tiny.bits(made.nets) == tiny.bits(apart.nets)
    assert [names[-1] for names in made.ignored.values()] == ["epoch"]


def test_tfvaegan(read):
    made = read(archives.stage("tfvaegan"), file="configs/tfvaegan_cub.py")
    assert set(made.nets["tfvaegan"]) == {"generator", "feedback", "decoder", "encoder", "critic"}
    assert (made.config.tfvaegan.z_dim, made.config.tfvaegan.decoder_width) == (3, 9)


def test_generators_of_the_zoo(read):
    """They are saved without a name around them; how wide the noise is, is told or taken for granted."""
    (net,) = archives.stage("gan", ("generator",), z_dim=4).values()
    with pytest.raises(
        InputError, match=r"may be of the zoo's GANs or of the zoo's autoencoders.*--stage gan or --stage"
    ):
        read(net)
    with pytest.raises(InputError, match=r"does not say which; give e\.g\. --config gan_zoo:wgan"):
        read(net, stages=["gan"])
    made = read(net, file=GAN.format("cramergan"))
    assert (made.sizes["a"], made.config.gan.z_dim, made.config.gan.generator_width) == (4, 0, 8)
    assert made.notes == ["gan.z_dim is taken to be as wide as a (4), as published"]
    assert (made.config.stages, made.config.gan.cls_weight) == (("gan",), 0.0)  # no classifier to train
    told = read(net, file=GAN.format("cramergan"), assignments=["gan.z_dim=3"])
    assert (told.sizes["a"], told.config.gan.z_dim) == (5, 3)


def test_widths_that_cannot_be_told_are_asked_for(read):
    (net,) = archives.stage("gan", ("generator",)).values()
    with pytest.raises(
        InputError,
        match=r"7 columns, which a \+ gan\.z_dim cannot make, with gan\.z_dim taken .* --set gan\.z_dim=WIDTH",
    ):
        read(net, file=GAN.format("wgan"))
    whole = archives.stage("gan", (), archives.OPTIONS | {"objective": "infogan"})
    with pytest.raises(
        InputError, match=r"with gan\.categories taken to be as wide as a, as published, .*--set gan\.categories=WIDTH"
    ):
        read(whole, file=GAN.format("infogan"))
    made = read(whole, file=GAN.format("infogan"), assignments=["gan.z_dim=3", "gan.categories=2"])
    assert made.config.gan.continuous == 3
    alone = archives.stage("gan", ("generator",), archives.OPTIONS | {"objective": "infogan"}, z_dim=4, categories=4, continuous=4)  # fmt: skip # noqa: E501
    made = read(alone, file=GAN.format("infogan"))
    assert (made.sizes["a"], len(made.notes)) == (4, 3)


def test_autoencoders_of_the_zoo(read):
    direct = archives.stage("autoencoder", (), archives.OPTIONS | {"objective": "ae"})
    made = read(flat(direct), file=AUTOENCODER.format("ae2"))
    assert set(made.nets["autoencoder"]) == {"encoder", "decoder"}
    assert set(read(direct["encoder"] | {}, file=AUTOENCODER.format("ae2"), assignments=["autoencoder.z_dim=3"]).nets)
    latent = archives.stage("autoencoder", (), archives.OPTIONS | {"objective": "vae"}, z_dim=4)
    made = read(flat(latent), file=AUTOENCODER.format("bir_vae"))
    assert (made.config.autoencoder.encoder_width, made.config.autoencoder.decoder_width) == (5, 9)


def test_stages_follow_one_another(read, tmp_path):
    out = tmp_path / "out"
    checkpoint_import.write(read(archives.drg()), out)
    before = {path.name: path.read_bytes() for path in (out / imported.FOLDER).iterdir()}
    with pytest.raises(
        InputError,
        match=r"Dec\.fc3\.weight: 5 rows, but 4 are needed",
    ):
        read(archives.dfg(a=5, embed_dim=5, time_dim=5))
    assert {path.name: path.read_bytes() for path in (out / imported.FOLDER).iterdir()} == before
    with pytest.raises(InputError, match=r"--set drg\.z_dim=2: the nets there have 3"):
        read(archives.dfg(), assignments=["drg.z_dim=2"])
    made = read(archives.dfg())
    assert made.system == "ZeroDiff"  # as what is there
    checkpoint_import.write(made, out)
    assert imported.stages(out, ["drg", "dfg"]) == ["drg", "dfg"]
    assert imported.read_config(out)["drg"]["z_dim"] == 3
    again = jax.tree.map(np.asarray, imported.read(out, "drg"))
    wanted = conversion.to_ours(published.drg({})["generator"], archives.drg()["state_dict_R"], archives.SIZES)
    assert tiny.bits(again) == tiny.bits({"generator": wanted})
    with pytest.raises(InputError, match="holds stage dfg already"):
        checkpoint_import.write(read(archives.dfg()), out)


def test_a_second_import_keeps_the_options_of_the_first(read, tmp_path):
    checkpoint_import.write(read(archives.drg(), assignments=["data.percent=30"]), tmp_path / "out")
    assert read(archives.dfg()).config.data.percent == 30
    with pytest.raises(InputError, match=r"--config configs/zerodiff_awa2\.py: .*: data\.percent is 30 there, 100 now"):
        read(archives.dfg(), file="configs/zerodiff_awa2.py")
    assert read(archives.dfg(), file="configs/zerodiff_awa2.py", assignments=["data.percent=30"])


def test_a_net_without_a_name_is_the_generator_of_the_stage_that_is_named(read):
    (net,), (later,) = archives.drg().values(), archives.stage("dfg", ("generator",)).values()
    made = read({f"module.{name}": array for name, array in net.items()}, stages=["drg"])
    assert tiny.bits(made.nets) == tiny.bits(read(archives.drg()).nets)
    with pytest.raises(InputError, match="stage dfg needs state_dict_Dec, which is missing"):
        read(later, stages=["dfg"])
    for options in ({}, {"file": "configs/zerodiff_awa2.py"}):
        with pytest.raises(InputError, match="net without a name is, --stage says"):
            read(later, **options)


def test_workdirs_with_a_run_are_left_alone(read, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds a run or an import already \(config\.json\)"):
        checkpoint_import.write(read(archives.drg()), out)


def test_two_archives_of_one_stage_or_of_two_systems_are_refused(read):
    with pytest.raises(InputError, match=r"1\.tar: stage drg is in .*0\.tar too"):
        read(archives.drg(), archives.drg())
    with pytest.raises(InputError, match="not of one system"):
        read(archives.drg(), archives.stage("tfvaegan"))


def test_nets_of_an_ablation_need_its_option(read):
    nets = archives.stage("dfg", ("generator", "decoder"), archives.OPTIONS | {"use_r": False})
    made = read(nets, stages=["dfg"], assignments=["dfg.use_r=False"])
    assert "embed_r" not in made.nets["dfg"]["generator"]
    with pytest.raises(InputError, match=r"G\.con_emb_layers\.model\.0\.weight is missing"):
        read({key: without_idle(net) for key, net in nets.items()}, stages=["dfg"])


def without_idle(net: dict) -> dict:
    return {name: tensor for name, tensor in net.items() if not name.startswith("con_emb")}


def test_options_that_are_no_sizes_stay(read):
    made = read(archives.drg(), file="configs/zerodiff_sun.py", assignments=["data.percent=30", "drg.n_steps=8"])
    assert (made.config.data.dataset, made.config.data.percent, made.config.drg.n_steps) == ("SUN", 30, 8)
    assert made.changes["drg.n_steps"] == 4
    with pytest.raises(InputError, match=r"--set drg\.steps: the configuration has no such field"):
        read(archives.drg(), assignments=["drg.steps=8"])
    with pytest.raises(InputError, match="nets can be imported for"):
        read(archives.drg(), stages=["finetune_x"])
