"""Takes nets that the published programs saved into a workdir, without torch and without running anything in them.

    python tools/import_checkpoint.py zerodiff_DRG.tar zerodiff_DFG.tar --out runs/published

Archives: what `torch.save` writes, new or old (.tar .pt .pth .pkl), or .safetensors with the same names, as
tools/export_checkpoint.py writes it. Of ZeroDiff, D2SC, TF-VAEGAN and the zoo's GANs and autoencoders. Stages may be
imported one after another. Sizes come from the archives; all other options, the data's among them, from --config and
--set. `zsl_jax.main`, `zsl_jax.commands.evaluate` and `zsl_jax.commands.synthesize` take the workdir from there.
"""

import shlex
import sys
from pathlib import Path

from absl import flags

from zsl_jax.data.formats import tensors
from zsl_jax.errors import InputError
from zsl_jax.experiment import checkpoint_import, runs
from zsl_jax.experiment.checkpoint_import import Import, flat
from zsl_jax.interop import published
from zsl_jax.training import imported

FLAGS = flags.FlagValues()  # of its own, so that a process may import several programs
flags.DEFINE_string("out", None, "Workdir to import into; it may hold an import, but no run.", flag_values=FLAGS)
flags.DEFINE_string("config", "", "Configuration FILE[:ARGUMENT]; empty: the system's on AWA2.", flag_values=FLAGS)
flags.DEFINE_list("stage", [], "Stages that the archives hold, where they do not say it.", flag_values=FLAGS)
flags.DEFINE_multi_string("set", [], "FIELD=VALUE of the configuration; may be given again.", flag_values=FLAGS)


def main(arguments: list[str]) -> int:
    """Runs the program; returns its exit code."""
    return runs.exit_code(lambda: import_checkpoint(arguments))


def import_checkpoint(arguments: list[str]) -> int:
    """Reads the archives, writes the workdir, says what was found and what can be done with it."""
    archives = runs.parse_plain(FLAGS, arguments, __doc__ or "", {"out": "runs/imported"}, files=True)
    if not archives:
        raise InputError("no archive; e.g. python tools/import_checkpoint.py zerodiff_DRG.tar --out runs/imported")
    workdir = Path(FLAGS.out)
    made = checkpoint_import.read(archives, workdir, FLAGS.config, FLAGS.stage, FLAGS.set)
    checkpoint_import.write(made, workdir)
    print("\n".join([*found(made), *decided(made), "", *commands(made, workdir)]))
    return 0


def found(made: Import) -> list[str]:
    """Lines on the nets."""
    lines = [f"{made.system}"]
    for piece in made.pieces:
        arrays = tensors.flatten(made.nets[piece.stage][piece.name]).values()
        what = f"{len(arrays)} arrays, {sum(array.size for array in arrays):,} numbers"
        lines.append(f"  {piece.stage:12} {piece.name:10} from {piece.archive} {piece.key}: {what}")
    for stage, names in made.missing.items():
        if names:
            lines.append(f"  {stage:12} not there: {', '.join(names)}; fresh ones, which only training would use")
    for path, names in made.ignored.items():
        if names:
            lines.append(
                f"  {path}: passed over {', '.join(ascii(name)[1:-1][:80] for name in names[:10])}"
                f"{f' and {len(names) - 10} more' if len(names) > 10 else ''}"
            )
    return lines


def decided(made: Import) -> list[str]:
    """Lines on sizes and options."""
    sizes = ", ".join(f"{name} {size}" for name, size in sorted(made.sizes.items()) if "." not in name)
    now = flat(made.config.to_dict())
    changes = [f"  {name} = {now[name]!r} (there: {before!r})" for name, before in made.changes.items()]
    return [f"data: {sizes}", *(f"note: {note}" for note in made.notes), f"options: {made.file}, but", *changes]


def commands(made: Import, workdir: Path) -> list[str]:
    """What to do next."""
    config, now = made.config, flat(made.config.to_dict())
    there = imported.stages(workdir, config.stages)
    main = ["python", "-m", "zsl_jax.main", "--config", made.file, "--workdir", str(workdir)]
    main += [f"--config.{name}={now[name]}" for name in made.changes]
    with_workdir = f"--workdir {shlex.quote(str(workdir))}"
    root = (" --config.data.root=ROOT", " --data root=ROOT") if config.data.source == "xlsa17" else ("", "")
    return [
        f"{workdir}: holds {' and '.join(there)}; the data are to be {config.data.dataset}, by the options.",
        *(absent(stage) for stage in config.stages if stage not in there),
        "Next, with ROOT the folder of the data:" if root[0] else "Next:",
        f"  {shlex.join(main)}{root[0]}",
        f"  python -m zsl_jax.commands.evaluate {with_workdir}{root[1]}",
        f"  python -m zsl_jax.commands.synthesize {with_workdir}{root[1]} --classes unseen --num 300 --out x.npz",
    ]


def absent(stage: str) -> str:
    """A line on a stage that has no nets yet."""
    if stage in published.LAYOUTS:
        return f"Stage {stage} is not there: import it too, or zsl_jax.main trains it."
    return (
        f"Stage {stage} is not there: zsl_jax.main trains it, so that imported nets get views they were not made for."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv))
