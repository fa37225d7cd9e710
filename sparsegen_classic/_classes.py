"""Which images, labels and draws belong to which model, where there is one for each class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def split_classes(
    per_class: bool, y: ArrayLike | None, n_samples: int
) -> tuple[NDArray[Any] | None, list[NDArray[np.intp]]]:
    """Return the classes, if there is a model for each, and the images of each model."""
    if not per_class:
        return None, [np.arange(n_samples)]
    if y is None:
        raise ValueError("per_class=True needs labels: give y, or set per_class=False")
    labels = np.asarray(y)
    if labels.shape != (n_samples,) or labels.dtype.kind not in "biuU":
        raise ValueError(
            f"y must hold one integer or string label for each of the {n_samples} images, "
            f"got shape {labels.shape} of {labels.dtype}"
        )
    classes, model_of = np.unique(labels, return_inverse=True)
    return classes, [np.flatnonzero(model_of == model) for model in range(len(classes))]


def models_of(
    classes: NDArray[Any] | None, n_samples: int, y: ArrayLike | None, name: str = "y"
) -> NDArray[np.intp]:
    """Return the model of each image with the labels ``y``, a parameter called ``name``."""
    if classes is None:
        return np.zeros(n_samples, np.intp)
    labels = np.asarray(y)
    if labels.shape != (n_samples,) or not np.isin(labels, classes).all():
        names = ", ".join(map(str, classes))
        raise ValueError(
            f"{name} must be one of the classes {names} for each of the {n_samples} images, for this is a "
            f"model per class; got {'None' if y is None else f'shape {labels.shape} of {labels.dtype}'}"
        )
    return np.searchsorted(classes, labels)


def wanted_models(classes: NDArray[Any] | None, class_: Any, n_samples: int) -> NDArray[np.intp]:
    """Return the model of each image of the class, or the classes, asked for."""
    if classes is None:
        raise ValueError(
            f"class_={class_!r} needs a model per class; this one was fitted with per_class=False"
        )
    wanted = np.asarray(class_)
    if wanted.shape not in ((), (n_samples,)):
        raise ValueError(
            f"class_ must be one label or one for each of the {n_samples} images, got shape {wanted.shape}"
        )
    names = {str(label): model for model, label in enumerate(classes)}
    unknown = sorted({str(label) for label in wanted.ravel()} - set(names))
    if unknown:
        raise ValueError(f"class_ must be one of the classes {', '.join(names)}, got {', '.join(unknown)}")
    return np.array([names[str(label)] for label in np.broadcast_to(wanted, n_samples)])


def choose_models(
    classes: NDArray[Any] | None,
    prior: NDArray[np.float64],
    class_: Any,
    generators: list[np.random.Generator],
) -> NDArray[np.intp]:
    """Return the model of each image; without ``class_`` drawn by each image's own generator."""
    if class_ is not None:
        return wanted_models(classes, class_, len(generators))
    if classes is None:
        return np.zeros(len(generators), np.intp)
    edges = np.cumsum(prior)[:-1]
    return np.array([np.searchsorted(edges, g.random(), side="right") for g in generators])
