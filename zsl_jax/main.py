"""`python -m zsl_jax.main --config configs/zerodiff_sun.py --workdir DIR`: the same as `zsl-jax train`."""

import sys

from zsl_jax import __main__ as program

if __name__ == "__main__":
    sys.exit(program.main(["train", *sys.argv[1:]]))
