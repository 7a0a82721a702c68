"""Makes a data set in the field's layout out of files as they come: features, labels, descriptions of classes, splits.

    python tools/import_features.py FILE... --dataset NAME --root ROOT

Files: .mat (5 and 7.3), .npz, .npy, .pt .pth .tar .pkl .pickle (what torch and pickle save, read without running it),
.safetensors, .h5 .hdf5, .csv, .json, .txt. What each field is, its name says (features, labels, image_files, att,
allclasses_names, trainval_loc, testclasses, ...), else its shape, else a flag. Everything decided is printed; what
can't be told ends in one line that names the flag for it. Writes ROOT/NAME with provenance.json, after the data check.
"""

import sys
from pathlib import Path

from absl import flags

from zsl_jax.data.importing import own_data, roles, sources, store
from zsl_jax.errors import InputError
from zsl_jax.experiment import runs

FLAGS = flags.FlagValues()  # of its own, so that a process may import several programs
own_data.define(FLAGS)
for _role, _flag in roles.FLAGS.items():
    flags.DEFINE_string(_flag, None, f"FILE[:FIELD] with the {_role}.", flag_values=FLAGS)
flags.DEFINE_multi_string("splits", [], "FILE with lists of rows or classes; may be given again.", flag_values=FLAGS)
_AXES = ["rows", "columns"]
flags.DEFINE_enum("orientation", None, _AXES, "Where pictures lie in features: rows is [N, D].", flag_values=FLAGS)
flags.DEFINE_enum("semantics-orientation", None, _AXES, "Where classes lie: rows is [C, A].", flag_values=FLAGS)
flags.DEFINE_integer(
    "split-base", None, "Number of the first row in lists of rows.", lower_bound=0, upper_bound=1, flag_values=FLAGS
)


def main(arguments: list[str]) -> int:
    """Runs the program; returns its exit code."""
    return runs.exit_code(lambda: import_features(arguments))


def import_features(arguments: list[str]) -> int:
    """Reads, assembles, checks and writes."""
    given, said = own_data.parse(FLAGS, arguments, __doc__)
    asked = {role: [said[flag]] for role, flag in roles.FLAGS.items() if said[flag]} | {"splits": said["splits"]}
    named = [str(roles.split_field(text)[0]) for texts in asked.values() for text in texts]
    files = [Path(name) for name in dict.fromkeys([*given, *named])]
    if not files:
        raise InputError("no files; e.g. features.npz attributes.csv --dataset MINE --root data")
    described = {roles.split_field(text)[0] for text in asked.get("semantics", ())}
    fields = [field for file in files for field in sources.read(file, names_first=file in described)]
    own_data.make(said, arguments, fields, asked, store.describe_files(files))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
