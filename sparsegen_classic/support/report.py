"""What a fitted model of supports has learned, and what it has only memorised."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone

from sparsegen_classic.support.markov import MarkovSupports


class SupportReport(NamedTuple):
    """Pseudo-likelihoods (nats an atom) and log-weights of training, held-out and drawn supports.

    Attributes
    ----------
    training, held_out : float
        Mean log P(atom | rest). A large gap between them is memory.
    independent_training, independent_held_out : float
        The same for independent atoms (no groups, no pairs): what has to be beaten.
    unseen : float
        Share of held-out supports that the model finds impossible; they are left out of the means.
    training_weights, held_out_weights, drawn_weights : tuple of float
        Mean and standard deviation of ``log_weights`` (minus the energy), each support in the network of its
        most probable group. Draws far above real supports sit on the modes of the model.
    """

    training: float
    held_out: float
    independent_training: float
    independent_held_out: float
    unseen: float
    training_weights: tuple[float, float]
    held_out_weights: tuple[float, float]
    drawn_weights: tuple[float, float]

    def __str__(self) -> str:
        def row(name: str, a: float, b: float) -> str:
            return f"{name:28s}{a:10.3f}{b:10.3f}"

        lines = [
            f"{'nats an atom':28s}{'training':>10s}{'held out':>10s}",
            row("this model", self.training, self.held_out),
            row("independent atoms", self.independent_training, self.independent_held_out),
            f"held-out supports that are impossible: {self.unseen:.1%}",
            f"{'log-weights':28s}{'mean':>10s}{'sd':>10s}",
            row("training supports", *self.training_weights),
            row("held-out supports", *self.held_out_weights),
            row("drawn supports", *self.drawn_weights),
        ]
        return "\n".join(lines)


def report_supports(
    model: MarkovSupports,
    X: Any,
    X_held_out: Any,
    *,
    drawn: Any = None,
    n_samples: int = 1000,
    random_state: Any = 0,
) -> SupportReport:
    """Compare a fitted model with independent atoms, and its draws with real supports.

    Parameters
    ----------
    model : MarkovSupports
        Fitted on ``X``.
    X, X_held_out : {array-like, sparse array} of shape (n_samples, n_components)
        Signed codes that it has, and has not, been fitted on.
    drawn : {array-like, sparse array} of shape (n_drawn, n_components), default=None
        Codes drawn in another way, e.g. by sketches; None draws ``n_samples`` supports from the model.
    n_samples : int, default=1000
        Supports to draw.
    random_state : int, RandomState, Generator, SeedSequence or None, default=0
        Seed of the draws.

    Returns
    -------
    SupportReport

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic.support import MarkovSupports, report_supports
    >>> codes = np.eye(6)[np.random.default_rng(0).integers(6, size=400)] + np.eye(6)[:, ::-1][[0, 1] * 200]
    >>> report = report_supports(MarkovSupports().fit(codes[:200]), codes[:200], codes[200:])
    >>> report.held_out > report.independent_held_out
    True
    """
    parameters = {"n_groups": 1, "method": "counts", "pair_exponent": 0.0}
    independent = clone(model).set_params(**parameters).fit(X)
    training, held_out = model.pseudo_log_likelihood(X), model.pseudo_log_likelihood(X_held_out)
    drawn = model.sample(n_samples, random_state) if drawn is None else drawn
    return SupportReport(
        _mean(training),
        _mean(held_out),
        _mean(independent.pseudo_log_likelihood(X)),
        _mean(independent.pseudo_log_likelihood(X_held_out)),
        float(np.isneginf(held_out).mean()),
        *(_spread(_log_weights(model, codes)) for codes in (X, X_held_out, drawn)),
    )


def _log_weights(model: MarkovSupports, codes: Any) -> NDArray[np.float64]:
    """Return the log-weights of supports, each in the network of its most probable group."""
    codes = sparse.csr_array(codes)
    groups, weights = model.most_probable_groups(codes), np.empty(codes.shape[0])
    for group in np.unique(groups):
        here = np.flatnonzero(groups == group)
        weights[here] = model.log_weights(codes[here], group=int(group))
    return weights


def _mean(values: Any) -> float:
    return _spread(values)[0]


def _spread(values: Any) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.mean()), float(finite.std())) if len(finite) else (np.nan, np.nan)
