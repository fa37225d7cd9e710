"""Batch orthogonal matching pursuit on correlations and the Gram matrix (Rubinstein, Zibulevsky, Elad 2008).

The Cholesky factor is carried in a form that leaves no triangular solve inside the loop. For every chosen
atom the Gram row, orthonormalised against the earlier ones, is kept: V = L^-1 G[I]. Column j of V is then
the new Cholesky row of atom j, and the correlations of the residual lose z_t V_t with z = L^-1 alpha0[I].
One back substitution at the end turns z into coefficients.

Nearly all time goes into V_t = (G_j - sum_p L[t, p] V_p) / L[t, t]. It is computed tile by tile: a tile of
atoms is held in vector registers while the rows before it stream by, which LLVM does not do for loops by
itself. V is therefore stored tile by tile, (tile, row, lane).
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, models, register_model

_FAST = {"reassoc", "contract", "nsz"}  # sums may be vectorised; NaN and infinity keep their meaning
_MOST_RIVALS = 16  # more atoms within the error than that: float64 from the start is cheaper
_TILE_BYTES = 256  # four registers of AVX-512, eight of AVX2; LLVM cuts it to what there is


class Tile(types.Type):
    """As many consecutive numbers as make up ``_TILE_BYTES``: one LLVM vector."""

    def __init__(self, dtype: Any) -> None:
        super().__init__(f"Tile({dtype})")
        self.dtype, self.lanes = dtype, 8 * _TILE_BYTES // dtype.bitwidth


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, tile: Tile) -> None:
        number = manager[tile.dtype].get_value_type()
        super().__init__(manager, tile, ir.VectorType(number, tile.lanes))


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    first = builder.gep(context.make_array(array_type)(context, builder, array).data, [index])
    return builder.bitcast(first, context.get_value_type(Tile(array_type.dtype)).as_pointer())


@intrinsic
def _load(typing: Any, array: Any, index: Any) -> Any:
    """Return the tile that begins at the flat index of a contiguous array; nothing checks that it fits."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load(_pointer(context, builder, array, *given), align=array.dtype.bitwidth // 8)

    return Tile(array.dtype)(array, types.intp), generate


@intrinsic
def _store(typing: Any, array: Any, index: Any, tile: Any) -> Any:
    """Write a tile from the flat index of a contiguous array on."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        builder.store(given[2], _pointer(context, builder, array, *given[:2]), array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, tile), generate


def _everywhere(builder: Any, vector: Any, number: Any) -> Any:
    nothing, index = ir.Constant(vector, ir.Undefined), ir.IntType(32)
    first = builder.insert_element(nothing, number, index(0))
    return builder.shuffle_vector(
        first, nothing, ir.Constant(ir.VectorType(index, vector.count), [0] * vector.count)
    )


@intrinsic
def _subtract(typing: Any, tile: Any, factor: Any, other: Any) -> Any:
    """Return ``tile - factor * other``."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        factors = _everywhere(builder, given[0].type, given[1])
        product = builder.fmul(factors, given[2], flags=["contract"])
        return builder.fsub(given[0], product, flags=["contract"])

    return tile(tile, tile.dtype, other), generate


