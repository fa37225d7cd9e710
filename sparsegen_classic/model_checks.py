"""Whether the parts of a model fit each other: what is asked of every model file, and of what is saved.

A file may be well-formed and yet hold atoms of one size and supports of another, which would crash, or worse,
when images are drawn. Unfitted models are not checked: ``fit`` does that.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator

from sparsegen_classic._archive import check_compressed
from sparsegen_classic._validation import check_choice, check_integer, check_real
from sparsegen_classic.coefficients import GaussianCoefficients, MissingDataGaussian
from sparsegen_classic.convolutional import ConvDictionaryLearning
from sparsegen_classic.dictionary import KSVD, Trainlets
from sparsegen_classic.generator import SparseImageGenerator
from sparsegen_classic.images.patches import MEANS
from sparsegen_classic.pursuit import SparseCoder
from sparsegen_classic.pursuit.coder import PURSUITS
from sparsegen_classic.pursuit.omp import check_components, check_sparsity
from sparsegen_classic.sketches import SketchedCodes
from sparsegen_classic.support import MarkovSupports
from sparsegen_classic.support.estimation import check_group_pairs

_LARGEST = 1e100  # of any number: its square is one
_NOT_FITTED = {"_sklearn_output_config"}  # of set_output
_BLOCK = 4096  # supports that are looked at at a time
_LONGEST_SIDE = 4096  # of an image whose wavelets are made when its atoms are read


def check_model(model: BaseEstimator) -> None:
    """Raise a TypeError or ValueError that says which part of a fitted model is wrong, and how."""
    name = type(model).__name__
    if "n_jobs" in model.get_params(deep=False) and model.n_jobs is not None:
        check_integer(f"{name}.n_jobs", model.n_jobs, -(2**16), 2**16)
        check_choice(f"{name}.n_jobs == 0", model.n_jobs == 0, (False,))
    if isinstance(model, SparseImageGenerator):
        *parts, sketches = model._parts()
        for part in (*parts, None if sketches == "none" else sketches):
            if part is not None:
                _only(isinstance(part, BaseEstimator), f"{name}: its parts must be estimators, got {part!r}")
                check_model(part)
    for parameter, value in model.get_params(deep=False).items():
        if isinstance(value, int) and parameter != "random_state":
            check_integer(f"{name}.{parameter}", int(value), -(2**31), 2**31)  # what compiled code takes
    attribute, check = CHECKS[name]
    if not hasattr(model, attribute):
        rest = vars(model).keys() - model.get_params(deep=False).keys() - _NOT_FITTED
        _only(not rest, f"{name} has {', '.join(sorted(rest))} but no {attribute}; fit it to the end")
        return
    try:
        check(model)
    except (TypeError, ValueError, AttributeError) as error:
        raise type(error)(f"{name}: {error}") from error


def _check_ksvd(model: KSVD) -> None:
    atoms = _check_atoms(model)
    check_components(atoms, atoms.dtype)
    for flag in ("positive", "positive_atoms", "dc_atom"):
        _check_flag(flag, getattr(model, flag))
    model._check_parameters()
    if model.tol is not None:
        tol = np.asarray(model.tol)
        _only(tol.dtype.kind in "fiu" and tol.ndim < 2 and (tol >= 0).all(), f"tol must be at least 0: {tol}")
    for count in ("n_iter_", "n_seen_", "n_replaced_"):
        if hasattr(model, count):
            check_integer(count, getattr(model, count), 0)
    if hasattr(model, "patch_shape_"):
        sides = [check_integer("patch_shape_", side, 1) for side in model.patch_shape_]
        _only(
            len(sides) in (2, 3) and np.prod(sides) == atoms.shape[1] and sides[2:] in ([], [3]),
            f"patch_shape_ {sides} is not that of atoms of {atoms.shape[1]} values",
        )
        check_choice("patch_mean_", model.patch_mean_, MEANS)
    if hasattr(model, "_stream"):
        check_integer("n_seen_", model.n_seen_, 0)
        _check_stream(model._stream, len(atoms), atoms.shape[1])
        if getattr(model, "_pending_weights", None) is not None:
            weights, counts = model._pending_weights
            pending = model._stream[5]
            if weights is not None:
                _array("_pending_weights", weights, pending.shape, low=0)
            _array("_pending_weights", counts, pending.shape[:1], low=0)


def _check_stream(stream: Any, n_components: int, n_features: int) -> None:
    atoms, gram, cross, uses, n_batches, pending, seed = stream
    n = len(_array("_stream", atoms, (None, n_features)))
    _only(n in (0, n_components), f"_stream must have {n_components} atoms, got {n}")
    _array("_stream", gram, (n, n))
    _array("_stream", cross, (n, n_features))
    _array("_stream", uses, (n,), low=0)
    _array("_stream", pending, (None, n_features))
    _only(all(part.dtype == np.float64 for part in (atoms, gram, cross, uses)), "_stream must be float64")
    check_integer("_stream", n_batches, 0)
    check_integer("_stream", seed, 0)


def _check_trainlets(model: Trainlets) -> None:
    atoms = _check_atoms(model)
    model._check_parameters()
    if model.image_shape is not None:
        for side in model.image_shape:
            check_integer("image_shape", side, 1, _LONGEST_SIDE)
    n = len(atoms)
    values = _array("atom_values_", model.atom_values_, (n, None))
    _only(values.dtype == atoms.dtype, f"atom_values_ must be {atoms.dtype}, got {values.dtype}")
    n_functions = model._atoms(atoms.dtype).base.n_functions
    positions = _array("atom_positions_", model.atom_positions_, values.shape, "i", 0, n_functions - 1)
    _only((np.diff(positions, axis=1) > 0).all(), "atom_positions_ must ascend")
    _array("errors_", model.errors_, (None,))
    for count in ("n_iter_", "n_replaced_", "_n_since_cleaning"):
        check_integer(count, getattr(model, count), 0)
    _array("_scale", model._scale, (n,))
    _array("_uses", model._uses, (n,), "i", 0)
    if model._velocity is not None:
        _array("_velocity", model._velocity, (n, n_functions))


def _check_coder(model: SparseCoder) -> None:
    atoms = _check_atoms(model)
    check_components(atoms, atoms.dtype)
    check_choice("algorithm", model.algorithm, tuple(PURSUITS))
    _only(model.options is None, f"options must be None in a model file, got {model.options!r}")


def _check_atoms(model: Any) -> NDArray[np.floating]:
    """Return the atoms of a dictionary of rows, one of them at least."""
    n_features = check_integer("n_features_in_", model.n_features_in_, 1)
    atoms = _array("components_", model.components_, (None, n_features))
    _only(len(atoms) > 0, "components_ must hold an atom")
    check_sparsity(model.n_nonzero_coefs, getattr(model, "tol", None), atoms.shape)
    return atoms


def _check_filters(model: ConvDictionaryLearning) -> None:
    model._check_parameters()
    filters = _array("filters_", model.filters_, (model.n_atoms, None, *model._size()))
    _only(bool(model.dictionary_), "filters_ must be filters")  # the operator checks them
    check_real("lam_", model.lam_, 0, closed="()")
    _check_flag("positive", model.positive)
    _array("objectives_", model.objectives_, (None,))
    for count in ("n_iter_", "n_replaced_", "_n_batches"):
        check_integer(count, getattr(model, count), 0)
    n, _, height, width = filters.shape
    _array("_uses", model._uses, (n,), "i", 0)
    if model._gram is not None:
        _array("_gram", model._gram, (n, n, 2 * height - 1, 2 * width - 1))
        _array("_cross", model._cross, filters.shape)


def _check_supports(model: MarkovSupports) -> None:
    n_components = check_integer("n_features_in_", model.n_features_in_, 1)
    check_integer("burn_in", model.burn_in, 0, 2**31)
    states = _array("states_", model.states_, (None,), "i", 0, 2 * n_components - 1)
    n = len(states)
    _only(n > 0 and (np.diff(states) > 0).all(), "states_ must ascend, and there must be one")
    _array("counts_", model.counts_, (n,), "i", 0)
    _array("pair_counts_", model.pair_counts_, (n, n), "i", 0)
    _array("log_factors_", model.log_factors_, (n,))
    table = _array("log_pair_factors_", model.log_pair_factors_, (n, n), low=-inf)
    atom = states % n_components
    _only(
        bool((table[atom[:, None] == atom] == -inf).all()), "log_pair_factors_ must let an atom be used once"
    )
    supports = _array("supports_", model.supports_, (None, None), "i", -1, n - 1)
    sizes = np.count_nonzero(supports >= 0, axis=1)
    _only(
        len(supports) > 0 and supports.shape[1] == sizes.max() and _holds_by_blocks(_are_rows, supports),
        "supports_ must be rows of ascending indices, padded with -1 on the right",
    )
    _only(_holds_by_blocks(_use_atoms_once, supports, atom), "supports_ must use an atom once")
    _only(np.array_equal(model.size_counts_, np.bincount(sizes)), "size_counts_ must be those of supports_")
    if hasattr(model, "group_shares_"):
        shares = _array("group_shares_", model.group_shares_, (None,), low=0, high=1)
        _only(len(shares) > 0, "group_shares_ must hold a group")
        _array("log_group_factors_", model.log_group_factors_, (len(shares), n))
        _array("groups_", model.groups_, (len(supports),), "i", 0, len(shares) - 1)
        check_group_pairs(model)


def _holds_by_blocks(rule: Callable[..., bool], rows: NDArray[Any], *given: Any) -> bool:
    """Return whether a rule holds for all rows: of a large model they are not copied at once."""
    return all(rule(rows[start : start + _BLOCK], *given) for start in range(0, len(rows), _BLOCK))


def _are_rows(supports: NDArray[np.integer]) -> bool:
    used = supports >= 0
    ascend = np.diff(supports, axis=1)[used[:, 1:]] > 0
    return bool(ascend.all() and (used[:, 1:] <= used[:, :-1]).all())


def _use_atoms_once(supports: NDArray[np.integer], atom: NDArray[np.integer]) -> bool:
    none = -1 - np.arange(supports.shape[1])
    atoms = np.sort(np.where(supports >= 0, atom[supports], none), axis=1)
    return bool((np.diff(atoms, axis=1) != 0).all())


def _check_coefficients(model: GaussianCoefficients) -> None:
    model._check_parameters()
    n_states = 2 * check_integer("n_features_in_", model.n_features_in_, 1)
    codes = model.magnitudes_
    _only(isinstance(codes, sparse.csc_array) and codes.shape[1] == n_states, "magnitudes_ must have states")
    check_compressed(codes.data, codes.indices, codes.indptr, (n_states, codes.shape[0]))
    _array("magnitudes_", codes.data, codes.data.shape)
    _only(bool((codes.data > 0).all()), "magnitudes_.data must be greater than 0")
    _array("sample_weight_", model.sample_weight_, codes.shape[:1], low=0)
    if model.groups_ is not None:
        _array("groups_", model.groups_, codes.shape[:1], "i")
    counts = (model.sample_weight_ > 0).astype(codes.dtype)
    unseen = codes.T @ counts == 0  # a sum of positive numbers, and without copies of the codes
    _check_state_moments(model, n_states, unseen)


def _check_state_moments(model: Any, n_states: int, unseen: NDArray[np.bool_] | None = None) -> None:
    """Check mean and variance of states, NaN where they are ``unseen``; None is wherever the mean is."""
    for moment, low in (("state_means_", -_LARGEST), ("state_variances_", 0)):
        values = getattr(model, moment)
        _only(isinstance(values, np.ndarray) and values.shape == (n_states,), f"{moment} must have states")
        _array(moment, values[~np.isnan(values)], (None,), low=low)
        unseen = np.isnan(values) if unseen is None else unseen
        _only(np.array_equal(np.isnan(values), unseen), f"{moment} must be NaN where no code has the state")
    same = model.state_means_.dtype == model.state_variances_.dtype
    _only(same, "state_means_ and state_variances_ must have the same dtype")


def _check_sketches(model: SketchedCodes) -> None:
    model._check_parameters()
    n_atoms = check_integer("n_features_in_", model.n_features_in_, 1)
    width = _array("atoms_", model.atoms_, (n_atoms, None)).shape[1]
    positions = _array("positions_", model.positions_, (None, width))
    n_groups = len(_array("means_", model.means_, (None, width)))
    groups = _array("groups_", model.groups_, (len(positions),), "i", 0, n_groups - 1)
    _only(width > 0 and len(groups) > 0, "positions_ must hold a sketch")
    _only(groups.max() == n_groups - 1, "means_ must be those of the groups in groups_, and no others")
    _array("spread_", model.spread_, (width, width))
    _check_state_moments(model, 2 * n_atoms)
    _only(not (model.state_variances_ == 0).any(), "state_variances_ must be above 0")
    check_real("noise_variance_", model.noise_variance_, 0, _LARGEST, closed="(]")


def _check_missing_data(model: MissingDataGaussian) -> None:
    n = check_integer("n_features_in_", model.n_features_in_, 1)
    _array("mean_", model.mean_, (n,))
    covariance = _array("covariance_", model.covariance_, (n, n))
    try:
        np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as error:
        raise ValueError("covariance_ must be positive definite") from error
    _array("pair_counts_", model.pair_counts_, (n, n), "i", 0)


def _check_generator(model: SparseImageGenerator) -> None:
    n_features = check_integer("n_features_in_", model.n_features_in_, 1)
    image_shape = _array("image_shape_", model.image_shape_, (None,), "i", 1)
    _only(np.prod(image_shape.astype(float)) == n_features, f"image_shape_ must have {n_features} values")
    pixels = _array("pixel_range_", model.pixel_range_, (2,))
    _only(bool(pixels[0] <= pixels[1]), "pixel_range_ must not fall")
    n_models = 1 if model.classes_ is None else len(model.classes_)
    if model.classes_ is not None:
        _only(
            isinstance(model.classes_, np.ndarray)
            and model.classes_.dtype.kind in "biuU"
            and np.unique(model.classes_).shape == (n_models,)
            and n_models > 0,
            "classes_ must be different labels",
        )
    shares = _array("class_prior_", model.class_prior_, (n_models,), low=0, high=1)
    _only(abs(shares.sum() - 1) < 1e-6, "class_prior_ must sum to 1")
    _array("means_", model.means_, (n_models, n_features))
    for name in ("tone_curves_", "draw_curves_"):
        if getattr(model, name, None) is not None:
            curves = _array(name, getattr(model, name), (n_models, 2, None))
            _only(curves.size > 0 and (np.diff(curves) >= 0).all(), f"{name} must not fall")
    contrasts = getattr(model, "draw_contrasts_", None)
    _only(
        (contrasts is None) == (getattr(model, "draw_curves_", None) is None),
        "draw_contrasts_ must come with draw_curves_",
    )
    if contrasts is not None:
        _array("draw_contrasts_", contrasts, (n_models,), low=0)
    lists = [model.dictionaries_, model.supports_, model.coefficients_]
    if getattr(model, "sketches_", None) is not None:
        lists.append(model.sketches_)  # type: ignore[arg-type]
    _only(
        all(isinstance(parts, list) and len(parts) == n_models for parts in lists),
        f"dictionaries_, supports_, coefficients_ and sketches_ must have {n_models} parts each",
    )
    for parts in zip(*lists, strict=True):
        _check_parts(n_features, *parts)


def _check_parts(n_features: int, dictionary: Any, supports: Any, coefficients: Any, *sketches: Any) -> None:
    """Check the parts of a class, and that one starts where the other ends."""
    for wanted, part in zip(_PARTS, (dictionary, supports, coefficients, *sketches), strict=False):
        _only(type(part).__name__ in wanted, f"{type(part).__name__} must be one of {', '.join(wanted)}")
        _only(hasattr(part, CHECKS[type(part).__name__][0]), f"{type(part).__name__} must be fitted")
        check_model(part)
    n_components, width = dictionary.components_.shape
    _only(width == n_features, f"components_ must have {n_features} values, got {width}")
    _only(
        n_components == supports.n_features_in_ == coefficients.n_features_in_,
        f"{n_components} atoms, supports of {supports.n_features_in_} and coefficients of "
        f"{coefficients.n_features_in_} do not fit each other",
    )
    _only(
        bool(np.isfinite(coefficients.state_means_[supports.states_]).all()),
        "supports_ have a state for which coefficients_ have no code",
    )
    for part in sketches:
        part._check_network(supports)
        members = np.bincount(part.groups_, minlength=len(supports.group_shares_)) > 0
        starts = np.bincount(supports.groups_, minlength=len(supports.group_shares_)) > 0
        _only(
            (members & starts)[supports.group_shares_ > 0].all(),
            "every group that is drawn must have sketches and supports",
        )


def _array(
    name: str,
    value: Any,
    shape: tuple[int | None, ...],
    kind: str = "f",
    low: float = -_LARGEST,
    high: float = _LARGEST,
) -> NDArray[Any]:
    """Return ``value`` if it is an array of 4 or 8 byte numbers of that shape (None = any) and range."""
    sides = " x ".join("any" if side is None else str(side) for side in shape)
    _only(
        isinstance(value, np.ndarray)
        and value.dtype.kind == kind
        and value.dtype.itemsize in (4, 8)
        and value.dtype.isnative
        and value.ndim == len(shape)
        and all(side in (None, found) for side, found in zip(shape, value.shape, strict=True)),
        f"{name} must be {'floats' if kind == 'f' else 'integers'} of shape {sides}, got "
        f"{getattr(value, 'dtype', type(value).__name__)} of shape {np.shape(value)}",
    )
    if value.size:
        lowest, highest = value.min().item(), value.max().item()
        _only(
            lowest >= low and highest <= high,  # false for NaN as well
            f"{name} must lie in [{low:g}, {high:g}], got {lowest:g} to {highest:g}",
        )
    return value


def _check_flag(name: str, value: Any) -> None:
    _only(isinstance(value, int | float) and value in (0, 1), f"{name} must be True or False, got {value!r}")


def _only(holds: Any, rule: str) -> None:
    if not holds:
        raise ValueError(rule)


_PARTS = (
    ("KSVD", "Trainlets", "SparseCoder"), ("MarkovSupports",), ("GaussianCoefficients",), ("SketchedCodes",),
)  # fmt: skip
CHECKS: dict[str, tuple[str, Callable[[Any], None]]] = {  # of each class, once it has the attribute
    "KSVD": ("components_", _check_ksvd),
    "Trainlets": ("components_", _check_trainlets),
    "SparseCoder": ("components_", _check_coder),
    "ConvDictionaryLearning": ("filters_", _check_filters),
    "MarkovSupports": ("supports_", _check_supports),
    "GaussianCoefficients": ("magnitudes_", _check_coefficients),
    "SketchedCodes": ("positions_", _check_sketches),
    "MissingDataGaussian": ("covariance_", _check_missing_data),
    "SparseImageGenerator": ("dictionaries_", _check_generator),
}
