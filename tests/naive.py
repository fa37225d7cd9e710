"""Slow oracles for the pursuits and dictionaries, written from the definitions."""

import numpy as np
from scipy.optimize import nnls


def omp(x, components, n_nonzero_coefs, tol=None):
    """Textbook OMP: largest correlation with the residual, then a least-squares refit."""
    chosen, code, residual = [], np.zeros(len(components)), x.copy()
    while len(chosen) < n_nonzero_coefs and (tol is None or residual @ residual > tol):
        correlation = np.abs(components @ residual)
        correlation[chosen] = 0
        chosen.append(int(np.argmax(correlation)))
        coefficients = np.linalg.lstsq(components[chosen].T, x, rcond=None)[0]
        residual = x - coefficients @ components[chosen]
        code[:] = 0
        code[chosen] = coefficients
    return code


def nn_omp(x, components, n_nonzero_coefs):
    """Non-negative OMP: largest signed correlation, then NNLS over everything chosen so far."""
    chosen, code, residual = [], np.zeros(len(components)), x.copy()
    for _ in range(n_nonzero_coefs):
        correlation = components @ residual
        correlation[chosen] = 0
        if correlation.max() <= 1e-10:
            break
        chosen.append(int(np.argmax(correlation)))
        coefficients, _ = nnls(components[chosen].T, x)
        residual = x - coefficients @ components[chosen]
        code[:] = 0
        code[chosen] = coefficients
    return code


def refit(x, components, chosen):
    code = np.zeros(len(components))
    code[chosen] = np.linalg.lstsq(components[chosen].T, x, rcond=None)[0]
    return code


def thresholding(x, components, n_nonzero_coefs):
    """Refit the atoms most correlated with the signal."""
    return refit(x, components, np.argsort(-np.abs(components @ x))[:n_nonzero_coefs])


def subspace_pursuit(x, components, n_nonzero_coefs):
    """Merge, refit, keep the largest, refit; for as long as the error falls."""
    code = thresholding(x, components, n_nonzero_coefs)
    while True:
        residual = x - code @ components
        correlation = np.abs(components @ residual)
        correlation[code != 0] = 0
        merged = np.union1d(np.flatnonzero(code), np.argsort(-correlation)[:n_nonzero_coefs])
        largest = np.argsort(-np.abs(refit(x, components, merged)))[:n_nonzero_coefs]
        new = refit(x, components, largest)
        if ((x - new @ components) ** 2).sum() >= (residual**2).sum() - 1e-12:
            return code
        code = new


def weighted(pursuit, x, components, weights, *args):
    """Any pursuit with weights on the entries: on the signal and the atoms times the root of the weights."""
    observed = weights > 0
    root = np.sqrt(weights[observed])
    scaled = components[:, observed] * root
    norms = np.linalg.norm(scaled, axis=1)
    return pursuit(x[observed] * root, scaled / norms[:, None], *args) / norms


def ksvd_sweep(order, X, components, codes, exact):
    """One atom stage with the restricted error matrix formed in full."""
    components, codes = components.copy(), codes.copy()
    for j in order:
        w = np.flatnonzero(codes[:, j])
        if len(w):
            error = X[w] - codes[w] @ components + np.outer(codes[w, j], components[j])
            if exact:
                components[j] = np.linalg.svd(error)[2][0]
            else:
                components[j] = codes[w, j] @ error
                components[j] /= np.linalg.norm(components[j])
            codes[w, j] = error @ components[j]
    return components, codes


def unit_rows(matrix):
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def weighted_rank_one(error, weights, d, g, *, positive=False, non_negative=False, zero_mean=False):
    """One alternation for ``sum(weights * (error - outer(g, d))**2)``: d given g, then g given d.

    With zero_mean the atom solves the KKT system of the constrained least squares.
    """
    d = d.copy()
    seen = (weights * g[:, None] ** 2).sum(axis=0)
    target = (weights * g[:, None] * error).sum(axis=0)
    free = seen > 0
    if zero_mean:
        n = free.sum()
        system = np.block([[np.diag(seen[free]), np.ones((n, 1))], [np.ones((1, n)), np.zeros((1, 1))]])
        d[free] = np.linalg.solve(system, np.append(target[free], -d[~free].sum()))[:n]
    else:
        d[free] = target[free] / seen[free]
    d = np.maximum(d, 0) if non_negative else d
    d /= np.linalg.norm(d)
    g = (weights * error) @ d / (weights @ d**2)
    return d, np.maximum(g, 0) if positive else g
