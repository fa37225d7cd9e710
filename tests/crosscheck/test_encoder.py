"""Encoders against certified pursuits: the right ones pass, each wrong one is found and named."""

import json

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from sparsegen_classic.convolutional import ConvDictionary, ConvSparseCoder, csc_iht, csc_omp
from sparsegen_classic.crosscheck import crosscheck_encoder
from sparsegen_classic.crosscheck.encoder_reference import LassoReference

LAM = 0.3


def unit_filters(seed, *shape):
    filters = np.random.default_rng(seed).standard_normal(shape)
    norms = np.linalg.norm(filters.reshape(shape[0], -1), axis=1)
    return filters / norms.reshape(-1, *[1] * (len(shape) - 1))


DICTIONARY = ConvDictionary(unit_filters(1, 8, 1, 5, 5))


def lista(dictionary=DICTIONARY, lam=LAM, n_iterations=200, positive=False, dtype=np.float64):
    """ISTA with exact weights, as a LISTA network starts; an encoder of numpy batches."""

    def encode(x):
        maps = dictionary.analyze(x) * 0
        step = 1 / dictionary.lipschitz(x.shape[2:])
        for _ in range(n_iterations):
            z = maps + step * dictionary.analyze(x - dictionary.synthesize(maps))
            maps = np.maximum(z - step * lam, 0)
            if not positive:
                maps = maps - np.maximum(-z - step * lam, 0)
        return maps.astype(dtype)

    return encode


def names(report):
    return [failure.name for failure in report.failures]


# -- encoders that are right


def test_the_reference_itself_passes_with_a_certified_gap():
    coder = ConvSparseCoder(DICTIONARY, LAM, tol=1e-8)
    report = crosscheck_encoder(lambda x: coder.encode(x).maps.to_dense(), DICTIONARY, lam=LAM, tol=1e-5)
    assert report.passed, report
    (layer,) = report.layers
    assert layer.certified
    assert layer.excess.max() < 2e-6
    assert (layer.lower <= layer.objective).all()
    assert layer.precision > 0.95
    assert layer.recall > 0.95
    assert layer.counts["global"] == pytest.approx(layer.reference_counts["global"], abs=2)
    assert layer.error < 1e-2
    assert report.summary() == "<lambda> agrees with lasso (lam=0.3) on 4 images"


@pytest.mark.parametrize(
    ("shape", "geometry", "image"),
    [
        ((6, 3, 4, 4), {"stride": 2, "padding": 1}, (3, 16, 16)),
        ((6, 1, 5, 5), {"stride": 2, "boundary": "circular"}, (1, 16, 12)),
        ((6, 1, 7), {"stride": 2, "padding": 2, "output_padding": 1}, (1, 40)),
    ],
)
@pytest.mark.parametrize("positive", [False, True])
def test_any_geometry_and_sign(shape, geometry, image, positive):
    dictionary = ConvDictionary(unit_filters(0, *shape), **geometry)
    images = np.random.default_rng(2).standard_normal((2, *image))
    encoder = lista(dictionary, 0.5, 300, positive)
    report = crosscheck_encoder(encoder, dictionary, images=images, lam=0.5, positive=positive)
    assert report.passed, report
    layer = report.layers[0]
    assert layer.excess_map.shape == (2, *image[1:])
    np.testing.assert_allclose(
        layer.excess_map.reshape(2, -1).sum(axis=1), layer.objective - layer.reference, atol=1e-9
    )


def test_the_excess_is_what_the_definition_says():
    images = np.random.default_rng(0).standard_normal((2, 1, 14, 14))
    weights = np.linspace(0.3, 0.6, 8)
    report = crosscheck_encoder(lista(n_iterations=7), DICTIONARY, images=images, lam=weights)
    maps = lista(n_iterations=7)(images)
    residual = images - DICTIONARY.synthesize(maps)
    by_hand = 0.5 * (residual**2).sum(axis=(1, 2, 3)) + (weights[:, None, None] * abs(maps)).sum(
        axis=(1, 2, 3)
    )
    layer = report.layers[0]
    np.testing.assert_allclose(layer.objective, by_hand, rtol=1e-12)
    code = ConvSparseCoder(DICTIONARY, 1.0, weights=weights, tol=1e-10).encode(images)
    assert (layer.lower <= code.objective).all()
    assert (code.objective <= layer.reference * (1 + 1e-9)).all()
    exact = by_hand / code.objective - 1
    np.testing.assert_allclose(layer.excess, exact, atol=1e-5)


