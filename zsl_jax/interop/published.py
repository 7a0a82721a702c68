"""How the published programs name and shape the layers of their nets, and where the same weights lie in our trees.

A net is a table of linear layers. Theirs take the concatenation of their inputs, weight [out, in]; ours have one kernel
[in, out] for each input of a first layer. Widths carry the names of our options (`z_dim`, ...) or x, r, a for those of
the data, so that the shapes of an archive are equations for them.

Sources: the published code of ZeroDiff, D2SC, TF-VAEGAN and Zero-shot-Generative-Models. TF-VAEGAN's never saves its
nets; they are named here as the others are. The zoo saves one net (or encoder and decoder) without a name around it.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from zsl_jax.data.formats import tensors
from zsl_jax.errors import InputError

Tensors = Mapping[str, np.ndarray]
Sizes = Mapping[str, int]
DATA = ("x", "r", "a")  # widths of the data: features, representations, semantics


@dataclasses.dataclass(frozen=True)
class Linear:
    """A published layer.

    Attributes:
      name: theirs; NAME.weight [rows, columns] and NAME.bias [rows].
      columns: for each input in their order: path of our kernel, sizes whose sum is its width.
      rows: sizes whose sum is the number of outputs.
      bias: path of our bias.
    """

    name: str
    columns: tuple[tuple[str, tuple[str, ...]], ...]
    rows: tuple[str, ...]
    bias: str


@dataclasses.dataclass(frozen=True)
class Net:
    """A published net.

    Attributes:
      keys: names that it has in archives, the first as we write it.
      layers: its layers.
      idle: layers that it has and never uses: passed over when read, written as zeros.
      needed: whether an archive without it is of no use.
    """

    keys: tuple[str, ...]
    layers: tuple[Linear, ...]
    idle: tuple[Linear, ...] = ()
    needed: bool = False


class Equation(NamedTuple):
    """What an archive says of sizes: `found` is the sum of `sizes`; `where` names the tensor."""

    where: str
    found: int
    sizes: tuple[str, ...]


def dense(name: str, place: str, columns: str, rows: str) -> Linear:
    """A layer of one input; `columns` and `rows` are sums of sizes such as "x+a"."""
    return Linear(name, ((f"{place}/kernel", _sum(columns)),), _sum(rows), f"{place}/bias")


def split(name: str, place: str, inputs: Mapping[str, str], rows: str) -> Linear:
    """A first layer of several inputs: {our name: sum of sizes} in their order."""
    return Linear(name, tuple((f"{place}/{key}", _sum(size)) for key, size in inputs.items()), (rows,), f"{place}/bias")


def judged(name: str, inputs: Mapping[str, str], rows: str = "critic_width") -> Linear:
    """The first layer of a critic of x under conditions, in our tree apart."""
    places = {key: "x/kernel" if key == "x" else f"conditions/hidden/{key}" for key in inputs}
    columns = tuple((places[key], _sum(size)) for key, size in inputs.items())
    return Linear(name, columns, (rows,), "conditions/hidden/bias")


def _sum(text: str) -> tuple[str, ...]:
    return tuple(text.split("+"))


def time_embedding(place: str, width: str) -> tuple[Linear, ...]:
    """Dense-SiLU-Dense on the sinusoids of a timestep."""
    return (
        dense("time_embed.model.0", f"{place}embed_t/mlp/hidden", "time_dim", width),
        dense("time_embed.model.2", f"{place}embed_t/mlp/out", width, width),
    )


def r_embedding(place: str, width: str) -> tuple[Linear, ...]:
    """Dense-SiLU-Dense on a representation."""
    return (
        dense("con_emb_layers.model.0", f"{place}embed_r/hidden", "r", width),
        dense("con_emb_layers.model.2", f"{place}embed_r/out", width, width),
    )


def generator(keys: tuple[str, ...], inputs: Mapping[str, str], out: str) -> Net:
    """A diffusion generator; R has an embedding of r that it never uses."""
    layers = (split("fc1", "hidden", inputs, "generator_width"), dense("fc2", "out", "generator_width", out))
    layers += time_embedding("", "embed_dim")
    if "r" in inputs:
        return Net(keys, layers + r_embedding("", "embed_dim"), needed=True)
    return Net(keys, layers, idle=r_embedding("", "embed_dim"), needed=True)


def critic(key: str, inputs: Mapping[str, str]) -> Net:
    """A critic of the diffusion systems or of TF-VAEGAN."""
    layers = (judged("fc1", inputs), dense("fc2", "score", "critic_width", "1"))
    layers += time_embedding("conditions/", "a") if "t" in inputs else ()
    return Net((key,), layers + (r_embedding("conditions/", "a") if "r" in inputs else ()))


def decoder(of: str, needed: bool) -> Net:
    """V2S."""
    layers = (dense("fc1", "hidden", of, "decoder_width"), dense("fc3", "out", "decoder_width", "a"))
    return Net(("state_dict_Dec",), layers, needed=needed)


def encoder(second: str, inputs: Mapping[str, str]) -> Net:
    """E: `second` is their name of the second layer."""
    latents = "z_dim+z_dim"
    layers = (
        split("fc1", "hidden1", inputs, "encoder_width"),
        dense(second, "hidden2", "encoder_width", latents),
        dense("linear_means", "mean", latents, "z_dim"),
        dense("linear_log_var", "log_variance", latents, "z_dim"),
    )
    return Net(("state_dict_E",), layers)


def representation_stage(keys: tuple[str, ...], inputs: Mapping[str, str], critics: tuple[str, str]) -> dict[str, Net]:
    """The first stage of ZeroDiff or D2SC."""
    clean, noisy = critics
    return {
        "generator": generator(keys, inputs, "r"),
        "r0": critic(clean, {"x": "r", "a": "a"}),
        "rt": critic(noisy, {"x": "r", "next": "r", "a": "a", "t": "a"}),
        "decoder": decoder("r", needed=False),
    }


def drg(options: Mapping[str, Any]) -> dict[str, Net]:
    """ZeroDiff's R; in the published code the second program asks for it by the name that D2SC gives it."""
    del options
    inputs = {"z": "z_dim", "a": "a", "noisy": "r", "t": "embed_dim"}
    return representation_stage(("state_dict_R", "state_dict_G_con"), inputs, ("state_dict_D_r0", "state_dict_D_rt"))


