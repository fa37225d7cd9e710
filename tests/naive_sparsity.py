"""Slow oracles for the counts, projections and greedy pursuits of the convolutional model."""

from itertools import combinations, product

import numpy as np


def pixels_of(position, maps_shape, atom_shape, stride, boundary):
    """The pixels that an atom at a position touches, one by one."""
    touched = set()
    for offset in product(*map(range, atom_shape)):
        pixel = [i * s + t for i, s, t in zip(position, stride, offset, strict=True)]
        if boundary == "circular":
            pixel = [p % (n * s) for p, n, s in zip(pixel, maps_shape, stride, strict=True)]
        touched.add(tuple(pixel))
    return touched


def stripes(maps_shape, atom_shape, stride, boundary):
    """For every position the positions whose atoms overlap its atom, as a boolean matrix."""
    positions = list(product(*map(range, maps_shape)))
    touched = [pixels_of(p, maps_shape, atom_shape, stride, boundary) for p in positions]
    return np.array([[bool(a & b) for b in touched] for a in touched])


def counts(maps, atom_shape, stride, boundary):
    """(global, needle, pixel, stripe) of one image, from the sets of pixels."""
    maps_shape = maps.shape[1:]
    needles = (maps != 0).sum(axis=0)
    per_pixel = {}
    for position in product(*map(range, maps_shape)):
        for pixel in pixels_of(position, maps_shape, atom_shape, stride, boundary):
            per_pixel[pixel] = per_pixel.get(pixel, 0) + needles[position]
    stripe = stripes(maps_shape, atom_shape, stride, boundary) @ needles.ravel()
    return needles.sum(), needles.max(), max(per_pixel.values()), stripe.max()


def largest(values, k):
    """Boolean mask of the k largest of a vector, the lower index first among equals."""
    keep = np.zeros(len(values), bool)
    keep[sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]] = True
    return keep


def needle_mask(x, k):
    """The k largest magnitudes at every position of (n, channels, h, w)."""
    keep = np.zeros(x.shape, bool)
    for n, i, j in product(range(x.shape[0]), range(x.shape[2]), range(x.shape[3])):
        keep[n, :, i, j] = largest(np.abs(x[n, :, i, j]), k)
    return keep


def best_stripe_energy(maps, cap, atom_shape, stride, boundary):
    """Largest energy of any subset of the non-zeros that respects the cap, by trying all of them."""
    overlap = stripes(maps.shape[1:], atom_shape, stride, boundary)
    values = maps.reshape(len(maps), -1)
    entries = np.argwhere(values)
    best = 0.0
    for size in range(1, len(entries) + 1):
        for subset in combinations(range(len(entries)), size):
            chosen = entries[list(subset)]
            needles = np.bincount(chosen[:, 1], minlength=values.shape[1])
            if (overlap @ needles).max() <= cap:
                best = max(best, float((values[tuple(chosen.T)] ** 2).sum()))
    return best
