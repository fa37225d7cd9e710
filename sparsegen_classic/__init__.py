"""Classical sparse-coding image generation: learn a dictionary, model the codes, draw new images.

::

    source (folder | idx | npz | "digits")
      -> images (n, h, w[, c]) in [0, 1], float32          images/        open_images, save_images
      -> rows X (n_samples, n_features), mean policy       generator.py
      -> components_ (n_components, n_features)            dictionary/    KSVD
      -> codes (n_samples, n_components), signed CSR       pursuit/       orthogonal_mp
      -> probability of the support                        support/       MarkovSupports, GibbsSampler
      -> probability of the coefficients, given it         coefficients/  GaussianCoefficients
      -> new images                                        generator.py   SparseImageGenerator.sample

Rows are samples and rows of ``components_`` are atoms: ``X ~ codes @ components_``. The codes of the models
live on the doubled dictionary [D, -D]: an atom and its negative are two *states*, ``m`` and
``n_components + m``, each with a positive coefficient; a *support* is a set of states.

Everything is reproducible: the same seed gives the same bits, whatever ``n_jobs``. Names are imported when
they are first used, so that ``import sparsegen_classic`` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sparsegen_classic._version import __version__

if TYPE_CHECKING:
    from sparsegen_classic.coefficients import GaussianCoefficients, MissingDataGaussian
    from sparsegen_classic.dictionary import KSVD
    from sparsegen_classic.generator import Draws, SparseImageGenerator
    from sparsegen_classic.images import ImageSet, image_grid, open_images, save_images
    from sparsegen_classic.metrics import nearest_images
    from sparsegen_classic.model_io import ModelFileError, load_model, save_model
    from sparsegen_classic.pursuit import orthogonal_mp
    from sparsegen_classic.support import GibbsSampler, MarkovSupports

_HOME = {
    "coefficients": ("GaussianCoefficients", "MissingDataGaussian"),
    "dictionary": ("KSVD",),
    "generator": ("Draws", "SparseImageGenerator"),
    "images": ("ImageSet", "image_grid", "open_images", "save_images"),
    "metrics": ("nearest_images",),
    "model_io": ("ModelFileError", "load_model", "save_model"),
    "pursuit": ("orthogonal_mp",),
    "support": ("GibbsSampler", "MarkovSupports"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "KSVD",
    "Draws",
    "GaussianCoefficients",
    "GibbsSampler",
    "ImageSet",
    "MarkovSupports",
    "MissingDataGaussian",
    "ModelFileError",
    "SparseImageGenerator",
    "__version__",
    "image_grid",
    "load_model",
    "nearest_images",
    "open_images",
    "orthogonal_mp",
    "save_images",
    "save_model",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