def d2sc_drg(options: Mapping[str, Any]) -> dict[str, Net]:
    """D2SC's R takes the noisy row before the semantics."""
    del options
    inputs = {"z": "z_dim", "noisy": "r", "a": "a", "t": "embed_dim"}
    return representation_stage(("state_dict_G_con",), inputs, ("state_dict_D_c0", "state_dict_D_ct"))


def dfg(options: Mapping[str, Any]) -> dict[str, Net]:
    """The second stage of ZeroDiff; options `use_r` and `embed_type`."""
    seen = ("r",) if options["use_r"] else ()
    inputs = {"z": "z_dim", "a": "a", **dict.fromkeys(seen, "embed_dim"), "noisy": "x", "t": "embed_dim"}
    noisy = {"x": "x", "next": "x", "a": "a", **dict.fromkeys(seen, "a"), "t": "a"}
    encoded = {"x": "x", "a": "a"} if options["embed_type"] == "VA" else {"x": "x"}
    return {
        "generator": generator(("state_dict_G",), inputs, "x"),
        "decoder": decoder("x", needed=True),
        "encoder": encoder("fc2", encoded),
        "x0": critic("state_dict_D_x0", {"x": "x", "a": "a"}),
        "xt": critic("state_dict_D_xt", noisy),
        "xc": critic("state_dict_D_xc", {"x": "x", "r": "a"}),
    }


def d2sc_dfg(options: Mapping[str, Any]) -> dict[str, Net]:
    """ZeroDiff's, and S2V where it is trained (option `train_s2v`)."""
    nets = dfg(options)
    if options["train_s2v"]:
        columns = (("kernel", ("a",)),)
        nets["s2v"] = Net(("state_dict_S2V",), (Linear("fc", columns, ("x",), "bias"),))
    return nets


def tfvaegan(options: Mapping[str, Any]) -> dict[str, Net]:
    """TF-VAEGAN."""
    del options
    both, hidden = {"x": "x", "a": "a"}, "generator_width"
    first = split("fc1", "first", {"z": "z_dim", "a": "a"}, hidden)
    feedback = (dense("fc1", "hidden", "decoder_width", hidden), dense("fc2", "out", hidden, hidden))
    return {
        "generator": Net(("state_dict_G",), (first, dense("fc3", "last", hidden, "x")), needed=True),
        "feedback": Net(("state_dict_F",), feedback, needed=True),
        "decoder": decoder("x", needed=True),
        "encoder": encoder("fc3", both),
        "critic": critic("state_dict_D", both),
    }