def test_lista_with_its_exact_weights_is_ista():
    report = crosscheck_encoder(lista(n_iterations=12), DICTIONARY, lam=LAM)
    assert names(report) == ["objective"]
    assert report.recognised == "ISTA after 12 iterations"
    assert report.layers[0].iterations["ISTA"] == 12
    assert report.layers[0].iterations["FISTA"] < 12
    tolerant = crosscheck_encoder(lista(n_iterations=12), DICTIONARY, lam=LAM, tol=2.0)
    assert tolerant.passed


def test_iterates_are_textbook_ista_and_fista_reaches_the_optimum():
    image = np.random.default_rng(3).standard_normal((1, 1, 12, 12))
    reference = LassoReference(DICTIONARY, np.full(8, LAM), False)
    for (maps, objective), n in zip(reference.iterates(image[0], False), range(1, 6), strict=False):
        np.testing.assert_allclose(maps, lista(n_iterations=n)(image)[0], atol=1e-12)
        assert objective == pytest.approx(float(sum(p.sum() for p in reference.parts(image, maps[None]))))
    last = [o for (_, o), _ in zip(reference.iterates(image[0], True), range(400), strict=False)][-1]
    best = ConvSparseCoder(DICTIONARY, LAM, tol=1e-10).encode(image[0]).objective
    assert last == pytest.approx(best, rel=1e-6)


# -- lasso encoders that are wrong


def flipped(x):
    return lista(ConvDictionary(DICTIONARY.filters[:, :, ::-1, ::-1]))(x)


def one_map_dead(x):
    maps = lista()(x)
    maps[:, 2] = 0
    return maps


