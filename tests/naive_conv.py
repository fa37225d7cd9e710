"""Slow oracles for convolutional dictionaries, from the definitions (2-D; loops, dense algebra)."""

import numpy as np


def synthesize(maps, filters, stride=(1, 1), padding=(0, 0), output_padding=(0, 0)):
    """conv_transpose2d: every entry of the maps adds its filter, un-flipped, at stride times its position."""
    n_atoms, n_channels, h, w = filters.shape
    _, rows, columns = maps.shape
    full = np.zeros(
        (
            n_channels,
            (rows - 1) * stride[0] + h + output_padding[0],
            (columns - 1) * stride[1] + w + output_padding[1],
        )
    )
    for j in range(n_atoms):
        for y in range(rows):
            for x in range(columns):
                top, left = y * stride[0], x * stride[1]
                full[:, top : top + h, left : left + w] += maps[j, y, x] * filters[j]
    return full[:, padding[0] : full.shape[1] - padding[0], padding[1] : full.shape[2] - padding[1]]


def analyze(image, filters, stride=(1, 1), padding=(0, 0)):
    """conv2d: inner products of the filters with the patches of the zero-padded image."""
    n_atoms, _, h, w = filters.shape
    padded = np.pad(image, [(0, 0), (padding[0],) * 2, (padding[1],) * 2])
    rows = (padded.shape[1] - h) // stride[0] + 1
    columns = (padded.shape[2] - w) // stride[1] + 1
    maps = np.empty((n_atoms, rows, columns))
    for y in range(rows):
        for x in range(columns):
            top, left = y * stride[0], x * stride[1]
            maps[:, y, x] = np.tensordot(filters, padded[:, top : top + h, left : left + w], 3)
    return maps


def synthesize_circular(maps, filters, stride=(1, 1)):
    """The same with atoms that go on at the opposite border."""
    _, n_channels, h, w = filters.shape
    shape = maps.shape[1] * stride[0], maps.shape[2] * stride[1]
    image = np.zeros((n_channels, *shape))
    for j, y, x in zip(*np.nonzero(maps), strict=True):
        for c, i, k in np.ndindex(n_channels, h, w):
            where = (y * stride[0] + i) % shape[0], (x * stride[1] + k) % shape[1]
            image[c, *where] += maps[j, y, x] * filters[j, c, i, k]
    return image


def lasso_conditions(matrix, signal, code, threshold, positive=False):
    """Largest violation of the optimality conditions of 1/2 ||signal - matrix code||^2 + threshold |code|."""
    gradient = matrix.T @ (signal - matrix @ code)
    active = code != 0
    violation = np.abs(gradient - threshold * np.sign(code))[active].max(initial=0)
    outside = gradient if positive else np.abs(gradient)
    return max(violation, (outside - threshold)[~active].max(initial=0))