def gan(options: Mapping[str, Any]) -> dict[str, Net]:
    """The zoo's generator, and critic and InfoGAN's Q; option `objective`. The critic's class head learns nothing."""
    info, began = options["objective"] == "infogan", options["objective"] == "began"
    latent = "z_dim+categories+continuous" if info else "z_dim"
    layers = (split("fc1", "hidden", {"a": "a", "z": latent}, "generator_width"),)
    layers += (dense("fc2", "out", "generator_width", "x"),)
    nets = {"generator": Net(("state_dict_G", ""), layers, needed=True), "critic": zoo_critic(began)}
    if info:
        read = (dense("linear", "hidden", "x", "critic_width"),)
        read += (dense("inference", "out", "critic_width", "categories+continuous"),)
        nets["reader"] = Net(("state_dict_Q",), read)
    return nets


def zoo_critic(autoencodes: bool) -> Net:
    """A critic of [x, a]; BEGAN's reconstructs them."""
    first, last, out = ("encoder", "decoder", "x+a") if autoencodes else ("fc1", "fc2", "1")
    joined = Linear(first, (("x/kernel", ("x",)), ("a/kernel", ("a",))), ("critic_width",), "a/bias")
    head = dense("fc3", "classes", "critic_width", "classes")
    return Net(("state_dict_D",), (joined, dense(last, "score", "critic_width", out)), idle=(head,))


def autoencoder(options: Mapping[str, Any]) -> dict[str, Net]:
    """The zoo's autoencoders; options `objective` and `meant`. Of ae2 the published program saves the encoder alone."""
    objective, meant = options["objective"], options["meant"]
    if objective.startswith("ae"):
        made = (
            split("fc1", "hidden", {"a": "a", "z": "z_dim"}, "encoder_width"),
            dense("fc2", "out", "encoder_width", "x"),
        )
        read = split("fc1", "hidden", {"x": "x"}, "decoder_width"), dense("fc2", "out", "decoder_width", "a")
        return {"encoder": Net(("encoder", ""), made, needed=True), "decoder": Net(("decoder",), read)}
    latent = "a" if objective == "vae" and not meant else "z_dim"
    encoded = {"x": "x", "a": "a"} if meant else {"a": "a", "z": "z_dim"}
    density = (
        split("linear", "hidden", encoded, "encoder_width"),
        dense("mu", "mean", "encoder_width", latent),
        dense("log_var", "log_variance", "encoder_width", latent),
    )
    decoded = {"z": latent, "a": "a"} if meant else {"z": latent}
    made = split("linear", "hidden", decoded, "decoder_width"), dense("recon", "out", "decoder_width", "x")
    return {"encoder": Net(("encoder",), density, needed=True), "decoder": Net(("decoder",), made, needed=True)}


# By stage: (options of its section) -> its nets by our names.
LAYOUTS: dict[str, Callable[[Mapping[str, Any]], dict[str, Net]]] = {
    "drg": drg, "dfg": dfg, "d2sc_drg": d2sc_drg, "d2sc_dfg": d2sc_dfg, "tfvaegan": tfvaegan, "gan": gan,
    "autoencoder": autoencoder,
}  # fmt: skip


# From theirs to ours and back.


def to_ours(net: Net, found: Tensors, sizes: Sizes) -> dict[str, Any]:
    """Our parameter tree of a published net, by name of tensor, with the sizes of `solve`."""
    flat: dict[str, np.ndarray] = {}
    for layer in net.layers:
        ends = np.cumsum([width(sizes, of) for _, of in layer.columns])
        blocks = np.split(found[f"{layer.name}.weight"].T, ends[:-1])
        flat |= {path: np.array(block, order="C") for (path, _), block in zip(layer.columns, blocks, strict=True)}
        flat[layer.bias] = found[f"{layer.name}.bias"]
    return tensors.unflatten(flat)


