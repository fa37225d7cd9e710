"""Classical sparse coding: learn dictionaries, model codes, draw new images, certify convolutional codes.

The vector path::

    source (folder | idx | npz | "digits")
      -> images (n, h, w[, c]) in [0, 1], float32          images/        open_images, store_images
      -> rows X (n_samples, n_features), mean policy       generator/, images/patches.py
      -> components_ (n_components, n_features)            dictionary/    KSVD, Trainlets
      -> codes (n_samples, n_components), signed CSR       pursuit/       orthogonal_mp, SparseCoder
      -> probability of the support                        support/       MarkovSupports, GibbsSampler
      -> probability of the coefficients, given it         coefficients/  GaussianCoefficients
      -> or of both, given a coarse view of the image      sketches/      SketchedCodes
      -> new images                                        generator/     SparseImageGenerator.sample
      -> measured beside real ones, copies and baselines   metrics/, baselines/, evaluation.py, selection.py
      -> or restored ones                                  restoration/   denoise, inpaint

The convolutional path::

    filters (n_atoms, n_channels, h, w)                  convolutional/ ConvDictionary(Learning)
      -> maps (n_atoms, H, W) with a duality gap         ConvSparseCoder, csc_omp, csc_mp, csc_iht
      -> counts and projections                          sparsity_counts, project_*, soft_threshold
      -> several layers                                  MultiLayerCSC
      -> a neural layer or encoder held against it       crosscheck/    crosscheck_layer, crosscheck_encoder

Rows are samples and rows of ``components_`` are atoms: ``X ~ codes @ components_``. The codes of the models
live on the doubled dictionary [D, -D]: an atom and its negative are two *states*, ``m`` and
``n_components + m``, each with a positive coefficient; a *support* is a set of states. Filters and maps
follow PyTorch's layout; synthesis is its transposed convolution, analysis its convolution.

Everything is reproducible: the same seed gives the same bits, whatever ``n_jobs``, wherever the images lie
and after any interruption. Names are imported when they are first used, so that ``import sparsegen_classic``
is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sparsegen_classic._version import __version__

if TYPE_CHECKING:
    from sparsegen_classic._checkpoint import CheckpointError
    from sparsegen_classic.baselines import (
        PPCA,
        GroupedGaussians,
        IndependentPixels,
        MixtureOfFactorAnalysers,
        ProjectedDensity,
        TrainingCopies,
    )
    from sparsegen_classic.coefficients import (
        GaussianCoefficients,
        MissingDataGaussian,
        sample_truncated_normal,
    )
    from sparsegen_classic.convolutional import (
        ConvDictionary,
        ConvDictionaryLearning,
        ConvSparseCoder,
        MultiLayerCSC,
        SparseMaps,
        csc_iht,
        csc_mp,
        csc_omp,
        project_l0,
        project_l1,
        project_needle,
        project_stripe,
        project_topk,
        soft_threshold,
        sparsity_counts,
    )
    from sparsegen_classic.crosscheck import (
        EncoderReport,
        LayerReport,
        assert_layer_matches,
        crosscheck_encoder,
        crosscheck_layer,
    )
    from sparsegen_classic.dictionary import KSVD, Trainlets, cropped_wavelets, dct_atoms
    from sparsegen_classic.evaluation import evaluate_generator
    from sparsegen_classic.generator import Draws, MemoryPlan, SparseImageGenerator, plan_memory
    from sparsegen_classic.images import (
        ImageSet,
        ImageStore,
        PatchGrid,
        assemble_patches,
        extract_patches,
        image_grid,
        open_images,
        save_images,
        store_images,
    )
    from sparsegen_classic.metrics import (
        DigitNetwork,
        copy_test,
        evaluate,
        frechet_distance,
        mmd,
        ndb,
        nearest_images,
        precision_recall,
        sliced_wasserstein,
    )
    from sparsegen_classic.model_io import ModelFileError, load_model, save_model
    from sparsegen_classic.pursuit import (
        SparseCoder,
        boltzmann_pursuit,
        fit_boltzmann,
        iterative_hard_thresholding,
        orthogonal_mp,
        subspace_pursuit,
        thresholding,
    )
    from sparsegen_classic.reports import Report, evaluation_report
    from sparsegen_classic.restoration import denoise, estimate_sigma, inpaint
    from sparsegen_classic.selection import Selection, select_settings
    from sparsegen_classic.sketches import SketchedCodes
    from sparsegen_classic.support import (
        GibbsSampler,
        MarkovSupports,
        PairwiseSupports,
        effective_sample_size,
        enumerate_supports,
        fit_contrastive_divergence,
        fit_pseudo_likelihood,
        from_pgmpy,
        log_partition,
        pseudo_likelihood,
        split_rhat,
        to_pgmpy,
    )

_HOME = {
    "_checkpoint": ("CheckpointError",),
    "baselines": (
        "GroupedGaussians",
        "IndependentPixels",
        "MixtureOfFactorAnalysers",
        "PPCA",
        "ProjectedDensity",
        "TrainingCopies",
    ),
    "coefficients": ("GaussianCoefficients", "MissingDataGaussian", "sample_truncated_normal"),
    "convolutional": (
        "ConvDictionary",
        "ConvDictionaryLearning",
        "ConvSparseCoder",
        "MultiLayerCSC",
        "SparseMaps",
        "csc_iht",
        "csc_mp",
        "csc_omp",
        "project_l0",
        "project_l1",
        "project_needle",
        "project_stripe",
        "project_topk",
        "soft_threshold",
        "sparsity_counts",
    ),
    "crosscheck": (
        "EncoderReport",
        "LayerReport",
        "assert_layer_matches",
        "crosscheck_encoder",
        "crosscheck_layer",
    ),
    "dictionary": ("KSVD", "Trainlets", "cropped_wavelets", "dct_atoms"),
    "evaluation": ("evaluate_generator",),
    "generator": ("Draws", "MemoryPlan", "SparseImageGenerator", "plan_memory"),
    "images": (
        "ImageSet",
        "ImageStore",
        "PatchGrid",
        "assemble_patches",
        "extract_patches",
        "image_grid",
        "open_images",
        "save_images",
        "store_images",
    ),
    "metrics": (
        "DigitNetwork",
        "copy_test",
        "evaluate",
        "frechet_distance",
        "mmd",
        "ndb",
        "nearest_images",
        "precision_recall",
        "sliced_wasserstein",
    ),
    "model_io": ("ModelFileError", "load_model", "save_model"),
    "pursuit": (
        "SparseCoder",
        "boltzmann_pursuit",
        "fit_boltzmann",
        "iterative_hard_thresholding",
        "orthogonal_mp",
        "subspace_pursuit",
        "thresholding",
    ),
    "reports": ("Report", "evaluation_report"),
    "selection": ("Selection", "select_settings"),
    "restoration": ("denoise", "estimate_sigma", "inpaint"),
    "sketches": ("SketchedCodes",),
    "support": (
        "GibbsSampler",
        "MarkovSupports",
        "PairwiseSupports",
        "effective_sample_size",
        "enumerate_supports",
        "fit_contrastive_divergence",
        "fit_pseudo_likelihood",
        "from_pgmpy",
        "log_partition",
        "pseudo_likelihood",
        "split_rhat",
        "to_pgmpy",
    ),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
