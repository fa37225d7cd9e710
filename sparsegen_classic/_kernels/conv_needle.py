"""Local block coordinate descent (Zisselman, Sulam, Elad 2019): all atoms at one place, a *needle*."""

from numba import njit


@njit(nogil=True, cache=True)
def descend_needles(residual, filters, mask, threshold, positive, tops, lefts, step, n_sweeps, maps):
    """Descend n_sweeps times over each needle in turn, on a copy of its patch.

    residual (n_channels, H, W) is mask * (image - D maps); patches wrap around; step = strides of the maps.
    """
    n_atoms, n_channels, height, width = filters.shape
    _, size_y, size_x = residual.shape
    patch = filters[0].copy()
    observed = filters[0].copy()
    for y in tops:
        for x in lefts:
            for c in range(n_channels):
                for i in range(height):
                    for j in range(width):
                        v, u = (y * step[0] + i) % size_y, (x * step[1] + j) % size_x
                        patch[c, i, j] = residual[c, v, u]
                        observed[c, i, j] = mask[c, v, u]
            for _ in range(n_sweeps):
                for k in range(n_atoms):
                    squared = (filters[k] * filters[k] * observed).sum()
                    if squared == 0:
                        continue
                    z = maps[k, y, x]
                    target = (filters[k] * patch).sum() + squared * z
                    new = max(abs(target) - threshold[k], 0) / squared
                    if target < 0:
                        new = z * 0 if positive else -new
                    if new != z:
                        patch -= (new - z) * filters[k] * observed
                        maps[k, y, x] = new
            for c in range(n_channels):
                for i in range(height):
                    for j in range(width):
                        residual[c, (y * step[0] + i) % size_y, (x * step[1] + j) % size_x] = patch[c, i, j]
