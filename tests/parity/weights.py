"""Recorded PyTorch weights in the layout of our nets."""

import numpy as np

# Inputs of each net's first layer, in the order of the recorded weight's columns.
FIRST_LAYER = {
    "netR": ("z", "a", "noisy", "t"),
    "netG": ("z", "a", "r", "noisy", "t"),
    "netE": ("x", "a"),
    "netD_x0": ("x", "a"),
    "netD_r0": ("x", "a"),
    "netD_xt": ("x", "next", "a", "r", "t"),
    "netD_rt": ("x", "next", "a", "t"),
    "netD_xc": ("x", "r"),
    # D2SC's names; its R takes the noisy row before the semantics.
    "netG_con": ("z", "noisy", "a", "t"),
    "netD_c0": ("x", "a"),
    "netD_ct": ("x", "next", "a", "t"),
}


def _dense(tensors: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {"kernel": tensors[f"{name}.weight"].T, "bias": tensors[f"{name}.bias"]}


def _embedding(tensors: dict[str, np.ndarray], name: str) -> dict:
    return {"hidden": _dense(tensors, f"{name}.model.0"), "out": _dense(tensors, f"{name}.model.2")}


def _embeddings(tensors: dict[str, np.ndarray], names: tuple[str, ...]) -> dict:
    found = {}
    if "t" in names:
        found["embed_t"] = {"mlp": _embedding(tensors, "time_embed")}
    if "r" in names:
        found["embed_r"] = _embedding(tensors, "con_emb_layers")
    return found


def _split(tensors: dict[str, np.ndarray], names: tuple[str, ...], widths: dict[str, int]) -> dict[str, np.ndarray]:
    """The first layer's kernel, one block of rows for each input."""
    kernel = tensors["fc1.weight"].T
    ends = np.cumsum([widths[name] for name in names])
    assert ends[-1] == len(kernel), (names, widths, kernel.shape)
    return dict(zip(names, np.split(kernel, ends[:-1]), strict=True)) | {"bias": tensors["fc1.bias"]}


def net(name: str, tensors: dict[str, np.ndarray], widths: dict[str, int]) -> dict:
    """Our parameter tree of one recorded net; `tensors` by state_dict key, `widths` of each possible input."""
    if name == "netDec":
        return {"hidden": _dense(tensors, "fc1"), "out": _dense(tensors, "fc3")}
    if name == "netS2V":
        return _dense(tensors, "fc")
    names = FIRST_LAYER[name]
    first = _split(tensors, names, widths)
    if name == "netE":
        tail = {"hidden2": "fc2", "mean": "linear_means", "log_variance": "linear_log_var"}
        return {"hidden1": first} | {ours: _dense(tensors, theirs) for ours, theirs in tail.items()}
    embeddings = _embeddings(tensors, names)
    if name in ("netR", "netG", "netG_con"):
        return {"hidden": first, "out": _dense(tensors, "fc2")} | embeddings
    conditions = {"hidden": {key: value for key, value in first.items() if key != "x"}} | embeddings
    return {"x": {"kernel": first["x"]}, "conditions": conditions, "score": _dense(tensors, "fc2")}


def nets(names: dict[str, str], arrays: dict[str, np.ndarray], prefix: str, widths: dict[str, int]) -> dict:
    """Parameter trees {ours: tree} of the recorded nets {ours: theirs} below `prefix`."""
    trees = {}
    for ours, theirs in names.items():
        start = f"{prefix}/{theirs}."
        tensors = {key[len(start) :]: value for key, value in arrays.items() if key.startswith(start)}
        trees[ours] = net(theirs, tensors, widths)
    return trees
