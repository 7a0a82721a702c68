"""The zoo's objectives by name; `train_steps` has what each of them computes, under the same names."""

GANS = (
    "wgan", "cramergan", "lsgan", "nsgan", "mmgan", "ransgan", "dragan", "fishergan", "began", "infogan",
    "fgan_total_variation", "fgan_forward_kl", "fgan_reverse_kl", "fgan_pearson", "fgan_squared_hellinger",
    "fgan_jensen_shannon",
)  # fmt: skip
AUTOENCODERS = ("ae", "ae2", "vae", "bir_vae")
