"""Pursuit under a pairwise prior of the support: the Boltzmann machine of Peleg, Eldar and Elad."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.utils import check_array
from sklearn.utils.validation import _check_sample_weight

from sparsegen_classic._codes import states_from_codes
from sparsegen_classic._kernels.boltzmann import boltzmann_block
from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._validation import check_integer, check_real
from sparsegen_classic.pursuit.omp import (
    check_components,
    check_features,
    check_sparsity,
    codes_from_arrays,
    gram_matrix,
)

_BLOCK = 64


def boltzmann_pursuit(
    X: ArrayLike,
    components: ArrayLike,
    n_nonzero_coefs: int | None = None,
    *,
    log_factors: ArrayLike,
    log_pair_factors: ArrayLike,
    variances: ArrayLike = 1.0,
    noise_variance: float = 1.0,
    stop: bool = True,
    n_jobs: int | None = None,
) -> sparse.csr_array:
    """Code signals by the support that is most probable given signal and prior, found greedily.

    The model: log P(s) = sum_{m in s} b_m + sum_{m<l in s} W_ml + const; coefficients of atoms in s are
    N(0, variances); the signal is their sum and white noise. Each step takes the atom that raises
    log P(s | signal), coefficients integrated out, most; coefficients are their posterior mean given s. With
    W = 0 and equal b it is a pursuit with an l0 penalty.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals.
    components : array-like of shape (n_components, n_features)
        Atoms in rows, of unit norm.
    n_nonzero_coefs : int, default=None
        Largest number of atoms a signal may use. None means ``max(1, n_features // 10)``.
    log_factors : array-like of shape (n_components,) or (2 * n_components,)
        b. Twice as many are the states of the doubled dictionary: m for atom m with a positive, and
        n_components + m with a negative coefficient; an atom then takes the sign that its coefficient has
        when it is chosen.
    log_pair_factors : array-like of shape (n_states, n_states)
        W, symmetric; its diagonal is not used. -inf keeps two states apart.
    variances : float or array-like of shape (n_components,), default=1.0
        Variance of the coefficient of each atom where it is in use.
    noise_variance : float, default=1.0
        Variance of the noise in each feature, above 0.
    stop : bool, default=True
        End where no atom raises the posterior: a prior of free size, such as :func:`fit_boltzmann`'s.
        False always takes ``n_nonzero_coefs`` atoms, as a prior of supports of one size asks for.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    codes : csr_array of shape (n_samples, n_components)
        ``X ~ codes @ components``.

    Raises
    ------
    ValueError
        If shapes do not fit or a variance is not above 0.

    References
    ----------
    T. Peleg, Y. C. Eldar, M. Elad, "Exploiting statistical dependencies in sparse representations for signal
    recovery", IEEE Trans. Signal Processing 60, 2012.

    Examples
    --------
    Atom 1 alone is hardly above the noise; atom 0, which likes its company, brings it in.

    >>> import numpy as np
    >>> from sparsegen_classic.pursuit import boltzmann_pursuit
    >>> prior = {"log_factors": [-3.0, -3.0, -3.0], "variances": 1.0, "noise_variance": 0.04}
    >>> liking = np.array([[0, 3, 0], [3, 0, 0], [0, 0, 0]])
    >>> X = [[2.0, 0.5, 0.5]]
    >>> boltzmann_pursuit(X, np.eye(3), 3, log_pair_factors=0 * liking, **prior).toarray().round(2)
    array([[1.92, 0.  , 0.  ]])
    >>> boltzmann_pursuit(X, np.eye(3), 3, log_pair_factors=liking, **prior).toarray().round(2)
    array([[1.92, 0.48, 0.  ]])
    """
    X = np.asarray(check_array(X, dtype=(np.float64, np.float32), input_name="X"))
    components = check_components(components)
    check_features(X, components)
    size = check_sparsity(n_nonzero_coefs, None, components.shape)
    noise_variance = check_real("noise_variance", noise_variance, 0.0, closed="(]")
    bias, coupling = _check_prior(log_factors, log_pair_factors, len(components))
    spread = np.ascontiguousarray(np.broadcast_to(np.asarray(variances, np.float64), len(components)))
    if not (np.isfinite(spread).all() and (spread > 0).all()):
        raise ValueError(f"variances must be finite and above 0, got {variances!r}")
    states, coefficients = np.full((len(X), size), -1, np.int32), np.zeros((len(X), size))
    gains, gram = np.zeros(len(X)), gram_matrix(components, n_jobs)

    def code(block: slice) -> None:
        alpha = X[block].astype(np.float64) @ components.T
        out = states[block], coefficients[block], gains[block]
        boltzmann_block(alpha, gram, spread, noise_variance, bias, coupling, stop, *out)

    for_blocks(code, len(X), _BLOCK, n_jobs)
    atoms = np.where(states < 0, -1, states % len(components)).astype(np.int32)
    return codes_from_arrays(atoms, coefficients.astype(X.dtype, copy=False), len(components))


def fit_boltzmann(
    codes: Any, *, l2: float = 1.0, sample_weight: ArrayLike | None = None, max_iter: int = 200
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fit the prior of :func:`boltzmann_pursuit` to codes: a Boltzmann machine of the atoms in use.

    b and W maximise the pseudo-likelihood sum_i log P(u_m | rest), where P(u_m = 1 | rest) =
    sigmoid(b_m + W_m u), less l2 / 2 times the sum of W_ml^2 over pairs, by L-BFGS; concave. Alternated with
    the pursuit, this learns a prior of the supports that a dictionary gives.

    Parameters
    ----------
    codes : {array-like, sparse array} of shape (n_samples, n_components)
        Codes; non-zero entries are in use, whatever their sign.
    l2 : float, default=1.0
        Precision of the Gaussian prior of the pairs (and, at a hundredth, of b).
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    max_iter : int, default=200
        Most steps.

    Returns
    -------
    log_factors : ndarray of shape (n_components,)
        b.
    log_pair_factors : ndarray of shape (n_components, n_components)
        W, symmetric with a zero diagonal.
    variances : ndarray of shape (n_components,)
        Mean square of the coefficients of each atom over its uses; that of all atoms where one is not used.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.pursuit import fit_boltzmann
    >>> b, W, variances = fit_boltzmann([[1, -2, 0], [0, 0, 0], [3, 2, 0], [0, 0, 1]] * 10)
    >>> bool(W[0, 1] > 2), variances.tolist()
    (True, [5.0, 4.0, 1.0])
    """
    l2, max_iter = check_real("l2", l2, 0.0), check_integer("max_iter", max_iter, 1)
    codes = check_array(codes, accept_sparse="csr", dtype=np.float64, input_name="codes")
    weight = _check_sample_weight(sample_weight, codes, dtype=np.float64, ensure_non_negative=True)
    codes = codes.toarray() if sparse.issparse(codes) else codes
    uses, n_atoms = (codes != 0).astype(np.float64), codes.shape[1]
    pairs = np.triu_indices(n_atoms, 1)

    def negative(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        bias, coupling = _unpack(x, n_atoms, pairs)
        value, by_bias, by_coupling = boltzmann_pseudo_likelihood(uses, bias, coupling, weight)
        strength = np.append(np.full(n_atoms, l2 / 100), np.full(len(pairs[0]), l2))
        gradient = np.append(by_bias, by_coupling[pairs]) - strength * x
        return float((strength * x) @ x / 2 - value), -gradient

    share = (weight @ uses + 0.5) / (weight.sum() + 1.0)
    start = np.append(np.log(share / (1 - share)), np.zeros(len(pairs[0])))
    x = minimize(negative, start, jac=True, method="L-BFGS-B", options={"maxiter": max_iter}).x
    counts, squares = weight @ uses, weight @ codes**2
    everywhere = squares.sum() / counts.sum() if counts.any() else 1.0
    variances = np.divide(squares, counts, out=np.full(n_atoms, everywhere), where=counts > 0)
    return *_unpack(x, n_atoms, pairs), variances


def boltzmann_pseudo_likelihood(
    uses: NDArray[np.floating],
    log_factors: NDArray[np.float64],
    log_pair_factors: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the weighted sum of log P(u_m | rest) over rows and units, and its gradients.

    ``uses`` (n_samples, n_components) holds 0 and 1. The second gradient is by the entries of a symmetric
    table, both halves counted as one.
    """
    field = log_factors + uses @ log_pair_factors
    value = weights @ (uses * field - np.logaddexp(0.0, field)).sum(axis=1)
    error = weights[:, None] * (uses - expit(field))
    by_pairs = uses.T @ error
    by_pairs += by_pairs.T.copy()
    np.fill_diagonal(by_pairs, 0.0)
    return float(value), error.sum(axis=0), by_pairs


def prior_factors(model: Any, n_components: int) -> dict[str, NDArray[np.float64]]:
    """Return the factors of a model of supports as :func:`boltzmann_pursuit` takes them.

    Such models compare supports of one size: call the pursuit with ``stop=False`` and that many atoms.

    Parameters
    ----------
    model : MarkovSupports or PairwiseSupports
        A fitted model over states of the doubled dictionary: ``states_``, ``log_factors_`` and
        ``log_pair_factors_`` are used.
    n_components : int
        Number of atoms. States that the model has not seen are impossible.

    Returns
    -------
    prior : dict
        ``log_factors`` (2 * n_components,) and ``log_pair_factors`` of as many rows and columns.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.pursuit import boltzmann_pursuit, prior_factors
    >>> from sparsegen_classic.support import MarkovSupports
    >>> model = MarkovSupports().fit([[1, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, -1]])
    >>> prior = prior_factors(model, 3)
    >>> boltzmann_pursuit([[2.0, 0.5, 0.6]], np.eye(3), 2, stop=False, **prior).toarray()
    array([[1.  , 0.25, 0.  ]])
    """
    n_states = 2 * n_components
    if model.states_[-1] >= n_states:
        raise ValueError(
            f"n_components must be the model's number of atoms, got {n_components} and a state"
            f" {model.states_[-1]}; give that of the codes that it was fitted to"
        )
    theta, table = np.full(n_states, -np.inf), np.full((n_states, n_states), -np.inf)
    theta[model.states_] = model.log_factors_
    table[np.ix_(model.states_, model.states_)] = model.log_pair_factors_
    return {"log_factors": theta, "log_pair_factors": table}


def boltzmann_from_spins(
    bias: ArrayLike, coupling: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return the factors of units 0 and 1 that stand for spins -1 and 1.

    log P(s) = b^T s + s^T W s / 2, as the literature has it, equals log_factors^T u + u^T log_pair_factors u
    / 2 + constant at u = (s + 1) / 2.

    Parameters
    ----------
    bias : array-like of shape (n_components,)
        b of the spins.
    coupling : array-like of shape (n_components, n_components)
        W of the spins, symmetric with a zero diagonal.

    Returns
    -------
    log_factors : ndarray of shape (n_components,)
    log_pair_factors : ndarray of shape (n_components, n_components)
    constant : float

    Examples
    --------
    >>> from sparsegen_classic.pursuit import boltzmann_from_spins
    >>> log_factors, log_pair_factors, constant = boltzmann_from_spins([0.5, 0.0], [[0, 1], [1, 0]])
    >>> log_factors.tolist(), log_pair_factors.tolist(), constant
    ([-1.0, -2.0], [[0.0, 4.0], [4.0, 0.0]], 0.5)
    """
    b, w = np.asarray(bias, np.float64), np.asarray(coupling, np.float64)
    return 2 * b - 2 * w.sum(axis=1), 4 * w, float(w.sum() / 2 - b.sum())


def support_log_posterior(
    X: ArrayLike,
    components: ArrayLike,
    codes: Any,
    *,
    log_factors: ArrayLike,
    log_pair_factors: ArrayLike,
    variances: ArrayLike = 1.0,
    noise_variance: float = 1.0,
) -> NDArray[np.float64]:
    """Return log P(support | signal) of the supports of codes, over that of the empty support.

    Parameters
    ----------
    X, components, log_factors, log_pair_factors, variances, noise_variance
        As in :func:`boltzmann_pursuit`.
    codes : {array-like, sparse array} of shape (n_samples, n_components)
        Codes, one for each signal; only which entries are non-zero, and their signs, matter.

    Returns
    -------
    log_ratios : ndarray of shape (n_samples,)
        Comparable between supports of one signal.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.pursuit import support_log_posterior
    >>> flat = {"log_factors": [0.0, 0.0], "log_pair_factors": np.zeros((2, 2))}
    >>> support_log_posterior([[2.0, 0.0]] * 2, np.eye(2), np.eye(2), **flat).round(3).tolist()
    [0.653, -0.347]
    """
    components = check_components(components)
    X = np.asarray(check_array(X, dtype=np.float64, input_name="X"))
    check_features(X, components)
    n_atoms = len(components)
    bias, coupling = _check_prior(log_factors, log_pair_factors, n_atoms)
    spread = np.broadcast_to(np.asarray(variances, np.float64), n_atoms)
    states, _ = states_from_codes(codes)
    result = np.empty(len(X))
    for i, row in enumerate(states):
        chosen = row[row >= 0]
        atoms = chosen % n_atoms
        chosen = chosen if len(bias) > n_atoms else atoms
        q = components[atoms] @ components[atoms].T + np.diag(noise_variance / spread[atoms])
        alpha = components[atoms] @ X[i]
        evidence = alpha @ np.linalg.solve(q, alpha) / noise_variance - np.linalg.slogdet(q)[1]
        prior = bias[chosen].sum() + np.triu(coupling[np.ix_(chosen, chosen)], 1).sum()
        result[i] = (evidence - np.log(spread[atoms] / noise_variance).sum()) / 2 + prior
    return result


def _unpack(x: Any, n_atoms: int, pairs: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    coupling = np.zeros((n_atoms, n_atoms))
    coupling[pairs] = coupling[pairs[::-1]] = x[n_atoms:]
    return x[:n_atoms], coupling


def _check_prior(bias: Any, coupling: Any, n_atoms: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    b, w = np.array(bias, np.float64), np.array(coupling, np.float64)
    if b.shape not in ((n_atoms,), (2 * n_atoms,)) or w.shape != (len(b), len(b)):
        raise ValueError(
            f"log_factors must have shape ({n_atoms},) or ({2 * n_atoms},) for {n_atoms} atoms, and"
            f" log_pair_factors as many rows and columns, got {b.shape} and {w.shape}"
        )
    np.fill_diagonal(w, 0.0)
    for name, values in (("log_factors", b), ("log_pair_factors", w)):
        if np.isnan(values).any() or np.isposinf(values).any():
            raise ValueError(f"{name} must be finite or -inf, got NaN or +inf")
    if not np.array_equal(w, w.T):
        raise ValueError("log_pair_factors must be symmetric; average it with its transpose")
    return b, w
