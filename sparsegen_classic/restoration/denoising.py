"""Denoising over a sparse dictionary (Elad and Aharon 2006)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsegen_classic._random import spawn_generators
from sparsegen_classic._validation import check_integer, check_real
from sparsegen_classic.images.patches import (
    PatchGrid,
    add_means,
    check_patch_shape,
    sample_patches,
    split_means,
)
from sparsegen_classic.restoration.noise import estimate_sigma
from sparsegen_classic.restoration.planes import (
    BLOCK,
    approximate,
    channels_to_planes,
    check_image,
    learned_atoms,
    noise_energy,
    planes_to_channels,
    start_atoms,
)

NOISY_WEIGHT = 30 / 255  # over sigma: lambda, how much the noisy pixel itself counts beside its patches


def denoise(
    image: ArrayLike,
    sigma: float | None = None,
    *,
    dictionary: str | ArrayLike = "image",
    patch_shape: int | tuple[int, int] = 8,
    n_components: int = 256,
    max_iter: int = 20,
    n_training: int = 65_000,
    stride: int = 1,
    random_state: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> NDArray[np.floating]:
    """Remove white Gaussian noise by sparse coding of all overlapping patches.

    Every patch, less its mean, is coded by OMP until what is left is no more than noise would leave; the
    patches are put back and averaged, with the noisy image itself at weight ``30 / (255 sigma)``. The
    dictionary is learned from the noisy patches of the image, unless another is given.

    Parameters
    ----------
    image : array-like of shape (h, w) or (h, w, c)
        Noisy image on the scale [0, 1], which noise may leave; uint8, uint16 and bool are scaled by their
        type. Channels are turned into a grey and colour differences (the orthonormal DCT over channels,
        which keeps white noise white) and each is denoised for itself.
    sigma : float, default=None
        Standard deviation of the noise, greater than 0, on the scale of the image: 25 grey levels of 255 are
        25/255. None estimates it (:func:`estimate_sigma`).
    dictionary : "image", "dct" or array-like of shape (n_atoms, n_features), default="image"
        "image" learns from the image itself by K-SVD, starting at the DCT; "dct" is the overcomplete DCT; an
        array holds atoms of unit norm for grey patches, learned elsewhere (``KSVD.components_``).
    patch_shape : int or (int, int), default=8
        Sides of a patch; an int means a square.
    n_components : int, default=256
        Atoms of the learned dictionary or of the DCT.
    max_iter : int, default=20
        Iterations of K-SVD. The paper makes 10; 20 gain about 0.1 dB.
    n_training : int, default=65000
        Patches, at random positions, that K-SVD learns from.
    stride : int, default=1
        Step between patches, at most the side of a patch. 2 takes a quarter of the time, and costs quality.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the training patches and of K-SVD.
    n_jobs : int, default=None
        Number of threads, as in joblib. The result does not depend on it.
    verbose : int, default=0
        With 1, progress bars on stderr if that is a terminal.

    Returns
    -------
    ndarray of the shape of ``image``
        In [0, 1]; float64 for float64 images, else float32.

    Raises
    ------
    ValueError
        For images with NaN or not on the scale [0, 1], ``sigma`` not greater than 0, patches larger than the
        image, and atoms that do not fit the patches or are not of unit norm.

    Notes
    -----
    A patch of n pixels is coded to the squared error ``n (C sigma)^2``, or n/2 atoms. C = 1.15 for n = 64, as
    published, and for other n such that the noise of a patch stays below with the same probability.

    References
    ----------
    M. Elad, M. Aharon, "Image denoising via sparse and redundant representations over learned
    dictionaries", IEEE Trans. Image Processing 15 (2006).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.restoration import denoise
    >>> y, x = np.mgrid[:64, :64]
    >>> clean = ((x // 8 + y // 16) % 2) * 0.6 + 0.2
    >>> noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape)
    >>> restored = denoise(noisy, 0.1, random_state=0)
    >>> bool(np.std(restored - clean) < 0.3 * np.std(noisy - clean))
    True
    """
    pixels = check_image(image)
    sides = check_patch_shape(patch_shape)
    grid = PatchGrid(pixels.shape[:2], sides, check_integer("stride", stride, 1, min(sides)))
    check_integer("n_training", n_training, 1)
    sigma = check_sigma(pixels, sigma)
    start, learn = start_atoms(dictionary, grid, n_components)
    options = {"max_iter": check_integer("max_iter", max_iter, 1), "n_jobs": n_jobs, "verbose": verbose}
    planes = channels_to_planes(pixels)
    for plane, rng in zip(planes, spawn_generators(random_state, len(planes)), strict=True):
        atoms = start
        if learn:
            X, _ = split_means(sample_patches([plane], n_training, grid.patch_shape, rng))
            tol = noise_energy(grid.n_features, sigma)
            X = X[np.einsum("ij,ij->i", X, X) > tol]  # the others need no atom
            atoms = learned_atoms(X, start, tol, grid.n_features // 2, random_state=rng, **options)
        plane[:] = _denoise_plane(plane, grid, atoms, sigma, n_jobs)
    return planes_to_channels(planes, pixels)


def check_sigma(pixels: NDArray[np.floating], sigma: float | None) -> float:
    """Return ``sigma``, estimated where None."""
    if sigma is not None:
        remedy = "give the standard deviation of the noise on the scale [0, 1], or None to estimate it"
        return check_real("sigma", sigma, 0, 1, "(]", remedy)
    estimate = estimate_sigma(pixels)
    if estimate == 0:
        raise ValueError("sigma=None found no noise in the image; there is nothing to remove")
    return estimate


def _denoise_plane(
    plane: NDArray[np.float64], grid: PatchGrid, atoms: NDArray[Any], sigma: float, n_jobs: int | None
) -> NDArray[np.float64]:
    """Return the average of the noisy plane and of its patches as their codes have them."""
    weight = np.full(plane.shape, NOISY_WEIGHT / sigma)
    total = weight * plane
    tol, one = noise_energy(grid.n_features, sigma), np.ones((1, grid.n_features))
    for block, noisy in grid.blocks(plane, BLOCK):
        X, means = split_means(noisy)
        active = np.flatnonzero(np.einsum("ij,ij->i", X, X) > tol)  # the others are their means
        clean = np.zeros_like(X)
        tols = np.full(len(active), tol)
        clean[active] = approximate(X[active], atoms, tols, grid.n_features // 2, n_jobs=n_jobs)
        grid.add(total, add_means(clean, means), block)
        grid.add(weight, one, block)
    return total / weight
