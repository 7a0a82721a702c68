"""How the published programs name and shape the layers of their nets, and where the same weights lie in our trees.

A net is a table of linear layers. Theirs take the concatenation of their inputs, weight [out, in]; ours have one kernel
[in, out] for each input of a first layer. Widths carry the names of our options (`z_dim`, ...) or x, r, a for those of
the data. "=x" says that the width x is read there, of several such places the first that an archive has; a sum such as
"x+=a" tells a width by what the others leave. Then all shapes must be as the table says.

Sources: the published code of ZeroDiff, D2SC, TF-VAEGAN and Zero-shot-Generative-Models. TF-VAEGAN's never saves its
nets; they are named here as the others are. The zoo saves one net (or encoder and decoder) without a name around it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

DATA = ("x", "r", "a")  # widths of the data: features, representations, semantics


@dataclasses.dataclass(frozen=True)
class Linear:
    """A published layer.

    Attributes:
      name: theirs; NAME.weight [rows, columns] and NAME.bias [rows].
      columns: for each input in their order: path of our kernel, sum of widths.
      rows: sum of widths that is the number of outputs.
      bias: path of our bias.
    """

    name: str
    columns: tuple[tuple[str, str], ...]
    rows: str
    bias: str

    @property
    def width(self) -> str:
        """The sum of widths that is the number of inputs."""
        return "+".join(of for _, of in self.columns)


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


def dense(name: str, place: str, columns: str, rows: str) -> Linear:
    """A layer of one input."""
    return Linear(name, ((f"{place}/kernel", columns),), rows, f"{place}/bias")


def split(name: str, place: str, inputs: Mapping[str, str], rows: str) -> Linear:
    """A first layer of several inputs: {our name: widths} in their order."""
    return Linear(name, tuple((f"{place}/{key}", of) for key, of in inputs.items()), rows, f"{place}/bias")


def judged(name: str, inputs: Mapping[str, str]) -> Linear:
    """The first layer of a critic of x under conditions, in our tree apart."""
    places = {key: "x/kernel" if key == "x" else f"conditions/hidden/{key}" for key in inputs}
    columns = tuple((places[key], of) for key, of in inputs.items())
    return Linear(name, columns, "=critic_width", "conditions/hidden/bias")


def time_embedding(place: str, width: str) -> tuple[Linear, ...]:
    """Dense-SiLU-Dense on the sinusoids of a timestep."""
    return (
        dense("time_embed.model.0", f"{place}embed_t/mlp/hidden", "=time_dim", width),
        dense("time_embed.model.2", f"{place}embed_t/mlp/out", width, width),
    )


def r_embedding(place: str, width: str) -> tuple[Linear, ...]:
    """Dense-SiLU-Dense on a representation."""
    return (
        dense("con_emb_layers.model.0", f"{place}embed_r/hidden", "=r", width),
        dense("con_emb_layers.model.2", f"{place}embed_r/out", width, width),
    )


def generator(keys: tuple[str, ...], inputs: Mapping[str, str], out: str) -> Net:
    """A diffusion generator; R has an embedding of r that it never uses."""
    layers = (split("fc1", "hidden", inputs, "=generator_width"), dense("fc2", "out", "generator_width", f"={out}"))
    layers += time_embedding("", "=embed_dim")
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
    layers = (dense("fc1", "hidden", of, "=decoder_width"), dense("fc3", "out", "decoder_width", "=a"))
    return Net(("state_dict_Dec",), layers, needed=needed)


def encoder(second: str, inputs: Mapping[str, str]) -> Net:
    """E: `second` is their name of the second layer."""
    latents = "z_dim+z_dim"
    layers = (
        split("fc1", "hidden1", inputs, "=encoder_width"),
        dense(second, "hidden2", "encoder_width", latents),
        dense("linear_means", "mean", latents, "=z_dim"),
        dense("linear_log_var", "log_variance", latents, "z_dim"),
    )
    return Net(("state_dict_E",), layers)


def representation_stage(keys: tuple[str, ...], inputs: Mapping[str, str], critics: tuple[str, str]) -> dict[str, Net]:
    """The first stage of ZeroDiff or D2SC."""
    clean, noisy = critics
    return {
        "generator": generator(keys, inputs, "r"),
        "r0": critic(clean, {"x": "r", "a": "=a"}),
        "rt": critic(noisy, {"x": "r", "next": "r", "a": "a", "t": "=a"}),
        "decoder": decoder("r", needed=False),
    }


def drg(options: Mapping[str, Any]) -> dict[str, Net]:
    """ZeroDiff's R; in the published code the second program asks for it by the name that D2SC gives it."""
    del options
    inputs = {"z": "=z_dim", "a": "=a", "noisy": "r", "t": "embed_dim"}
    return representation_stage(("state_dict_R", "state_dict_G_con"), inputs, ("state_dict_D_r0", "state_dict_D_rt"))


