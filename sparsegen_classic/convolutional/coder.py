"""The convolutional lasso for images: checks, the choice of a solver, batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning

from sparsegen_classic._parallel import for_blocks
from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.convolutional.l1 import ConvCode, Floats, Lasso, plain_lasso, strongest_atoms
from sparsegen_classic.convolutional.l1_cd import solve_cd
from sparsegen_classic.convolutional.l1_dense import solve_admm, solve_fista, solve_lobcod
from sparsegen_classic.convolutional.operator import ConvDictionary
from sparsegen_classic.convolutional.sparse_maps import SparseMaps

_SOLVERS: dict[str, tuple[Callable[[Lasso, float, int], ConvCode], int]] = {
    "cd": (solve_cd, 200),
    "fista": (solve_fista, 5000),
    "admm": (solve_admm, 5000),
    "lobcod": (solve_lobcod, 2000),
}


class ConvSparseCoder:
    """Convolutional lasso with a certificate.

    Minimises ``1/2 ||mask * (x - D maps)||^2 + lam sum_k weights_k ||maps_k||_1``, optionally with
    ``maps >= 0``, until the duality gap proves that the objective is near the smallest possible one.

    Parameters
    ----------
    dictionary : ConvDictionary
        The filters and their geometry.
    lam : float
        Penalty, greater than 0. At ``lambda_max(x)`` and above all codes are zero.
    solver : {"cd", "fista", "admm", "lobcod"}, default="cd"
        "cd" is coordinate descent on a working set and by far the fastest; its memory is that of a few maps,
        the others keep all maps densely. "admm" needs circular boundary, stride 1 and no mask.
    tol : float, default=1e-4
        Stop as soon as ``duality_gap <= tol * objective``; greater than 0. float32 reaches about 1e-5,
        float64 about 1e-12.
    max_iter : int, default=None
        Largest number of iterations (:class:`ConvCode` says of what). None means 200 for "cd", 2000 for
        "lobcod" and 5000 for the others.
    positive : bool, default=False
        Whether to keep the codes at 0 or above.
    weights : array-like of shape (n_atoms,), default=None
        Positive factors of ``lam`` for the filters; None means ones.
    n_jobs : int, default=None
        Number of threads over the images of a batch, as in joblib. The result does not depend on it.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    V. Papyan, J. Sulam, M. Elad, "Working locally thinking globally", IEEE Trans. Signal Processing 65
    (2017). T. Moreau, A. Gramfort, "Distributed convolutional dictionary learning", IEEE TPAMI 44 (2022),
    for coordinate descent. A. Beck, M. Teboulle, "A fast iterative shrinkage-thresholding algorithm", SIAM J.
    Imaging Sciences 2 (2009). B. Wohlberg, "Efficient algorithms for convolutional sparse representations",
    IEEE Trans. Image Processing 25 (2016). E. Zisselman, J. Sulam, M. Elad, "A local block coordinate
    descent algorithm for the convolutional sparse coding model", CVPR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.convolutional import ConvDictionary, ConvSparseCoder
    >>> rng = np.random.default_rng(0)
    >>> dictionary = ConvDictionary(rng.standard_normal((8, 1, 5, 5)))
    >>> image = rng.standard_normal((32, 32))
    >>> coder = ConvSparseCoder(dictionary, lam=5.0)
    >>> code = coder.encode(image)
    >>> code.converged, bool(code.duality_gap <= 1e-4 * code.objective)
    (True, True)
    >>> code.maps.shape
    (8, 28, 28)
    >>> dictionary.synthesize(code.maps).shape
    (1, 32, 32)
    """

    def __init__(
        self,
        dictionary: ConvDictionary,
        lam: float,
        solver: str = "cd",
        *,
        tol: float = 1e-4,
        max_iter: int | None = None,
        positive: bool = False,
        weights: ArrayLike | None = None,
        n_jobs: int | None = None,
    ):
        if not isinstance(dictionary, ConvDictionary):
            raise TypeError(f"dictionary must be a ConvDictionary, got {type(dictionary).__name__}")
        self.dictionary = dictionary
        self.lam = check_real("lam", lam, 0, closed="()", remedy="a lasso without penalty is least squares")
        self.solver = check_choice("solver", solver, tuple(_SOLVERS))
        self.tol = check_real("tol", tol, 0, closed="()", remedy="the gap never falls to 0 in floating point")
        default = _SOLVERS[solver][1]
        self.max_iter = default if max_iter is None else check_integer("max_iter", max_iter, 1)
        self.positive = bool(positive)
        self.weights = self._check_weights(weights)
        self.n_jobs = n_jobs

    def lambda_max(self, x: ArrayLike, mask: ArrayLike | None = None) -> Any:
        """Return the smallest ``lam`` at which all codes are zero; for a batch one an image."""
        images, masks, batch = self._check(x, mask)
        problems = [self._problem(*one) for one in zip(images, masks, strict=True)]
        values = np.array([strongest_atoms(p, p.image)[0].max() for p in problems], np.float64)
        return values * self.lam if batch else float(values[0] * self.lam)

    def encode(self, x: ArrayLike, mask: ArrayLike | None = None) -> ConvCode:
        """Code an image or a batch of images.

        Parameters
        ----------
        x : array-like of shape (n_channels, *image_shape) or (n_images, n_channels, *image_shape)
            In 2-D: (h, w) is one image of a single channel, (n_channels, h, w) one image, and
            (n_images, n_channels, h, w) a batch. Converted to the dtype of the filters.
        mask : array-like of bool, default=None
            Which pixels are observed, of a shape that broadcasts to that of ``x``; every image needs one at
            least. Values of ``x`` elsewhere are ignored and may be NaN.

        Returns
        -------
        code : ConvCode
            Maps and certificate.

        Raises
        ------
        ValueError
            If shapes do not fit, an observed pixel is not finite or a mask is empty.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` ended the iteration before the gap was small enough.
        """
        images, masks, batch = self._check(x, mask)
        solve = _SOLVERS[self.solver][0]
        codes: list[ConvCode | None] = [None] * len(images)

        def work(block: slice) -> None:
            for i in range(block.start, block.stop):
                codes[i] = solve(self._problem(images[i], masks[i]), self.tol, self.max_iter)

        for_blocks(work, len(images), 1, self.n_jobs)
        done = [code for code in codes if code is not None]
        self._warn(done)
        return _stack(done) if batch else done[0]

    def _problem(self, image: Floats, mask: NDArray[np.bool_] | None) -> Lasso:
        return plain_lasso(self.dictionary, image, mask, self.lam * self.weights, self.positive)

    def _check(
        self, x: ArrayLike, mask: ArrayLike | None
    ) -> tuple[Floats, list[NDArray[np.bool_] | None], bool]:
        """Return a batch of images, their masks, and whether ``x`` was a batch."""
        images, batch = self.dictionary.check_images(x)
        self.dictionary.maps_shape(images.shape[2:])
        masks: list[NDArray[np.bool_] | None] = [None] * len(images)
        observed = np.broadcast_to(True, images.shape)
        if mask is not None:
            observed = _check_mask(mask, images.shape)
            masks = list(observed)
        if not np.isfinite(images[observed]).all():
            raise ValueError(
                "x must be finite where it is observed, but has NaN or infinite pixels; mask them"
            )
        return images, masks, batch

    def _check_weights(self, weights: ArrayLike | None) -> NDArray[np.float64]:
        n_atoms = self.dictionary.n_atoms
        checked = np.ones(n_atoms) if weights is None else np.asarray(weights, np.float64)
        if checked.shape != (n_atoms,):
            raise ValueError(f"weights must be one a filter, shape ({n_atoms},), got shape {checked.shape}")
        if not (np.isfinite(checked).all() and (checked > 0).all()):
            raise ValueError(
                f"weights must be finite and greater than 0, got {weights!r}; without penalty there is no "
                "certificate - subtract a smooth background beforehand instead"
            )
        return checked

    def _warn(self, codes: list[ConvCode]) -> None:
        failed = [code for code in codes if not code.converged]
        if failed:
            worst = max(failed, key=lambda code: code.duality_gap / code.objective)
            warnings.warn(
                f"{len(failed)} of {len(codes)} images did not converge; the worst: {worst.message}. Raise "
                "max_iter or tol, or use float64",
                ConvergenceWarning,
                stacklevel=3,
            )


def _check_mask(mask: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    given = np.asarray(mask)
    if not np.isin(given, (0, 1)).all():
        raise ValueError("mask must be True (observed) or False, or 1 and 0")
    try:
        observed = np.broadcast_to(given.astype(bool), shape)
    except ValueError:
        raise ValueError(f"mask of shape {given.shape} does not broadcast to x of shape {shape}") from None
    if not observed.reshape(shape[0], -1).any(axis=1).all():
        raise ValueError("mask must leave at least one pixel observed in every image")
    return observed


def _stack(codes: list[ConvCode]) -> ConvCode:
    """Return the codes of a batch as one, with an array for every number."""
    size = int(np.prod(codes[0].maps.shape))
    maps = SparseMaps(
        (len(codes), *codes[0].maps.shape),
        np.concatenate([code.maps.indices + i * size for i, code in enumerate(codes)]),
        np.concatenate([code.maps.values for code in codes]),
    )
    names = ("objective", "duality_gap", "n_iter", "converged", "message")
    numbers = {name: np.array([getattr(code, name) for code in codes]) for name in names}
    return ConvCode(maps, history=[code.history for code in codes], **numbers)
