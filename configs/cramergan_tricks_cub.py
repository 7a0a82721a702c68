"""CramerGAN with the zoo's three tricks (Zero-shot-Generative-Models) on CUB.

Published scores, best on the test set: U / S / H 49.2 / 61.6 / 55.5.

    zsl-jax train cramergan_tricks_cub --workdir runs/tricks_cub --config.data.root=ROOT

The tricks: the Cramer distance in place of the Wasserstein distance; noise on the semantics, in training and in
synthesis; a classifier of generative prototypes, in which seen classes' scores count 0.95 fold. Files below ROOT/CUB:
res101.mat, att_splits.mat; without data, `--config.data.source=synthetic` makes random features of the same sizes.
No scores of ours on the real features are known. On the embedded digits:
`configs/gan_zoo.py:cramergan_tricks,digits`.
"""

from zsl_jax.config import defaults


def get_config():
    """The configuration."""
    config = defaults.cramergan_tricks()
    config.data.dataset = config.data.synthetic.preset = "CUB"
    config.gan.syn_num = 400  # published: 400 to 500
    return config
