"""Strided correlation as matrix products: patches of an image as columns, and their adjoint.

One image at a time, with its boundary already attached: ``image`` (n_channels, H, W), ``columns``
(n_channels, h, w, rows, W') where column (:, :, :, y, x) is the patch of map row ``first + y``, position x.
"""

from numba import njit


@njit(nogil=True, cache=True)
def gather_patches(image, first, stride_y, stride_x, columns):
    """columns[c, i, j, y, x] = image[c, (first + y) stride_y + i, x stride_x + j]."""
    n_channels, height, width, rows, n = columns.shape
    for c in range(n_channels):
        for i in range(height):
            for j in range(width):
                for y in range(rows):
                    source = image[c, (first + y) * stride_y + i]
                    target = columns[c, i, j, y]
                    if stride_x == 1:
                        target[:] = source[j : j + n]
                    else:
                        for x in range(n):
                            target[x] = source[x * stride_x + j]


@njit(nogil=True, cache=True)
def add_patches(columns, first, stride_y, stride_x, image):
    """Add every patch back where ``gather_patches`` took it from: its adjoint."""
    n_channels, height, width, rows, n = columns.shape
    for c in range(n_channels):
        for y in range(rows):
            for i in range(height):
                target = image[c, (first + y) * stride_y + i]
                for j in range(width):
                    source = columns[c, i, j, y]
                    if stride_x == 1:
                        for x in range(n):
                            target[x + j] += source[x]
                    else:
                        for x in range(n):
                            target[x * stride_x + j] += source[x]


@njit(nogil=True, cache=True)
def add_atoms(filters, atom, top, left, value, image):
    """image[:, top:top + h, left:left + w] += value * filters[atom], one atom after the other."""
    _, n_channels, height, width = filters.shape
    for k in range(atom.shape[0]):
        for c in range(n_channels):
            for i in range(height):
                source = filters[atom[k], c, i]
                target = image[c, top[k] + i, left[k] : left[k] + width]
                for j in range(width):
                    target[j] += value[k] * source[j]
