"""Makes a data set out of embeddings of one's own pictures: `zsl-jax data import --as pictures`."""

import sys

from zsl_jax import __main__ as program

if __name__ == "__main__":
    sys.exit(program.main(["data", "import", "--as=pictures", *sys.argv[1:]]))