WRONG = {
    "lam twice": (lista(lam=2 * LAM), "lam", r"penalty (1\.9|2|2\.0)\d* times the stated one"),
    "lam a third": (lista(lam=LAM / 3, n_iterations=600), "lam", r"penalty 0\.3[2-5]\d* times"),
    "no penalty": (lista(lam=0.0), "lam", "no threshold seems to be applied"),
    "flipped": (flipped, "filters flipped", "turned by 180 degrees"),
    "flipped and not converged": (
        lista(ConvDictionary(DICTIONARY.filters[:, :, ::-1, ::-1]), n_iterations=10),
        "filters flipped",
        "turned by 180 degrees",
    ),
    "transposed": (
        lista(ConvDictionary(DICTIONARY.filters.swapaxes(2, 3))), "filters transposed", "swapped"
    ),
    "negated": (lambda x: -lista()(x), "filters negated", "sign"),
    "dead map": (one_map_dead, "dead maps", r"map 2 is never used, by the reference \d+ times"),
    "bytes": (lambda x: lista()(255 * x), "images scaled", "multiplied by 255"),
    "moved": (lambda x: np.roll(lista()(x), (1, -2), (2, 3)), "codes moved", r"sit \(1, -2\) positions"),
    "maps transposed": (lambda x: lista()(x).swapaxes(2, 3), "maps transposed", "swapped"),
    "codes halved": (lambda x: lista()(x) / 2, "codes scaled", r"are 0\.\d+ times as large"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_encoders_are_found_and_named(name):
    encoder, cause, message = WRONG[name]
    report = crosscheck_encoder(encoder, DICTIONARY, lam=LAM, max_iterations=20)
    assert not report.passed
    assert names(report) == ["objective", cause], report
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(report.failures[1].message)


@pytest.mark.parametrize("n_iterations", [1, 3, 10, 30])
def test_an_encoder_that_has_not_converged_is_given_no_false_cause(n_iterations):
    report = crosscheck_encoder(lista(n_iterations=n_iterations), DICTIONARY, lam=LAM, tol=1e-4)
    assert set(names(report)) <= {"objective", "dead maps"}
    assert report.recognised == f"ISTA after {n_iterations} iterations"


def test_reversed_channels_and_normalised_filters():
    rng = np.random.default_rng(5)
    colour = ConvDictionary(unit_filters(3, 6, 3, 4, 4))
    report = crosscheck_encoder(lista(ConvDictionary(colour.filters[:, ::-1])), colour, lam=LAM)
    assert names(report) == ["objective", "channels reversed"]
    scaled = ConvDictionary(colour.filters * rng.uniform(0.4, 2.5, (6, 1, 1, 1)))
    report = crosscheck_encoder(lista(colour), scaled, lam=LAM)
    assert names(report) == ["objective", "filters normalised"]


def test_an_image_of_zeros_has_zero_codes():
    images = np.zeros((2, 1, 12, 12))
    assert crosscheck_encoder(lista(n_iterations=3), DICTIONARY, images=images, lam=LAM).passed
    nothing = crosscheck_encoder(lambda x: 0 * DICTIONARY.analyze(x), DICTIONARY, "l0", images, k=3)
    assert nothing.passed
    report = crosscheck_encoder(lambda x: DICTIONARY.analyze(x) + 1, DICTIONARY, images=images, lam=LAM)
    assert names(report)[0] == "objective"
    json.dumps(report.to_dict())


def test_signs():
    report = crosscheck_encoder(lista(), DICTIONARY, lam=LAM, positive=True)
    assert names(report)[0] == "positive"


# -- encoders that give nothing to compare


def broken(x):
    raise RuntimeError("no weights\nwere loaded")


@pytest.mark.parametrize(
    ("encoder", "name", "message"),
    [
        (broken, "raises", "RuntimeError: no weights"),
        (lambda x: "maps", "raises", "must return maps or a list of them, got str"),
        (lambda x: lista()(x) * np.nan, "finite", "entries are NaN or infinite"),
        (lambda x: np.moveaxis(lista()(x), 1, -1), "shape", "channels come last, they must be axis 1"),
        (lambda x: lista()(x)[:, :, ::2, ::2], "shape", "stride 2 and padding 0"),
        (lambda x: np.pad(lista()(x), [(0, 0)] * 2 + [(2, 2)] * 2), "shape", "stride 1 and padding 2"),
        (lambda x: [lista()(x)] * 2, "shape", "maps of all 1 layers"),
        (lambda x: lista()(x)[:2], "shape", r"must have maps of shape \(4, 8, 12, 12\)"),
    ],
)
def test_what_cannot_be_compared_is_said(encoder, name, message):
    report = crosscheck_encoder(encoder, DICTIONARY, lam=LAM)
    assert names(report) == [name]
    assert report.layers == ()
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(report.failures[0].message)
    json.dumps(report.to_dict())
    assert str(report)


def test_codes_that_depend_on_the_batch():
    def centred(x):
        return lista()(x - x.mean(axis=0))

    assert names(crosscheck_encoder(centred, DICTIONARY, lam=LAM))[0] == "batch"


def test_almost_zeros_are_noted_and_not_counted():
    coder = ConvSparseCoder(DICTIONARY, LAM, tol=1e-7)
    report = crosscheck_encoder(
        lambda x: coder.encode(x).maps.to_dense() + 1e-12, DICTIONARY, lam=LAM, tol=1e-3
    )
    assert report.passed
    assert [note.name for note in report.notes] == ["small codes"]
    assert report.layers[0].precision > 0.9


# -- l0


def test_l0_encoders():
    planted = sparse_maps()
    images = DICTIONARY.synthesize(planted)
    omp = [csc_omp(DICTIONARY, image, 5).maps.to_dense() for image in images]

    def encoder(x):
        return np.stack(omp)[: len(x)]

    report = crosscheck_encoder(encoder, DICTIONARY, "l0", images, k=5)
    assert report.passed, report
    np.testing.assert_allclose(np.stack(omp), planted, atol=1e-9)
    assert not report.layers[0].certified
    assert report.layers[0].precision == 1
    assert "no certificate exists" in str(report)
    too_many = crosscheck_encoder(encoder, DICTIONARY, "l0", images, k=4)
    assert names(too_many) == ["count"]

    def thresholded(x):
        return np.stack([csc_iht(DICTIONARY, image, 5, max_iter=2).maps.to_dense() for image in x])

    with pytest.warns(ConvergenceWarning, match="max_iter"):
        report = crosscheck_encoder(thresholded, DICTIONARY, "l0", images, k=5)
    assert names(report) == ["objective"]


def sparse_maps():
    rng = np.random.default_rng(0)
    maps = np.zeros((3, 8, 14, 14))
    for one in maps:
        one.flat[rng.choice(one.size, 5, replace=False)] = rng.choice([-1, 1], 5) * rng.uniform(1, 2, 5)
    return maps


# -- conditions, words, parameters


def test_conditions_are_those_of_the_counts():
    spikes = ConvDictionary(np.eye(4).reshape(4, 1, 2, 2)[:1])
    images = np.zeros((1, 1, 10, 10))
    images[0, 0, 3, 3] = 5.0
    coder = ConvSparseCoder(spikes, 0.1)
    report = crosscheck_encoder(lambda x: coder.encode(x).maps.to_dense(), spikes, images=images, lam=0.1)
    layer = report.layers[0]
    assert layer.counts == {"global": 1, "needle": 1, "pixel": 1, "stripe": 1}
    assert layer.coherence == 0
    assert layer.unique
    assert layer.stable
    crowded = crosscheck_encoder(lista(), DICTIONARY, lam=LAM).layers[0]
    mu = DICTIONARY.mutual_coherence()
    assert crowded.unique_below == pytest.approx((1 + 1 / mu) / 2)
    assert not crowded.unique
    assert "no guarantee" in str(crosscheck_encoder(lista(), DICTIONARY, lam=LAM))


def test_report_in_words_and_json():
    report = crosscheck_encoder(lista(lam=2 * LAM), DICTIONARY, lam=LAM)
    text = str(report)
    for part in ("DIFFERS from lasso (lam=0.3)", "ISTA", "FISTA", "precision", "stripe", "worst", "failures"):
        assert part in text
    as_dict = json.loads(json.dumps(report.to_dict()))
    assert as_dict["passed"] is False
    assert as_dict["layers"][0]["worst"] == list(report.layers[0].worst())
    assert len(as_dict["layers"][0]["objective"]) == 4


def test_worst_is_where_the_codes_were_spoilt():
    images = np.random.default_rng(0).standard_normal((3, 1, 24, 24))
    coder = ConvSparseCoder(DICTIONARY, LAM, tol=1e-7)

    def encoder(x):
        maps = coder.encode(x).maps.to_dense()
        maps[1:2, :, 14:17, 3:6] = 0
        return maps

    image, row, column = crosscheck_encoder(encoder, DICTIONARY, images=images, lam=LAM).layers[0].worst()
    assert image == 1
    assert abs(row - 17) <= 4
    assert abs(column - 6) <= 4


def test_parameters_are_checked():
    cases = (
        ({}, "needs lam and no k"),
        ({"objective": "l0", "lam": 0.1}, "needs k and no lam"),
        ({"lam": -1.0}, "lam must be finite and greater than 0"),
        ({"lam": [0.1, 0.2]}, "lam must be numbers or of shape"),
        ({"lam": 0.1, "objective": "lars"}, "objective must be one of"),
        ({"lam": 0.1, "tol": -1}, "tol must be at least 0"),
        ({"lam": 0.1, "images": np.full((1, 12, 12), np.nan)}, "images must be finite"),
        ({"lam": 0.1, "images": np.zeros((1, 3, 3))}, "must be at least as large as the filters"),
        (
            {"lam": 0.1, "dictionary": [DICTIONARY, ConvDictionary(unit_filters(0, 3, 8, 3, 3))]},
            "one dictionary",
        ),
        ({"lam": 0.1, "dictionary": None}, "dictionary=None needs images"),
    )
    for given, message in cases:
        arguments = {"dictionary": DICTIONARY, **given}
        with pytest.raises(ValueError, match=message):
            crosscheck_encoder(lista(), **arguments)
    with pytest.raises(TypeError, match="must be callable"):
        crosscheck_encoder(3, DICTIONARY, lam=0.1)
