"""Writes nets of a run or of an import as the published programs name them.

    python tools/export_checkpoint.py runs/sun --stage dfg --out zerodiff_DFG.safetensors

.safetensors holds all nets of a stage in one list of names (state_dict_G.fc1.weight, ...); .tar .pt .pth .pkl, for
which torch must be installed, hold {"state_dict_G": {"fc1.weight": ...}, ...} as ZeroDiff and D2SC save it. Without
--stage the last stage that is there is written, without --epoch its last state; --net takes one net alone, without a
key around it, as the zoo's programs save it. Layers that a published net has and never uses are written as zeros.
tools/import_checkpoint.py reads all stages written whole; of nets alone the generator of a stage that needs no other
net (ZeroDiff's and D2SC's first, the zoo's GANs), with --stage where a .pt does not say it.
"""

import sys
from pathlib import Path

from absl import flags

from zsl_jax.errors import InputError
from zsl_jax.experiment import checkpoint_export, runs

FLAGS = flags.FlagValues()  # of its own, so that a process may import several programs
flags.DEFINE_string("out", None, "File to write; must not be there yet.", flag_values=FLAGS)
flags.DEFINE_string("stage", "", "Stage of the run, e.g. drg; by default the last.", flag_values=FLAGS)
flags.DEFINE_integer("epoch", None, "Epoch (from 0) whose state was kept.", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_string("net", "", "One net alone, e.g. generator.", flag_values=FLAGS)


def main(arguments: list[str]) -> int:
    """Runs the program; returns its exit code."""
    return runs.exit_code(lambda: export_checkpoint(arguments))


def export_checkpoint(arguments: list[str]) -> int:
    """Reads the nets, writes the file, says what is in it."""
    given = runs.parse_plain(FLAGS, arguments, __doc__ or "", {"out": "zerodiff_DFG.safetensors"}, files=True)
    if len(given) != 1:
        raise InputError("one workdir is needed; e.g. python tools/export_checkpoint.py runs/sun --out sun.safetensors")
    made = checkpoint_export.read(Path(given[0]), FLAGS.stage, FLAGS.epoch, FLAGS.net)
    checkpoint_export.write(Path(FLAGS.out), made)
    print(f"{FLAGS.out}: stage {made.stage} of {given[0]}, {made.origin}")
    for key, tensors in made.nets.items():
        print(f"  {key or FLAGS.net}: {len(tensors)} tensors, {sum(one.size for one in tensors.values()):,} numbers")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