@intrinsic
def _scale(typing: Any, tile: Any, factor: Any) -> Any:
    """Return ``factor * tile``."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.fmul(_everywhere(builder, given[0].type, given[1]), given[0])

    return tile(tile, tile.dtype), generate


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _argmax_abs(bits, magnitude):
    """First index of the largest magnitude, as integer reductions over bit patterns, which vectorise."""
    integer = bits.dtype.type  # kept throughout: wider integers would halve the lanes
    largest = integer(0)
    for j in range(bits.shape[0]):
        size = integer(bits[j] & magnitude)
        largest = size if size > largest else largest
    n = integer(bits.shape[0])
    first = n
    for j in range(n):
        here = integer(j) if integer(bits[j] & magnitude) == largest else n
        first = here if here < first else first
    return first


@njit(nogil=True, cache=True, fastmath=_FAST)
def _squared_residual(x, components, chosen, coefficients):
    total = 0.0
    for f in range(x.shape[0]):
        r = x[f]
        for p in range(chosen.shape[0]):
            r -= coefficients[p] * components[chosen[p], f]
        total += r * r
    return total


@njit(nogil=True, cache=True, fastmath=_FAST)
def _back_substitute(cholesky, z, coefficients):
    """Solve L^T g = z."""
    for p in range(z.shape[0] - 1, -1, -1):
        g = z[p]
        for q in range(p + 1, z.shape[0]):
            g -= cholesky[q, p] * coefficients[q]
        coefficients[p] = g / cholesky[p, p]


@njit(nogil=True, cache=True, fastmath=_FAST)
def omp_block(alpha, bits, magnitude, gram, energy, tol, x, components, floor, indices, coefficients):
    """Code a block of signals; return how many stopped at a dependent atom.

    alpha (n, M) correlations, overwritten; bits = alpha seen as integers, magnitude = their mask without
    the sign; energy (n,) squared norms; tol (n,) squared residual targets, negative = none; floor =
    (smallest relative correlation, smallest squared pivot); x and components serve the exact residual where
    the recursion cancels. Out: indices (n, k) filled with -1 beforehand, coefficients (n, k), pick order.
    """
    n, k = indices.shape
    n_atoms = gram.shape[0]
    lanes = _TILE_BYTES // alpha.itemsize
    v = np.empty((-(-n_atoms // lanes), k, lanes), alpha.dtype)
    edge = np.zeros((2, lanes), alpha.dtype)
    cholesky = np.empty((k, k), alpha.dtype)
    z = np.empty(k, alpha.dtype)
    n_dependent = 0
    for i in range(n):
        a = alpha[i]
        smallest = floor[0] * np.sqrt(energy[i])
        residual = energy[i]
        t = 0
        while t < k and residual > tol[i]:
            j = _argmax_abs(bits[i], magnitude)
            if abs(a[j]) <= smallest:
                break
            pivot = gram[j, j]
            for p in range(t):
                cholesky[t, p] = v[j // lanes, p, j % lanes]
                pivot -= cholesky[t, p] * cholesky[t, p]
            if pivot <= floor[1]:
                n_dependent += 1
                break
            cholesky[t, t] = np.sqrt(pivot)
            z[t] = a[j] / cholesky[t, t]
            indices[i, t] = j
            residual -= z[t] * z[t]
            t += 1
            if tol[i] >= 0 and residual <= max(1e-6 * energy[i], tol[i]):  # here the recursion cancels
                _back_substitute(cholesky, z[:t], coefficients[i])
                residual = _squared_residual(x[i], components, indices[i, :t], coefficients[i])
            if t < k:
                _remove_atom(v, cholesky[t - 1], gram[j], z[t - 1], a, t - 1, edge)
                for p in range(t):
                    a[indices[i, p]] = 0  # exactly orthogonal: rounding must not bring an atom back
        _back_substitute(cholesky, z[:t], coefficients[i])
    return n_dependent


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _remove_atom(v, cholesky_row, gram_row, z, a, t, edge):
    """V_t = (G_j - sum_p L[t, p] V_p) / L[t, t], then alpha -= z_t V_t, tile by tile; edge is scratch."""
    n_atoms, lanes = a.shape[0], v.shape[2]
    scale = 1 / cholesky_row[t]
    for c in range(v.shape[0]):
        first = c * lanes
        whole = first + lanes <= n_atoms
        if not whole:
            for m in range(n_atoms - first):
                edge[0, m], edge[1, m] = gram_row[first + m], a[first + m]
        row = _load(gram_row, first) if whole else _load(edge, 0)
        start = c * v.shape[1] * lanes
        for p in range(t):
            row = _subtract(row, cholesky_row[p], _load(v, start + p * lanes))
        row = _scale(row, scale)
        _store(v, start + t * lanes, row)
        if whole:
            _store(a, first, _subtract(_load(a, first), z, row))
        else:
            _store(edge, lanes, _subtract(_load(edge, lanes), z, row))
            for m in range(n_atoms - first):
                a[first + m] = edge[1, m]


@njit(nogil=True, cache=True, fastmath=_FAST)
def screened_omp_block(
    alpha, bits, magnitude, gram, rounded_gram, x, norms, components, indices, coefficients
):
    """Float64 OMP whose atoms are found in float32, with proof; return what could not be proved, (n,) bool.

    alpha (n, M) float32 correlations of the rows of ``x / norms``, overwritten; bits and magnitude as for
    ``omp_block``; gram, x, norms and components float64, rounded_gram = gram in float32. Out: indices and
    coefficients (n, k) float64, in pick order, those of undecided rows to be ignored.

    Every atom within twice the error of the largest float32 correlation is correlated anew in float64. With
    u = 2^-24, d the longest atom and a unit signal, that error is at most

    - at first (n_features + 3) u d, whatever the order of the sums, both factors being rounded as well;
    - then |z_t| e_t + 3 u d more with every step, where e_t bounds the error of V_t. As |V_t| and |L[t, :]|
      are at most d, e_t = (sum_p |L[t, p]| e_p + 2 (t + 5) u d^2) / L[t, t].

    L and z come from float64. The terms are of first order in u; a thousandth on top covers the others. What
    float64 would choose by itself is sure where the gap is wider than its own errors, taken as those sums
    with 2^-53 for u, times n_features for its Gram matrix: a million times the usual rounding, which leaves
    room for badly conditioned supports. Closer atoms, near-dependent ones (squared pivot under 1e-4) and
    residuals lost in the error are left undecided.
    """
    n, k = indices.shape
    n_atoms = gram.shape[0]
    lanes = _TILE_BYTES // alpha.itemsize
    v = np.empty((-(-n_atoms // lanes), k, lanes), alpha.dtype)
    edge = np.zeros((2, lanes), alpha.dtype)
    cholesky, row = np.empty((k, k)), np.empty(k, alpha.dtype)
    z, scratch, error = np.empty(k), np.empty(k), np.empty(k)
    undecided = np.zeros(n, np.bool_)
    longest = 0.0
    for j in range(n_atoms):
        longest = max(longest, np.sqrt(gram[j, j]))
    unit, n_roundings = 1.001 * 2.0**-24, components.shape[1] + 3
    for i in range(n):
        a = alpha[i]
        bound = n_roundings * unit * longest
        for t in range(k):
            j = _argmax_abs(bits[i], magnitude)
            lowest = alpha.dtype.type(abs(a[j]) - 2 * bound - unit)
            n_near = _count_from(a, lowest)
            if lowest > 0 and 1 < n_near <= _MOST_RIVALS:
                margin = 4 * n_roundings * 2.0**-29 * bound * norms[i]
                j = _settle(a, lowest, margin, x[i], components, gram, indices[i, :t], cholesky, z, scratch)
            if lowest <= 0 or n_near > _MOST_RIVALS or j < 0:
                undecided[i] = True
                break
            correlation = _correlate(j, x[i], components, gram, indices[i, :t], cholesky, z, cholesky[t])
            pivot = gram[j, j]
            for p in range(t):
                pivot -= cholesky[t, p] * cholesky[t, p]
            if pivot <= 1e-4:
                undecided[i] = True
                break
            cholesky[t, t] = np.sqrt(pivot)
            z[t] = correlation / cholesky[t, t]
            indices[i, t] = j
            if t + 1 < k:
                error[t] = 2 * (t + 5) * unit * longest * longest
                for p in range(t):
                    error[t] += abs(cholesky[t, p]) * error[p]
                error[t] /= cholesky[t, t]
                bound += abs(z[t]) / norms[i] * error[t] + 3 * unit * longest
                for p in range(t + 1):
                    row[p] = cholesky[t, p]
                _remove_atom(v, row, rounded_gram[j], alpha.dtype.type(z[t] / norms[i]), a, t, edge)
                for p in range(t + 1):
                    a[indices[i, p]] = 0
        if not undecided[i]:
            _back_substitute(cholesky, z, coefficients[i])
    return undecided


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _count_from(a, lowest):
    n = np.int32(0)
    for m in range(a.shape[0]):
        n += np.int32(1) if abs(a[m]) >= lowest else np.int32(0)
    return n


@njit(nogil=True, cache=True, fastmath=_FAST)
def _settle(a, lowest, margin, x, components, gram, chosen, cholesky, z, row):
    """Return which atom from ``lowest`` up is the largest in float64; -1 if the next is within margin."""
    best, largest, second = -1, -1.0, -1.0
    for m in range(a.shape[0]):
        if abs(a[m]) >= lowest:
            size = abs(_correlate(m, x, components, gram, chosen, cholesky, z, row))
            second = max(second, min(size, largest))
            if size > largest:
                best, largest = m, size
    return best if largest - second > margin else -1


@njit(nogil=True, cache=True, fastmath=_FAST)
def _correlate(j, x, components, gram, chosen, cholesky, z, row):
    """Return the correlation of atom j with the residual; row = its Cholesky row, L row = G[chosen, j]."""
    correlation = 0.0
    for f in range(x.shape[0]):
        correlation += components[j, f] * x[f]
    for t in range(chosen.shape[0]):
        c = gram[j, chosen[t]]
        for p in range(t):
            c -= cholesky[t, p] * row[p]
        row[t] = c / cholesky[t, t]
        correlation -= row[t] * z[t]
    return correlation
