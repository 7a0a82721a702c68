"""How the published programs name and shape the layers of their nets, and where the same weights lie in our trees.

A net is a table of linear layers: their name, place in our tree, inputs -> outputs. Theirs take the concatenation of
their inputs, weight [out, in] and bias [out]; ours have one kernel [in, out] for each input, PLACE/kernel, or PLACE/z
for "z:z_dim", or z/kernel for "/z/kernel:z_dim", and PLACE/bias. Widths carry the names of our options (`z_dim`, ...)
or x, r, a for those of the data. "=x" says that the width x is read there, of several such places the first that
archives have; a sum such as "x+=a" tells a width by what the others leave. All shapes must be as the table then says.

Sources: the published code of ZeroDiff, D2SC, TF-VAEGAN and Zero-shot-Generative-Models. TF-VAEGAN's never saves its
nets; they are named here as the others are. The zoo saves one net (or encoder and decoder) without a name around it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

DATA = ("x", "r", "a")  # widths of the data: features, representations, semantics


class Linear(NamedTuple):
    """A published layer: NAME.weight [rows, columns] and NAME.bias [rows], each a sum of widths; where ours lie."""

    name: str
    columns: tuple[tuple[str, str], ...]  # of each input: path of our kernel, widths
    rows: str
    bias: str

    @property
    def width(self) -> str:
        """The sum of widths that is the number of inputs."""
        return "+".join(of for _, of in self.columns)


class Net(NamedTuple):
    """A published net."""

    keys: tuple[str, ...]  # names that it has in archives, the first as we write it
    layers: tuple[Linear, ...]
    idle: tuple[Linear, ...]  # layers that it has and never uses: passed over when read, written as zeros
    needed: bool  # whether an archive without it is of no use


def net(keys: str, table: str, idle: str = "", needed: bool = False) -> Net:
    """A net of its table, layers with ";" between; `keys` with "," between."""
    return Net(tuple(keys.split(",")), _layers(table), _layers(idle), needed)


def _layers(table: str) -> tuple[Linear, ...]:
    return tuple(_layer(*line.split()) for line in table.split(";") if line.strip())


def _layer(name: str, place: str, *rest: str) -> Linear:
    *inputs, _, rows = rest
    columns = []
    for key, _, of in (one.rpartition(":") for one in inputs):
        columns.append((key[1:] if key.startswith("/") else f"{place}/{key or 'kernel'}", of))
    return Linear(name, tuple(columns), rows, f"{place}/bias")


def time_embedding(place: str, width: str) -> str:
    """Dense-SiLU-Dense on the sinusoids of a timestep."""
    place = f"{place}embed_t/mlp"
    return (
        f"; time_embed.model.0 {place}/hidden =time_dim -> {width}; time_embed.model.2 {place}/out {width} -> {width}"
    )


def r_embedding(place: str, width: str) -> str:
    """Dense-SiLU-Dense on a representation."""
    place, name = f"{place}embed_r", "con_emb_layers.model"
    return f"; {name}.0 {place}/hidden =r -> {width}; {name}.2 {place}/out {width} -> {width}"


def generator(keys: str, inputs: str, out: str, sees_r: bool = False) -> Net:
    """A diffusion generator; where it does not see r it has an embedding of it that it never uses."""
    table = f"fc1 hidden {inputs} -> =generator_width; fc2 out generator_width -> ={out}"
    table += time_embedding("", "=embed_dim")
    embedding = r_embedding("", "embed_dim")
    return net(keys, table + embedding * sees_r, idle=embedding * (not sees_r), needed=True)


def critic(key: str, inputs: str) -> Net:
    """A critic of the diffusion systems or of TF-VAEGAN: of x under conditions, in our tree apart."""
    table = f"fc1 conditions/hidden /x/kernel:{inputs} -> =critic_width; fc2 score critic_width -> 1"
    table += time_embedding("conditions/", "=a") * ("t:" in inputs)
    return net(key, table + r_embedding("conditions/", "a") * ("r:" in inputs))


def decoder(of: str, needed: bool = True) -> Net:
    """V2S."""
    table = f"fc1 hidden {of} -> =decoder_width; fc3 out decoder_width -> =a"
    return net("state_dict_Dec", table, needed=needed)


def encoder(second: str, inputs: str) -> Net:
    """E: `second` is their name of the second layer."""
    table = f"fc1 hidden1 {inputs} -> =encoder_width; {second} hidden2 encoder_width -> z_dim+z_dim"
    table += "; linear_means mean z_dim+z_dim -> =z_dim; linear_log_var log_variance z_dim+z_dim -> z_dim"
    return net("state_dict_E", table)


def drg(options: Mapping[str, Any]) -> dict[str, Net]:
    """ZeroDiff's R; in the published code the second program asks for it by the name that D2SC gives it."""
    del options
    return {
        "generator": generator("state_dict_R,state_dict_G_con", "z:=z_dim a:=a noisy:r t:embed_dim", "r"),
        "r0": critic("state_dict_D_r0", "=r a:=a"),
        "rt": critic("state_dict_D_rt", "=r next:r a:a t:a"),
        "decoder": decoder("r", needed=False),
    }


