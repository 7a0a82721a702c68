"""Makes a data set out of files as they come: `zsl-jax data import --as files`."""

import sys

from zsl_jax import __main__ as program

if __name__ == "__main__":
    sys.exit(program.main(["data", "import", "--as=files", *sys.argv[1:]]))
