"""FISTA, ADMM and local block coordinate descent: independent second opinions, on dense maps."""

from __future__ import annotations

import numpy as np
from scipy import fft

from sparsegen_classic._kernels.conv_needle import descend_needles
from sparsegen_classic.convolutional.l1 import ConvCode, Floats, Lasso, Progress

_CHECK_EVERY = 10  # steps between two certificates


def solve_fista(problem: Lasso, tol: float, max_iter: int) -> ConvCode:
    """Accelerated proximal gradient (Beck, Teboulle 2009), restarted where the momentum points uphill."""
    progress = Progress(problem, tol)
    dictionary = problem.dictionary
    step = 1 / dictionary.lipschitz_bound(problem.image.shape[1:])
    maps = ahead = np.zeros(problem.shape, problem.image.dtype)
    t = 1.0
    for n_iter in range(max_iter + 1):
        last = n_iter == max_iter
        if (last or n_iter % _CHECK_EVERY == 0) and (progress.done_dense(maps) or last):
            break
        correlation = dictionary.analyze(problem.residual(ahead))
        new = problem.shrink(ahead + maps.dtype.type(step) * correlation, step)
        if np.vdot(ahead - new, new - maps) > 0:
            t = 1.0
        t_new = (1 + np.sqrt(1 + 4 * t * t)) / 2
        ahead = new + maps.dtype.type((t - 1) / t_new) * (new - maps)
        maps, t = new, t_new
    return progress.result(maps, n_iter)


def solve_admm(problem: Lasso, tol: float, max_iter: int) -> ConvCode:
    """Alternate a quadratic problem, per frequency, with soft thresholding (Wohlberg 2016); circular only.

    The penalty parameter is balanced in the first half of ``max_iter`` and fixed afterwards.
    """
    dictionary = problem.dictionary
    if dictionary.boundary != "circular" or set(dictionary.stride) != {1} or problem.mask is not None:
        raise ValueError(
            "solver='admm' works per frequency and needs boundary='circular', stride 1 and no mask; use "
            "solver='cd' or 'fista'"
        )
    progress = Progress(problem, tol)
    shape, axes = problem.image.shape[1:], (-2, -1)
    filters = fft.rfft2(dictionary.filters, shape).transpose(2, 3, 1, 0)  # (frequencies, n_channels, n_atoms)
    adjoint = filters.conj().swapaxes(2, 3)
    gram = filters @ adjoint
    signal = fft.rfft2(problem.image, axes=axes).transpose(1, 2, 0)[..., None]
    data = adjoint @ signal
    identity = np.eye(dictionary.n_channels, dtype=gram.dtype)
    rho = float(np.mean(dictionary.norms**2))
    maps = dual = np.zeros(problem.shape, problem.image.dtype)
    for n_iter in range(max_iter + 1):
        last = n_iter == max_iter
        if (last or n_iter % _CHECK_EVERY == 0) and (progress.done_dense(maps) or last):
            break
        b = data + rho * fft.rfft2(maps - dual, axes=axes).transpose(1, 2, 0)[..., None]
        x = (b - adjoint @ np.linalg.solve(rho * identity + gram, filters @ b)) / rho
        smooth = fft.irfft2(x[..., 0].transpose(2, 0, 1), shape, axes=axes).astype(maps.dtype)
        relaxed = 1.8 * smooth - 0.8 * maps
        old, maps = maps, problem.shrink(relaxed + dual, 1 / rho)
        dual = dual + relaxed - maps
        if n_iter % _CHECK_EVERY == 0 and n_iter < max_iter // 2:
            primal, change = np.linalg.norm(smooth - maps), rho * np.linalg.norm(maps - old)
            factor = 2.0 if primal > 5 * change else 0.5 if change > 5 * primal else 1.0
            rho, dual = rho * factor, dual / maps.dtype.type(factor)
    return progress.result(maps, n_iter)


def solve_lobcod(problem: Lasso, tol: float, max_iter: int) -> ConvCode:
    """Local block coordinate descent over needles whose patches do not overlap, one such layer at a time."""
    dictionary = problem.dictionary
    _, rows, columns = problem.shape
    gap_y, gap_x = (-(-k // s) for k, s in zip(dictionary.atom_shape, dictionary.stride, strict=True))
    mask = np.ones_like(problem.image) if problem.mask is None else problem.mask
    threshold = problem.threshold.astype(problem.image.dtype)
    progress = Progress(problem, tol)
    maps: Floats = np.zeros(problem.shape, problem.image.dtype)
    for n_iter in range(max_iter + 1):
        if progress.done_dense(maps) or n_iter == max_iter:
            break
        residual = problem.residual(maps)
        for y in range(min(gap_y, rows)):
            for x in range(min(gap_x, columns)):
                tops, lefts = np.arange(y, rows, gap_y), np.arange(x, columns, gap_x)
                flags = mask, threshold, problem.positive
                step = dictionary.stride
                descend_needles(residual, dictionary.filters, *flags, tops, lefts, step, 5, maps)
    return progress.result(maps, n_iter)
