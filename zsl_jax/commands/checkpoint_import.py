"""Takes nets that the published programs saved into a workdir, without torch and without running anything in them.

    zsl-jax checkpoint import zerodiff_DRG.tar zerodiff_DFG.tar --out runs/published

Archives: what `torch.save` writes, new or old (.tar .pt .pth .pkl), or .safetensors with the same names, as
`zsl-jax checkpoint export` writes it. Of ZeroDiff, D2SC, TF-VAEGAN and the zoo's GANs and autoencoders. Stages may be
imported one after another. Sizes come from the archives; all other options, the data's among them, from --config,
--config.FIELD=VALUE and --set FIELD=VALUE. `zsl-jax train`, `evaluate` and `synthesize` take the workdir from there.
"""

import argparse
import shlex
from pathlib import Path
from typing import Any

from zsl_jax.commands import cli
from zsl_jax.config.options import flat
from zsl_jax.errors import InputError


def flags(parser: cli.Parser) -> None:
    """Adds the flags."""
    add = parser.add_argument
    add("archives", nargs="*", type=cli.expanded, help="Archives.")
    add("--out", type=cli.path, help="Workdir to import into; it may hold an import, but no run.")
    cli.config_flags(parser, "By default the system's on AWA2", needed=False)
    add("--stage", type=cli.listed, default=[], help="Stages that the archives hold, where they do not say it.")
    add("--set", action="append", default=[], help="FIELD=VALUE of the configuration; may be given again.")


def run(said: argparse.Namespace) -> int:
    """Reads the archives, writes the workdir, says what was found and what can be done with it."""
    cli.require(said, out="runs/imported")
    if not said.archives:
        raise InputError("no archive; e.g. zsl-jax checkpoint import zerodiff_DRG.tar --out runs/imported")
    from zsl_jax.experiment import checkpoint_import

    assignments = [*said.set, *said.fields]
    made = checkpoint_import.read(said.archives, said.out, said.config or "", said.stage, assignments)
    checkpoint_import.write(made, said.out)
    print("\n".join([*found(made), *decided(made), "", *commands(made, said.out)]))
    return 0


def found(made: Any) -> list[str]:
    """Lines on the nets."""
    from zsl_jax.data.formats import tensors

    lines = [made.system]
    for piece in made.pieces:
        arrays = tensors.flatten(made.nets[piece.stage][piece.name]).values()
        what = f"{len(arrays)} arrays, {sum(array.size for array in arrays):,} numbers"
        lines.append(f"  {piece.stage:12} {piece.name:10} from {piece.archive} {piece.key}: {what}")
    for stage, names in made.missing.items():
        if names:
            lines.append(f"  {stage:12} not there: {', '.join(names)}; fresh ones, which only training would use")
    for path, names in made.ignored.items():
        if names:
            more = f" and {len(names) - 10} more" if len(names) > 10 else ""
            lines.append(f"  {path}: passed over {', '.join(ascii(name)[1:-1][:80] for name in names[:10])}{more}")
    return lines


def decided(made: Any) -> list[str]:
    """Lines on sizes and options."""
    sizes = ", ".join(f"{name} {size}" for name, size in sorted(made.sizes.items()) if "." not in name)
    now = flat(made.config.to_dict())
    changes = [f"  {name} = {now[name]!r} (there: {before!r})" for name, before in made.changes.items()]
    return [f"data: {sizes}", *(f"note: {note}" for note in made.notes), f"options: {made.file}, but", *changes]


def commands(made: Any, workdir: Path) -> list[str]:
    """What to do next."""
    from zsl_jax.interop.published import LAYOUTS
    from zsl_jax.training import imported

    config, now = made.config, flat(made.config.to_dict())
    there = imported.stages(workdir, config.stages)
    options = [f"--config.{name}={now[name]}" for name in made.changes]
    train = shlex.join(["zsl-jax", "train", made.file, "--workdir", str(workdir), *options])
    with_workdir = f"--workdir {shlex.quote(str(workdir))}"
    root = (" --config.data.root=ROOT", " --data root=ROOT") if config.data.source == "xlsa17" else ("", "")
    known, other = (
        "import it too, or zsl-jax train trains it",
        "zsl-jax train trains it, so imported nets get other views",
    )
    return [
        f"{workdir}: holds {' and '.join(there)}; the data are to be {config.data.dataset}, by the options.",
        *(
            f"Stage {one} is not there: {known if one in LAYOUTS else other}."
            for one in config.stages
            if one not in there
        ),
        "Next, with ROOT the folder of the data:" if root[0] else "Next:",
        f"  {train}{root[0]}",
        f"  zsl-jax evaluate {with_workdir}{root[1]}",
        f"  zsl-jax synthesize {with_workdir}{root[1]} --classes unseen --num 300 --out x.npz",
    ]