def d2sc_drg(options: Mapping[str, Any]) -> dict[str, Net]:
    """D2SC's R takes the noisy row before the semantics."""
    return drg(options) | {
        "generator": generator("state_dict_G_con", "z:=z_dim noisy:r a:=a t:embed_dim", "r"),
        "r0": critic("state_dict_D_c0", "=r a:=a"),
        "rt": critic("state_dict_D_ct", "=r next:r a:a t:a"),
    }


def dfg(options: Mapping[str, Any]) -> dict[str, Net]:
    """The second stage of ZeroDiff; options `use_r` and `embed_type`."""
    seen, seen_by_critic = ("r:embed_dim", "r:a") if options["use_r"] else ("", "")
    return {
        "generator": generator("state_dict_G", f"z:=z_dim a:a {seen} noisy:x t:embed_dim", "x", options["use_r"]),
        "decoder": decoder("x"),
        "encoder": encoder("fc2", "x:x a:a" if options["embed_type"] == "VA" else "x:x"),
        "x0": critic("state_dict_D_x0", "x a:a"),
        "xt": critic("state_dict_D_xt", f"x next:x a:a {seen_by_critic} t:a"),
        "xc": critic("state_dict_D_xc", "x r:a"),
    }


def d2sc_dfg(options: Mapping[str, Any]) -> dict[str, Net]:
    """ZeroDiff's, and S2V where it is trained (option `train_s2v`)."""
    s2v = Net(("state_dict_S2V",), (Linear("fc", (("kernel", "a"),), "x", "bias"),), (), needed=False)
    return dfg(options) | ({"s2v": s2v} if options["train_s2v"] else {})


def tfvaegan(options: Mapping[str, Any]) -> dict[str, Net]:
    """TF-VAEGAN."""
    del options
    generates = "fc1 first z:=z_dim a:a -> =generator_width; fc3 last generator_width -> =x"
    feedback = "fc1 hidden =decoder_width -> =generator_width; fc2 out generator_width -> generator_width"
    return {
        "generator": net("state_dict_G", generates, needed=True),
        "feedback": net("state_dict_F", feedback, needed=True),
        "decoder": decoder("x"),
        "encoder": encoder("fc3", "x:x a:a"),
        "critic": critic("state_dict_D", "x a:a"),
    }


def gan(options: Mapping[str, Any]) -> dict[str, Net]:
    """The zoo's generator, and critic (of BEGAN one that reconstructs) and InfoGAN's Q; option `objective`."""
    info, began = options["objective"] == "infogan", options["objective"] == "began"
    first, last, out = ("encoder", "decoder", "x+a") if began else ("fc1", "fc2", "1")
    codes = "=categories+=continuous"
    generates = f"fc1 hidden a:=a z:=z_dim{f'+{codes}' * info} -> =generator_width; fc2 out generator_width -> =x"
    judges = f"{first} a /x/kernel:x kernel:=a -> =critic_width; {last} score critic_width -> {out}"
    reads = f"linear hidden x -> =critic_width; inference out critic_width -> {codes}"
    return {
        "generator": net("state_dict_G,", generates, needed=True),
        "critic": net("state_dict_D", judges, idle="fc3 classes critic_width -> =classes"),  # which learns nothing
        **({"reader": net("state_dict_Q", reads)} if info else {}),
    }


def autoencoder(options: Mapping[str, Any]) -> dict[str, Net]:
    """The zoo's autoencoders; options `objective` and `meant`. Of ae2 the published program saves the encoder alone."""
    objective, meant = options["objective"], options["meant"]
    if objective.startswith("ae"):
        made = "fc1 hidden a:=a z:=z_dim -> =encoder_width; fc2 out encoder_width -> =x"
        read = "fc1 hidden x:=x -> =decoder_width; fc2 out decoder_width -> =a"
        return {"encoder": net("encoder,", made, needed=True), "decoder": net("decoder", read)}
    latent = "a" if objective == "vae" and not meant else "z_dim"
    encoded, decoded = ("x:x a:=a", f"z:={latent} a:a") if meant else ("a:=a z:=z_dim", f"z:={latent}")
    density = f"linear hidden {encoded} -> =encoder_width; mu mean encoder_width -> ={latent}"
    density += f"; log_var log_variance encoder_width -> {latent}"
    made = f"linear hidden {decoded} -> =decoder_width; recon out decoder_width -> =x"
    return {"encoder": net("encoder", density, needed=True), "decoder": net("decoder", made, needed=True)}


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