def to_published(net: Net, tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Undoes `to_ours`; idle layers are zeros, unless their size is unknown."""
    flat = tensors.flatten(tree)
    made: dict[str, np.ndarray] = {}
    for layer in net.layers:
        kernel = np.concatenate([flat[path] for path, _ in layer.columns])
        made |= {f"{layer.name}.weight": np.array(kernel.T, order="C"), f"{layer.name}.bias": flat[layer.bias]}
    sizes = solve(equations(net, made, ""), {})
    for layer in net.idle:
        columns = [size for _, sums in layer.columns for size in sums]
        if {*columns, *layer.rows} <= set(sizes):
            rows = width(sizes, layer.rows)
            made[f"{layer.name}.weight"] = np.zeros((rows, width(sizes, columns)), np.float32)
            made[f"{layer.name}.bias"] = np.zeros(rows, np.float32)
    return made


def width(sizes: Sizes, summands: Iterable[str]) -> int:
    """The sum of sizes; a name that is a number is that number."""
    return sum(int(name) if name.isdecimal() else sizes[name] for name in summands)


# What the shapes of an archive say.


def equations(net: Net, found: Tensors, where: str) -> list[Equation]:
    """What the shapes of a net's tensors say; `where` stands before their names.

    Raises:
      InputError: a tensor is missing, unknown, of another rank or type, or has entries that are not finite.
    """
    layers = {layer.name: layer for layer in net.layers}
    present = [layer for layer in net.idle if f"{layer.name}.weight" in found]
    known = {
        f"{name}.{part}" for name in layers | {layer.name: layer for layer in net.idle} for part in ("weight", "bias")
    }
    if unknown := sorted(set(found) - known):
        raise InputError(f"{where}{unknown[0]}: no tensor of this net, which has the layers {', '.join(layers)}")
    return [equation for layer in (*net.layers, *present) for equation in _layer_equations(layer, found, where)]


def tree_equations(net: Net, tree: Mapping[str, Any], where: str) -> list[Equation]:
    """What the shapes of our tree of a net say: of each input by itself."""
    flat = tensors.flatten(tree)
    given = []
    for layer in net.layers:
        for path, sums in layer.columns:
            given.append(Equation(f"{where}{path}: {len(flat[path])} rows", len(flat[path]), sums))
        given.append(
            Equation(f"{where}{layer.bias}: {len(flat[layer.bias])} entries", len(flat[layer.bias]), layer.rows)
        )
    return given


def _layer_equations(layer: Linear, found: Tensors, where: str) -> list[Equation]:
    weight, bias = (_tensor(found, f"{layer.name}.{part}", rank, where) for part, rank in (("weight", 2), ("bias", 1)))
    columns = tuple(size for _, sums in layer.columns for size in sums)
    name = f"{where}{layer.name}"
    return [
        Equation(f"{name}.weight: {weight.shape[0]} rows", weight.shape[0], layer.rows),
        Equation(f"{name}.weight: {weight.shape[1]} columns", weight.shape[1], columns),
        Equation(f"{name}.bias: {bias.shape[0]} entries", bias.shape[0], layer.rows),
    ]


def _tensor(found: Tensors, name: str, rank: int, where: str) -> np.ndarray:
    if name not in found:
        raise InputError(f"{where}{name} is missing")
    tensor = found[name]
    if tensor.ndim != rank or tensor.dtype != np.float32 or not tensor.size:
        what = f"{tensor.dtype.name}{list(tensor.shape)}"
        raise InputError(f"{where}{name}: {what}, but float32 with {rank} axes and at least one entry is needed")
    if not np.isfinite(tensor).all():
        raise InputError(f"{where}{name}: {np.count_nonzero(~np.isfinite(tensor))} entries are NaN or infinite")
    return tensor


def solve(given: Iterable[Equation], known: Sizes) -> dict[str, int]:
    """The sizes that equations determine, with those known before; some may stay open.

    Raises:
      InputError: an equation contradicts the others.
    """
    given, sizes = list(given), dict(known)
    while True:
        solved = [found for equation in given for found in _solved(equation, sizes).items()]
        if not solved:
            break
        sizes |= dict(reversed(solved))  # of equations that contradict each other the first one counts
    for equation in given:
        if all(name in sizes or name.isdecimal() for name in equation.sizes):
            _require_equal(equation, sizes)
    return sizes


def _solved(equation: Equation, sizes: Sizes) -> dict[str, int]:
    """The only unknown size of an equation; none if there are several."""
    open_ = [name for name in equation.sizes if name not in sizes and not name.isdecimal()]
    if len(set(open_)) != 1:
        return {}
    rest = equation.found - width(sizes, [name for name in equation.sizes if name not in open_])
    if rest <= 0 or rest % len(open_):
        terms = " + ".join(_term(name, sizes) for name in equation.sizes)
        raise InputError(f"{equation.where}, which {terms} cannot make")
    return {open_[0]: rest // len(open_)}


def _require_equal(equation: Equation, sizes: Sizes) -> None:
    needed = width(sizes, equation.sizes)
    if needed != equation.found:
        terms = " + ".join(_term(name, sizes) for name in equation.sizes)
        raise InputError(f"{equation.where}, but {needed} are needed ({terms})")


def _term(name: str, sizes: Sizes) -> str:
    return name if name.isdecimal() or name not in sizes else f"{name} {sizes[name]}"
