"""Published nets and our parameter trees: there and back, and what shapes say of sizes."""

from typing import Any

import jax
import numpy as np
import pytest

from tests import tiny
from tests.data.formats import archives
from zsl_jax.config import defaults
from zsl_jax.errors import InputError
from zsl_jax.interop import conversion, published
from zsl_jax.train_steps import registry
from zsl_jax.train_steps.method import hyper_parameters, vector_spec

SPEC = vector_spec(x_dim=10, r_dim=6, a_dim=4, n_classes=3)
CASES = {
    "drg": ("drg", defaults.zerodiff, {"z_dim": 3}),
    "dfg": ("dfg", defaults.zerodiff, {"z_dim": 3, "embed_dim": 5, "time_dim": 7}),
    "dfg without r": ("dfg", defaults.zerodiff, {"use_r": False, "embed_type": "V"}),
    "d2sc_drg": ("d2sc_drg", defaults.d2sc, {"z_dim": 3}),
    "d2sc_dfg": ("d2sc_dfg", defaults.d2sc, {"train_s2v": True}),
    "tfvaegan": ("tfvaegan", defaults.tfvaegan, {"z_dim": 3, "decoder_width": 9}),
    **{name: ("gan", lambda name=name: defaults.gan_zoo(name), {"z_dim": 3}) for name in ("wgan", "began")},
    "infogan": ("gan", lambda: defaults.gan_zoo("infogan"), {"z_dim": 3, "categories": 2, "continuous": 5}),
    **{name: ("autoencoder", lambda name=name: defaults.autoencoder(name), {"z_dim": 3}) for name in ("ae", "bir_vae")},
    "vae": ("autoencoder", lambda: defaults.autoencoder("vae"), {"z_dim": 3}),
    "vae meant": ("autoencoder", lambda: defaults.autoencoder("vae"), {"z_dim": 3, "meant": True}),
}


def nets_of(stage: str, config: Any) -> dict[str, Any]:
    """Random parameters of the nets that a stage's first state has."""
    method = registry.find(stage).build(config, SPEC)
    prior = {"drg": "drg", "dfg": "drg", "d2sc_dfg": "d2sc_drg"}.get(stage, "")
    upstream = {prior: {"generator": {}}, "seen_classifier": {"classifier": {}}}
    hyper = hyper_parameters(config[stage], registry.find(stage).numbers)
    return tiny.random_like(jax.eval_shape(method.init, jax.random.key(0), upstream, hyper).params)


def known_sizes(section: Any) -> dict[str, int]:
    """The sizes that shapes alone leave open."""
    sizes = {field: section.get(field) for field in ("z_dim", "categories", "continuous")}
    return {field: int(size or SPEC.a_dim) for field, size in sizes.items()} | {
        "a": SPEC.a_dim,
        "x": SPEC.x_dim,
        "r": SPEC.r_dim,
    }


@pytest.mark.parametrize("case", CASES)
def test_there_and_back(case):
    """The nets of our methods have all the places that the tables name, and no others."""
    stage, make, options = CASES[case]
    config = tiny.narrow(make())
    config[stage].update(options)
    nets, layout = nets_of(stage, config), published.LAYOUTS[stage](config[stage])
    assert set(nets) == set(layout)
    for name, tree in nets.items():
        made = conversion.to_published(layout[name], tree)
        sizes, _ = conversion.widths(conversion.axes(layout[name], made), known_sizes(config[stage]))
        again = conversion.to_ours(layout[name], made, sizes)
        assert jax.tree.structure(again) == jax.tree.structure(tree)
        assert tiny.bits(again) == tiny.bits(tree)


@pytest.mark.parametrize("stage", ["drg", "dfg", "tfvaegan", "gan"])
def test_shapes_tell_all_sizes(stage):
    nets = archives.stage(stage)
    layout = published.LAYOUTS[stage](archives.OPTIONS)
    given = [axis for net in layout.values() for axis in conversion.axes(net, nets[net.keys[0]])]
    sizes, taken = conversion.widths(given, {})
    assert not taken
    assert sizes == {name: archives.SIZES[name] for name in sizes}
    assert {"a", "x" if stage != "drg" else "r", "z_dim", "generator_width", "critic_width"} <= set(sizes)


def test_idle_layers_are_written_as_zeros():
    net = published.LAYOUTS["drg"]({})["generator"]
    tensors = archives.state_dict(net)
    tree = conversion.to_ours(net, tensors, archives.SIZES)
    made = conversion.to_published(net, tree)
    assert {name: array.shape for name, array in made.items()} == {name: one.shape for name, one in tensors.items()}
    assert not made["con_emb_layers.model.0.weight"].any()
    np.testing.assert_array_equal(made["fc1.weight"], tensors["fc1.weight"])


def test_columns_are_divided_in_the_published_order():
    """ZeroDiff's R takes z, a, r_t, e(t); D2SC's takes z, r_t, a, e(t)."""
    for stage, places in {"drg": ("z", "a", "noisy", "t"), "d2sc_drg": ("z", "noisy", "a", "t")}.items():
        net = published.LAYOUTS[stage]({})["generator"]
        weight = archives.state_dict(net)["fc1.weight"]
        hidden = conversion.to_ours(net, archives.state_dict(net), archives.SIZES)["hidden"]
        np.testing.assert_array_equal(np.concatenate([hidden[place] for place in places]), weight.T)


def changed(tensors: dict[str, np.ndarray], **values: Any) -> dict[str, np.ndarray]:
    return {name: array for name, array in (tensors | values).items() if array is not None}


WRONG = {
    "missing": ({"fc2.bias": None}, r"G\.fc2\.bias is missing"),
    "unknown": ({"fc9.weight": np.ones((2, 2), np.float32)}, r"G\.fc9\.weight: no tensor of this net"),
    "rank": ({"fc2.weight": np.ones(8, np.float32)}, r"G\.fc2\.weight: float32\[8\], but float32 with 2 axes"),
    "type": ({"fc2.weight": np.ones((10, 8), np.int64)}, r"G\.fc2\.weight: int64\[10, 8\], but float32"),
    "empty": ({"fc2.weight": np.ones((10, 0), np.float32)}, r"G\.fc2\.weight: float32\[10, 0\], but"),
    "nan": ({"fc2.bias": np.full(10, np.nan, np.float32)}, r"G\.fc2\.bias: 10 entries are NaN or infinite"),
    "rows": ({"fc2.bias": np.ones(11, np.float32)}, r"G\.fc2\.bias: 11 entries, but 10 are needed \(x 10\)"),
    "columns": ({"fc1.weight": np.ones((8, 13), np.float32)}, r"G\.fc1\.weight: 13 columns, which .* cannot make"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_tensors_are_named(case):
    values, message = WRONG[case]
    net = published.LAYOUTS["dfg"](archives.OPTIONS)["generator"]
    with pytest.raises(InputError, match=message):
        conversion.widths(conversion.axes(net, changed(archives.state_dict(net), **values), "G."), {"a": 4})
