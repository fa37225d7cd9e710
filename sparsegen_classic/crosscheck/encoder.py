"""One call that holds an encoder against the certified pursuit of the problem it claims to solve."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsegen_classic._validation import check_integer, check_real
from sparsegen_classic.convolutional.counts import sparsity_counts
from sparsegen_classic.convolutional.multilayer import MultiLayerCSC
from sparsegen_classic.convolutional.operator import ConvDictionary
from sparsegen_classic.crosscheck.adapters import EPS
from sparsegen_classic.crosscheck.encoder_causes import (
    dead_finding,
    dead_maps,
    lasso_causes,
    threshold_causes,
    with_filters,
)
from sparsegen_classic.crosscheck.encoder_inputs import Question, ask
from sparsegen_classic.crosscheck.encoder_reference import (
    GreedyReference,
    Held,
    LassoReference,
    MultiLayerReference,
)
from sparsegen_classic.crosscheck.encoder_report import COUNTS, EncoderLayer, EncoderReport
from sparsegen_classic.crosscheck.encoder_run import SMALLEST, Encoder, Finding, Unusable, check_shapes

_TINY = 1e-6  # of the largest magnitude: entries below are not support

Floats = NDArray[np.floating]


def crosscheck_encoder(
    encoder: Any,
    dictionary: Any = None,
    objective: str = "lasso",
    images: ArrayLike | None = None,
    *,
    lam: Any = None,
    k: int | None = None,
    positive: bool | None = None,
    tol: float = 1e-2,
    max_iterations: int = 200,
    random_state: Any = 0,
    n_jobs: int | None = None,
    framework: str = "auto",
    device: Any = None,
) -> EncoderReport:
    """Hold an encoder against the certified pursuit of the problem it claims to solve.

    Parameters
    ----------
    encoder : callable or path
        From images (n, n_channels, *image_shape) to maps (n, n_atoms, *maps_shape), or to the list of the
        maps of all layers, the image's first: a ``torch.nn.Module`` (run in eval mode, without gradients), a
        function of torch tensors, numpy or JAX arrays, or an ONNX file. A plain ``Sequential`` of
        convolutions and ReLUs is recognised; the maps of its layers are seen without changing it.
    dictionary : ConvDictionary, sequence of ConvDictionary, MultiLayerCSC or neural.ConvSynthesis
        What the codes stand for: D_1 next to the image first. None takes the weights of a recognised network.
    objective : {"lasso", "l0", "layered-thresholding", "layered-basis-pursuit", "multi-layer-basis-pursuit"}
        What the encoder should do. "lasso": minimise 1/2 ||x - D z||^2 + lam ||z||_1. "l0": minimise
        ||x - D z||^2 with k non-zeros an image, held against OMP. "layered-thresholding": Z_i =
        max(D_i^T Z_{i-1} - lam_i, 0), a forward pass, up to rounding. "layered-basis-pursuit": the lasso of
        every layer on the maps before. "multi-layer-basis-pursuit": the objective of
        :meth:`MultiLayerCSC.basis_pursuit`; the deepest maps are enough.
    images : array-like of shape (n_images, n_channels, *image_shape), optional
        What to code, or one image without the first axis. By default four images made of few atoms and
        noise: give images of the kind that the encoder is for.
    lam : float or array-like of shape (n_atoms,), or a sequence of them, one a layer
        Penalties or thresholds, greater than 0; for "layered-thresholding" minus the biases, of either sign.
    k : int, optional
        Non-zeros of an image, for "l0".
    positive : bool, optional
        Whether codes have to be at 0 or above. By default only for "layered-thresholding", which is always.
    tol : float, default=0.01
        How far the objective may be above the smallest one, relative; above OMP's for "l0".
    max_iterations : int, default=200
        Most iterations of ISTA and FISTA that are run to meet the encoder's objective.
    random_state : int, Generator or None, default=0
        Seed of the images made where none are given.
    n_jobs : int, default=None
        Number of threads over the images, as in joblib. The result does not depend on it.
    framework, device
        As for :func:`crosscheck_layer`.

    Returns
    -------
    EncoderReport
        ``passed``, ``failures``, numbers for every layer; ``str(report)`` says it in words, and
        ``plots_encoder`` draws it.

    Raises
    ------
    ValueError, TypeError
        If a parameter is missing or out of range. What the encoder does wrong is in the report instead.

    Notes
    -----
    The excess over the optimum is certified: it is measured from a lower bound, the dual value of a code
    whose duality gap is 1e-6 of the objective, and at the deepest of several layers from the dual variables
    of a primal-dual method. For "l0" there is no such bound. Codes with the objective of the optimum pass
    whatever their support: it need not be unique.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsegen_classic import ConvDictionary, ConvSparseCoder
    >>> from sparsegen_classic.crosscheck import crosscheck_encoder
    >>> dictionary = ConvDictionary(np.random.default_rng(0).standard_normal((4, 1, 5, 5)))
    >>> coder = ConvSparseCoder(dictionary, lam=2.0)
    >>> crosscheck_encoder(lambda x: coder.encode(x).maps.to_dense(), dictionary, lam=2.0).passed
    True
    >>> coder = ConvSparseCoder(dictionary, lam=4.0)
    >>> report = crosscheck_encoder(lambda x: coder.encode(x).maps.to_dense(), dictionary, lam=2.0)
    >>> [failure.name for failure in report.failures]
    ['objective', 'lam']
    >>> print(report.failures[1].message)
    the codes belong to a penalty 2 times the stated one: 4 for 2
    """
    check_real("tol", tol, 0)
    check_integer("max_iterations", max_iterations, 1)
    run = Encoder(encoder, framework, device)
    question = ask(run.stack, dictionary, objective, images, lam, k, positive, random_state)
    check = _Check(run, question, tol, max_iterations, n_jobs)
    try:
        check.run_all()
    except Unusable as stopped:
        check.failures.append(stopped.finding)
    return check.report(encoder)


@dataclass(eq=False)
class _Check:
    """One run, from the question to the report."""

    run: Encoder
    asked: Question
    tol: float
    max_iterations: int
    n_jobs: int | None
    recognised: str = ""
    layers: list[EncoderLayer] = field(default_factory=list)
    failures: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def run_all(self) -> None:
        """Run the encoder and compare."""
        maps, image_shape = self.run(self.asked.images), self.asked.images.shape[2:]
        layers = self.asked.dictionaries
        if self.run.stack is not None:
            self._recognise(maps)
        if self.asked.objective == "multi-layer-basis-pursuit":
            maps, layers = maps[-1:], [layers[0].effective(*layers[1:])]
        check_shapes(maps, len(self.asked.images), layers, image_shape)
        self._check_batch(maps)
        if self.asked.positive and min(float(z.min()) for z in maps) < 0:
            self.failures.append(Finding("positive", "codes have to be at 0 or above, some are negative"))
        if self.asked.objective == "multi-layer-basis-pursuit":
            self._multi_layer(maps[0])
        elif self.asked.objective == "l0":
            self._greedy(maps[0])
        else:
            signals = self.asked.images
            for i, z in enumerate(maps):
                self._layer(i, signals, z)
                signals = z

    def _check_batch(self, maps: list[Floats]) -> None:
        """Compare with the first image coded alone: batch statistics are no code of an image."""
        if len(self.asked.images) < 2:
            return
        try:
            alone = self.run(self.asked.images[:1])
        except Unusable as stopped:
            self.failures.append(Finding("batch", f"one image alone: {stopped.finding.message}"))
            return
        for i, (z, own) in enumerate(zip(maps, alone[-len(maps) :], strict=True), 1):
            scale = float(np.abs(z[0]).max()) or 1.0
            off = float(np.abs(z[:1] - own).max()) / scale if own.shape == z[:1].shape else np.inf
            if off > 1e4 * self.run.eps:
                message = f"layer {i}: the first image coded alone differs by {off:.2g} of its largest code"
                self.failures.append(Finding("batch", f"{message}: codes depend on the batch"))
                return

    def _recognise(self, maps: list[Floats]) -> None:
        """Compare a plain network with layered thresholding over its own weights."""
        stack = self.run.stack
        assert stack is not None
        try:
            own = stack.dictionaries(self.asked.images.shape[2:])
        except ValueError as reason:  # a filter of zeros
            self.notes.append(Finding("recognised", f"layered thresholding, {stack}, but {reason}"))
            return
        signals, worst = self.asked.images, 0.0
        for z, d, bias in zip(maps, own, stack.thresholds(), strict=True):
            error, allowed = _rounding(d, bias, signals, z, self.run.eps)
            worst, signals = max(worst, error / allowed), z
        self.recognised = f"layered thresholding, {stack}"
        if worst <= 1:
            self.recognised += "; agrees with MultiLayerCSC.threshold over its own weights to rounding"
        else:
            message = f"differs from layered thresholding over its own weights by {worst:.2g} times rounding"
            self.failures.append(Finding("values", message))

    def _layer(self, i: int, signals: Floats, z: Floats) -> None:
        """Compare one layer with thresholding or with the lasso, on the maps before it as they are."""
        d, lam, allowed, name = self.asked.dictionaries[i], self.asked.thresholds[i], None, self._name(i)
        held, causes = None, []
        if (lam > 0).all():
            reference = LassoReference(d, lam, self.asked.positive)
            held = reference.hold(signals, z, self.max_iterations, self.n_jobs)
        if self.asked.objective == "layered-thresholding":
            ours = np.maximum(d.analyze(signals) - _per_map(lam, z), 0)
            single = max(self.run.eps, EPS["float32"])  # weights may have been stored in it
            error, allowed = _rounding(d, lam, signals, z, single)
            wrong = error > allowed
            if wrong:
                message = f"{name}differs by {error:.2g} from the largest map, rounding is {allowed:.1g}"
                self.failures.append(Finding("values", message))
                causes = threshold_causes(d, lam, signals, z)
        else:
            assert held is not None
            ours, wrong = held.maps, self._judge(name, held)
            if held.equals:
                self.recognised = ", ".join(filter(None, (self.recognised, name + held.equals)))
            if wrong:
                same = float(lam[0]) if np.ptp(lam) == 0 else None
                causes = lasso_causes(reference, signals, z, ours, same)
        self.failures += [Finding(cause.name, name + cause.message) for cause in causes]
        self._add(i, d, z, ours, held, allowed, wrong and not causes)

    def _greedy(self, z: Floats) -> None:
        assert self.asked.k is not None
        d = self.asked.dictionaries[0]
        held = GreedyReference(d, self.asked.k).hold(self.asked.images, z, self.max_iterations, self.n_jobs)
        most = max(np.count_nonzero(one) for one in z)
        if most > self.asked.k:
            self.failures.append(
                Finding("count", f"an image has {most} non-zeros, allowed are {self.asked.k}")
            )
        ratio = held.objective / held.reference
        wrong = bool(ratio.max() > 1 + self.tol)
        if wrong:
            message = (
                f"the squared residual is {ratio.max():.4g} times that of OMP, allowed {1 + self.tol:.4g}"
            )
            self.failures.append(Finding("objective", message))
        self._add(0, d, z, held.maps, held, None, wrong)

    def _multi_layer(self, z: Floats) -> None:
        model = MultiLayerCSC(self.asked.dictionaries)
        lams = [float(lam[0]) for lam in self.asked.thresholds]
        held = MultiLayerReference(model, lams).hold(self.asked.images, z, self.max_iterations)
        wrong = self._judge("", held)
        inner = zip(self.asked.dictionaries, model.propagate(z), model.propagate(held.maps), strict=True)
        for i, (d, mine, ours) in enumerate(inner):
            last = i == len(self.asked.dictionaries) - 1
            self._add(i, d, mine, ours, held if last else None, None, wrong and last)

    def _judge(self, name: str, held: Held) -> bool:
        """Add a failure if an image is certified, or may be, further from the optimum than allowed."""
        scale = np.maximum(held.reference, SMALLEST)
        most, least = ((held.objective - bound) / scale for bound in (held.lower, held.reference))
        image = int(most.argmax())
        if most[image] <= self.tol:
            return False
        shares = max(float(least[image]), 0.0), float(most[image])
        span = dict.fromkeys(f"{100 * share:.3g}%" for share in shares)
        message = f"{name}the objective is {' to '.join(span)} above the optimum on image {image}"
        message += f" (certified), allowed {100 * self.tol:.3g}%"
        self.failures.append(Finding("objective", message))
        return True

    # -- what goes into the report

    def _name(self, i: int) -> str:
        return f"layer {i + 1}: " if len(self.asked.dictionaries) > 1 else ""

    def _add(
        self, i: int, d: ConvDictionary, z: Floats, ours: Floats, held: Held | None, allowed: float | None,
        unexplained: bool,
    ) -> None:  # fmt: skip
        z, full = np.where(np.abs(z) > _TINY * np.abs(z).max(), z, 0.0), z
        small = 1 - np.count_nonzero(z) / max(int(np.count_nonzero(full)), 1)
        if small > 0.01:
            message = f"{small:.1%} of the non-zeros are below {_TINY:g} of the largest, and not counted"
            self.notes.append(Finding("small codes", self._name(i) + message))
        mine, theirs = z != 0, np.abs(ours) > _TINY * np.abs(ours).max()
        both = np.count_nonzero(mine & theirs)
        dead = tuple(dead_maps(z, ours))
        if dead:
            found = dead_finding(list(dead), ours, self._name(i))
            (self.failures if unexplained else self.notes).append(found)
        mu = d.mutual_coherence()
        self.layers.append(
            EncoderLayer(
                layer=i + 1,
                shape=z.shape[1:],
                atom_shape=d.atom_shape,
                error=float(np.abs(full - ours).max() / (np.abs(ours).max() or 1.0)),
                allowed=allowed,
                objective=None if held is None else held.objective,
                reference=None if held is None else held.reference,
                lower=None if held is None else held.lower,
                precision=both / max(int(np.count_nonzero(mine)), 1),
                recall=both / max(int(np.count_nonzero(theirs)), 1),
                counts=_counts(z, d),
                reference_counts=_counts(np.where(theirs, ours, 0.0), d),
                iterations={} if held is None else held.iterations,
                dead=dead,
                coherence=mu,
                unique_below=(1 + 1 / mu) / 2 if mu else np.inf,
                stable_below=(1 + 1 / mu) / 3 if mu else np.inf,
                excess_map=None if held is None else held.excess_map,
            )
        )

    def report(self, encoder: Any) -> EncoderReport:
        """Return what was found."""
        lam = [
            float(one[0]) if np.ptp(one) == 0 else [float(v) for v in one] for one in self.asked.thresholds
        ]
        return EncoderReport(
            encoder=getattr(encoder, "__name__", None) or type(encoder).__name__,
            objective=self.asked.objective,
            lam=None if self.asked.k is not None else lam,
            k=self.asked.k,
            tol=self.tol,
            n_images=len(self.asked.images),
            dtype=self.run.dtype,
            recognised=self.recognised,
            layers=tuple(self.layers),
            failures=tuple(self.failures),
            notes=tuple(self.notes),
        )


def _rounding(d: ConvDictionary, lam: Floats, signals: Floats, z: Floats, eps: float) -> tuple[float, float]:
    """Return how far a layer is from thresholding, and how far rounding may carry it, by its largest map."""
    ours = np.maximum(d.analyze(signals) - _per_map(lam, z), 0)
    scale = float(np.abs(ours).max()) or 1.0
    sums = with_filters(d, np.abs(d.filters)).analyze(np.abs(signals)) + _per_map(np.abs(lam), z)
    return float(np.abs(z - ours).max()) / scale, 8 * eps * float(sums.max()) / scale


def _per_map(lam: Floats, z: Floats) -> Floats:
    return lam.reshape(-1, *[1] * (z.ndim - 2))


def _counts(z: Floats, d: ConvDictionary) -> dict[str, int]:
    found = sparsity_counts(z, d.atom_shape, d.stride, d.boundary)
    numbers = found.global_, found.needle, found.pixel, found.stripe
    return dict(zip(COUNTS, numbers, strict=True))