def d2sc_drg(options: Mapping[str, Any]) -> dict[str, Net]:
    """D2SC's R takes the noisy row before the semantics."""
    del options
    inputs = {"z": "=z_dim", "noisy": "r", "a": "=a", "t": "embed_dim"}
    return representation_stage(("state_dict_G_con",), inputs, ("state_dict_D_c0", "state_dict_D_ct"))


def dfg(options: Mapping[str, Any]) -> dict[str, Net]:
    """The second stage of ZeroDiff; options `use_r` and `embed_type`."""
    seen = ("r",) if options["use_r"] else ()
    inputs = {"z": "=z_dim", "a": "a", **dict.fromkeys(seen, "embed_dim"), "noisy": "x", "t": "embed_dim"}
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
        nets["s2v"] = Net(("state_dict_S2V",), (Linear("fc", (("kernel", "a"),), "x", "bias"),))
    return nets


def tfvaegan(options: Mapping[str, Any]) -> dict[str, Net]:
    """TF-VAEGAN."""
    del options
    both, hidden = {"x": "x", "a": "a"}, "generator_width"
    first = split("fc1", "first", {"z": "=z_dim", "a": "a"}, "=generator_width")
    feedback = (dense("fc1", "hidden", "=decoder_width", "=generator_width"), dense("fc2", "out", hidden, hidden))
    return {
        "generator": Net(("state_dict_G",), (first, dense("fc3", "last", hidden, "=x")), needed=True),
        "feedback": Net(("state_dict_F",), feedback, needed=True),
        "decoder": decoder("x", needed=True),
        "encoder": encoder("fc3", both),
        "critic": critic("state_dict_D", both),
    }


def gan(options: Mapping[str, Any]) -> dict[str, Net]:
    """The zoo's generator, and critic and InfoGAN's Q; option `objective`. The critic's class head learns nothing."""
    info, began = options["objective"] == "infogan", options["objective"] == "began"
    latent = "=z_dim+=categories+=continuous" if info else "=z_dim"
    layers = (split("fc1", "hidden", {"a": "=a", "z": latent}, "=generator_width"),)
    layers += (dense("fc2", "out", "generator_width", "=x"),)
    nets = {"generator": Net(("state_dict_G", ""), layers, needed=True), "critic": zoo_critic(began)}
    if info:
        read = (dense("linear", "hidden", "x", "=critic_width"),)
        read += (dense("inference", "out", "critic_width", "=categories+=continuous"),)
        nets["reader"] = Net(("state_dict_Q",), read)
    return nets


def zoo_critic(autoencodes: bool) -> Net:
    """A critic of [x, a]; BEGAN's reconstructs them."""
    first, last, out = ("encoder", "decoder", "x+a") if autoencodes else ("fc1", "fc2", "1")
    joined = Linear(first, (("x/kernel", "x"), ("a/kernel", "=a")), "=critic_width", "a/bias")
    head = dense("fc3", "classes", "critic_width", "=classes")
    return Net(("state_dict_D",), (joined, dense(last, "score", "critic_width", out)), idle=(head,))


def autoencoder(options: Mapping[str, Any]) -> dict[str, Net]:
    """The zoo's autoencoders; options `objective` and `meant`. Of ae2 the published program saves the encoder alone."""
    objective, meant = options["objective"], options["meant"]
    if objective.startswith("ae"):
        made = (
            split("fc1", "hidden", {"a": "=a", "z": "=z_dim"}, "=encoder_width"),
            dense("fc2", "out", "encoder_width", "=x"),
        )
        read = split("fc1", "hidden", {"x": "x"}, "=decoder_width"), dense("fc2", "out", "decoder_width", "=a")
        return {"encoder": Net(("encoder", ""), made, needed=True), "decoder": Net(("decoder",), read)}
    latent = "a" if objective == "vae" and not meant else "z_dim"
    encoded = {"x": "x", "a": "=a"} if meant else {"a": "=a", "z": "=z_dim"}
    density = (
        split("linear", "hidden", encoded, "=encoder_width"),
        dense("mu", "mean", "encoder_width", f"={latent}"),
        dense("log_var", "log_variance", "encoder_width", latent),
    )
    decoded = {"z": latent, "a": "a"} if meant else {"z": latent}
    made = split("linear", "hidden", decoded, "=decoder_width"), dense("recon", "out", "decoder_width", "=x")
    return {"encoder": Net(("encoder",), density, needed=True), "decoder": Net(("decoder",), made, needed=True)}


# By stage: (options of its section) -> its nets by our names.
LAYOUTS: dict[str, Callable[[Mapping[str, Any]], dict[str, Net]]] = {
    "drg": drg, "dfg": dfg, "d2sc_drg": d2sc_drg, "d2sc_dfg": d2sc_dfg, "tfvaegan": tfvaegan, "gan": gan,
    "autoencoder": autoencoder,
}  # fmt: skip


# What is taken to be as wide as something else where an archive leaves it open, as in the published programs.
ALIKE = {
    "drg": {"a": "time_dim"}, "d2sc_drg": {"a": "time_dim"}, "autoencoder": {"z_dim": "a"},
    "gan": {"z_dim": "a", "categories": "a", "continuous": "a"},
}  # fmt: skip
