"""Writes nets of a run or of an import as the published programs name them.

    zsl-jax checkpoint export runs/sun --stage dfg --out zerodiff_DFG.safetensors

.safetensors holds all nets of a stage in one list of names (state_dict_G.fc1.weight, ...); .tar .pt .pth .pkl, for
which torch must be installed, hold {"state_dict_G": {"fc1.weight": ...}, ...} as ZeroDiff and D2SC save it. Without
--stage the last stage that is there is written, without --epoch its last state; --net takes one net alone, without a
key around it, as the zoo's programs save it. Layers that a published net has and never uses are written as zeros.
`zsl-jax checkpoint import` reads all stages written whole; of nets alone the generator of a stage that needs no other
net (ZeroDiff's and D2SC's first, the zoo's GANs), with --stage where a .pt does not say it.
"""

import argparse

from zsl_jax.commands import cli
from zsl_jax.errors import InputError


def flags(parser: cli.Parser) -> None:
    """Adds the flags."""
    add = parser.add_argument
    add("workdir", nargs="*", type=cli.path, help="Folder of the run or of the import.")
    add("--out", type=cli.path, help="File to write; must not be there yet.")
    add("--stage", default="", help="Stage of the run, e.g. drg; by default the last.")
    add("--epoch", type=cli.number(int, 0), help="Epoch (from 0) whose state was kept.")
    add("--net", default="", help="One net alone, e.g. generator.")


def run(said: argparse.Namespace) -> int:
    """Reads the nets, writes the file, says what is in it."""
    cli.require(said, out="zerodiff_DFG.safetensors")
    if len(said.workdir) != 1:
        raise InputError("one workdir is needed; e.g. zsl-jax checkpoint export runs/sun --out sun.safetensors")
    from zsl_jax.experiment import checkpoint_export

    made = checkpoint_export.read(said.workdir[0], said.stage, said.epoch, said.net)
    checkpoint_export.write(said.out, made)
    print(f"{said.out}: stage {made.stage} of {said.workdir[0]}, {made.origin}")
    for key, tensors in made.nets.items():
        print(f"  {key or said.net}: {len(tensors)} tensors, {sum(one.size for one in tensors.values()):,} numbers")
    return 0
