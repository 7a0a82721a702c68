"""CramerGAN with the zoo's three tricks (Zero-shot-Generative-Models) on SUN.

Published scores, best on the test set: U / S / H 48.9 / 37.9 / 42.7.

    zsl-jax train cramergan_tricks_sun --workdir runs/tricks_sun --config.data.root=ROOT

The tricks: the Cramer distance in place of the Wasserstein distance; noise on the semantics, in training and in
synthesis; a classifier of generative prototypes, in which seen classes' scores count 0.95 fold. Files below ROOT/SUN:
res101.mat, att_splits.mat; without data, `--config.data.source=synthetic` makes random features of the same sizes.
No scores of ours on the real features are known. On the embedded digits:
`configs/gan_zoo.py:cramergan_tricks,digits`.
"""

from zsl_jax.config import defaults


def get_config():
    """The configuration."""
    config = defaults.cramergan_tricks()
    config.data.dataset = config.data.synthetic.preset = "SUN"
    config.gan.syn_num = 400  # published: 400 to 500
    return config
