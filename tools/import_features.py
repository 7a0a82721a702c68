"""Makes a data set out of files as they come: `zsl-jax data import`."""

import sys

from zsl_jax import __main__ as program

if __name__ == "__main__":
    sys.exit(program.main(["data", "import", *sys.argv[1:]]))
