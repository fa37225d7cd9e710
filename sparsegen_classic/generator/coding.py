"""Images into codes and back, each by the model of its class."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm import tqdm

from sparsegen_classic._classes import models_of
from sparsegen_classic.images import apply_tone

_BLOCK = 1024  # images that are coded, or whose supports are drawn, at a time


class ImageCodes:
    """What a generator does with images and codes that are given."""

    classes_: NDArray[Any] | None
    dictionaries_: list[Any]
    means_: NDArray[np.float32]
    tone_curves_: NDArray[np.float64] | None
    draw_curves_: NDArray[np.float64] | None
    draw_contrasts_: NDArray[np.float64] | None
    image_shape_: NDArray[np.intp]
    pixel_range_: NDArray[np.float64]
    n_features_in_: int
    n_jobs: int | None
    verbose: int

    def encode(self, X: ArrayLike, y: ArrayLike | None = None) -> sparse.csr_array:
        """Code images over the dictionary (of their class).

        Parameters
        ----------
        X : array-like of shape (n_samples, h, w[, c]) or (n_samples, n_features)
            Images like those of training.
        y : array-like of shape (n_samples,), default=None
            Their classes, for a model per class.

        Returns
        -------
        codes : csr_array of shape (n_samples, n_components)
            Signed codes; each row refers to the dictionary of its class.
        """
        check_is_fitted(self)
        rows: Any = np.asarray(X)
        rows = rows.reshape(len(rows), int(np.prod(rows.shape[1:])))
        rows = validate_data(self, rows, dtype=(np.float32, np.float64), reset=False)
        model_of = models_of(self.classes_, len(rows), y)

        def code(model: int, here: NDArray[np.intp]) -> sparse.csr_array:
            dictionary = self._with_own_jobs(self.dictionaries_[model])
            return sparse.csr_array(
                dictionary.transform((rows[here] - self.means_[model]).astype(rows.dtype))
            )

        return self._per_model(model_of, code, "codes")

    def reconstruct(
        self, X: ArrayLike, y: ArrayLike | None = None, *, clip: bool = True
    ) -> NDArray[np.float32]:
        """Code images and put them together again: what the dictionary alone allows.

        Parameters ``X`` and ``y`` as in :meth:`encode`, ``clip`` and result as in :meth:`sample`.
        """
        return self.decode(self.encode(X, y), y, clip=clip)

    def decode(
        self,
        codes: sparse.csr_array,
        y: ArrayLike | None = None,
        *,
        clip: bool = True,
        drawn: bool = False,
    ) -> NDArray[np.float32]:
        """Turn codes of :meth:`encode` with its ``y`` into images; ``clip`` as in :meth:`sample`.

        ``drawn`` says that the codes are those of :meth:`draw`, which have a tone curve and contrast of their
        own where there are sketches.
        """
        check_is_fitted(self)
        return self._synthesize(codes, models_of(self.classes_, codes.shape[0], y), clip, drawn)

    def _per_model(
        self,
        model_of: NDArray[np.intp],
        make: Callable[[int, NDArray[np.intp]], sparse.csr_array],
        what: str,
        size: int = _BLOCK,
    ) -> sparse.csr_array:
        """Make the codes of the rows of each model block by block, and put them back in order."""
        rows, made = [], []
        with self._progress(len(model_of), what, "image") as bar:
            for model in np.unique(model_of):
                here = np.flatnonzero(model_of == model)
                for start in range(0, len(here), size):
                    block = here[start : start + size]
                    rows.append(block)
                    made.append(make(int(model), block))
                    bar.update(len(block))
        return sparse.vstack(made, format="csr")[np.argsort(np.concatenate(rows))]

    def _synthesize(
        self,
        codes: sparse.csr_array,
        model_of: NDArray[np.intp],
        clip: bool,
        drawn: bool = False,
    ) -> NDArray[np.float32]:
        """Multiply the codes by their dictionaries, add the means and bring to the range of the pixels."""
        images = np.empty((len(model_of), self.n_features_in_), np.float32)
        curves, contrasts = self.tone_curves_, None
        if drawn and self.draw_curves_ is not None:
            curves, contrasts = self.draw_curves_, self.draw_contrasts_
        for model in np.unique(model_of):
            here = np.flatnonzero(model_of == model)
            sums = codes[here] @ self.dictionaries_[model].components_
            if clip and contrasts is not None:
                sums *= contrasts[model]
            images[here] = sums + self.means_[model]
            if clip and curves is not None:
                images[here] = apply_tone(images[here], curves[model])
        if clip:
            np.clip(images, *self.pixel_range_, out=images)
        return images.reshape(len(images), *self.image_shape_)

    def _with_own_jobs(self, part: Any) -> Any:
        """Return a fitted part with the ``n_jobs`` that the generator has now."""
        if "n_jobs" not in part.get_params(deep=False):
            return part
        return copy.copy(part).set_params(n_jobs=self.n_jobs)

    def _progress(self, total: int, verb: str, unit: str) -> tqdm:
        return tqdm(total=total, desc=verb, unit=unit, disable=None if self.verbose and total > 1 else True)
