"""Two linear maps from features to descriptions in closed form, ESZSL and SAE.

Sources: Romera-Paredes and Torr, "An embarrassingly simple approach to zero-shot learning", ICML 2015 (ESZSL); Kodirov,
Xiang and Gong, "Semantic autoencoder for zero-shot learning", CVPR 2017 (SAE).
"""

from typing import NamedTuple

import numpy as np

SINGULAR = 1e-10  # eigenvalues below this share of the largest are rounding errors


class Side(NamedTuple):
    """Eigenvalues [k] and eigenvectors [D, k] of X'X; the other eigenvalues are 0."""

    values: np.ndarray
    vectors: np.ndarray


def decomposed(x: np.ndarray) -> Side:
    """Decomposes X'X of rows x [n, D]; of fewer rows than columns only what the rows span, outside of it X'X is 0."""
    if len(x) < x.shape[1]:
        _, singular, rows = np.linalg.svd(x, full_matrices=False)
        return Side(singular**2, rows.T)
    return Side(*np.linalg.eigh(x.T @ x))


class Spectrum(NamedTuple):
    """What is inverted, once for all weights: both sides, and X'Y S' (SAE: X'S') between their eigenvectors."""

    features: Side
    semantics: Side
    cross: np.ndarray


def spectrum(features: Side, semantics: np.ndarray, between: np.ndarray) -> Spectrum:
    """Decomposes semantics [m, A] too; `between` [D, A] is what stands between both sides."""
    other = decomposed(semantics)
    return Spectrum(features, other, features.vectors.T @ between @ other.vectors)


def eszsl_spectrum(
    features: Side, x: np.ndarray, labels: np.ndarray, semantics: np.ndarray, seen: np.ndarray
) -> Spectrum:
    """What ESZSL inverts; `features` of x, the other arguments are those of `eszsl`."""
    own = np.asarray(semantics, np.float64)[seen]
    signs = np.where(labels[:, None] == np.asarray(seen)[None, :], 1.0, -1.0)
    return spectrum(features, own, x.T @ signs @ own)


def solve_eszsl(parts: Spectrum, gamma: float, lam: float) -> np.ndarray:
    """V = (X'X + gamma I)^-1 X'Y S' (S S' + lam I)^-1 [D, A] from its decomposition."""
    shrunk = parts.cross / ((parts.features.values + gamma)[:, None] * (parts.semantics.values + lam)[None, :])
    return parts.features.vectors @ shrunk @ parts.semantics.vectors.T


def eszsl(
    x: np.ndarray, labels: np.ndarray, semantics: np.ndarray, seen: np.ndarray, gamma: float, lam: float
) -> np.ndarray:
    """The bilinear map V of ESZSL; the score of class c for row x is x V semantics[c].

    Args:
      x: training features [n, D].
      labels: their classes [n].
      semantics: of all classes [C, A].
      seen: classes to train on [c].
      gamma: regulariser on the feature side, > 0.
      lam: regulariser on the semantic side, > 0.

    Returns:
      V [D, A] float64 (equation 5 of the paper, with targets +1 and -1).
    """
    x = np.asarray(x, np.float64)
    return solve_eszsl(eszsl_spectrum(decomposed(x), x, labels, semantics, seen), gamma, lam)


def solve_sae(parts: Spectrum, lam: float) -> np.ndarray:
    """V [D, A] of SAE from its decomposition; see `sae`."""
    sums = lam * parts.features.values[:, None] + parts.semantics.values[None, :]
    determined = sums > SINGULAR * sums.max()
    shrunk = np.where(determined, (1 + lam) * parts.cross / np.where(determined, sums, 1.0), 0.0)
    return parts.features.vectors @ shrunk @ parts.semantics.vectors.T


def sae(x: np.ndarray, semantics: np.ndarray, lam: float) -> np.ndarray:
    """The encoder of SAE: x V are a row's semantics, and x V V' is the row again.

    Solves S S' W + lam W X X' = (1 + lam) S X' (section 3 of the paper; W = V', rows as columns) in the eigenvectors of
    both sides, where it is a division for each entry. Where neither features nor semantics span their spaces, the
    equation leaves entries open (a general solver would divide by rounding errors): they are zero, which makes the
    shortest solution.

    Args:
      x: training features [n, D].
      semantics: of the rows' classes [n, A].
      lam: weight of the encoding error against the reconstruction's, > 0.

    Returns:
      V [D, A] float64.
    """
    return solve_sae(spectrum(decomposed(x), semantics, x.T @ semantics), lam)
