"""Takes nets that the published programs saved into a workdir: `zsl-jax checkpoint import`."""

import sys

from zsl_jax import __main__ as program

if __name__ == "__main__":
    sys.exit(program.main(["checkpoint", "import", *sys.argv[1:]]))
