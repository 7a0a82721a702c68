"""Writes nets of a run or of an import as the published programs name them: `zsl-jax checkpoint export`."""

import sys

from zsl_jax import __main__ as program

if __name__ == "__main__":
    sys.exit(program.main(["checkpoint", "export", *sys.argv[1:]]))
