"""Every wrong layer is found, by the check that should find it."""

import inspect

import pytest

from sparsegen_classic import crosscheck_layer
from tests.crosscheck.gallery_wrong import WRONG


def found(exhibit):
    layer = exhibit.layer
    if inspect.isclass(layer):
        layer = layer()
    options = {"shape": (1, 8, 8, 8), **exhibit.options}
    return crosscheck_layer(layer, exhibit.constraint, k=exhibit.k, **options)


def check(exhibit):
    report = found(exhibit)
    failing = {verdict.check for verdict in report.failures}
    assert exhibit.must <= failing, f"missed {exhibit.must - failing}\n{report}"
    if exhibit.only:
        assert failing == exhibit.must, f"besides {failing - exhibit.must}\n{report}"
    for verdict in report.failures:
        if verdict.smallest is not None:
            assert verdict.smallest.x.size <= verdict.worst.x.size


@pytest.mark.parametrize("exhibit", WRONG, ids=lambda exhibit: exhibit.name)
def test_numpy_layers(exhibit):
    check(exhibit)


def torch_gallery():
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    from tests.crosscheck import gallery_wrong_torch

    return gallery_wrong_torch.WRONG


@pytest.mark.parametrize("i", range(22))
def test_torch_and_jax_layers(i):
    gallery = torch_gallery()
    assert len(gallery) == 22
    check(gallery[i])


def test_the_gallery_is_large_and_its_mistakes_are_different():
    assert len({exhibit.name for exhibit in WRONG}) == len(WRONG) >= 40
