"""No right layer is flagged, however it is written and whatever the seed."""

import pytest

from sparsegen_classic import assert_layer_matches, crosscheck_layer
from tests.crosscheck.gallery_right import RIGHT, K

SEEDS = range(20)


def passes(exhibit, seeds=SEEDS):
    options = {"shape": (2, 6, 5, 4), **exhibit.options}
    for seed in seeds:
        assert_layer_matches(exhibit.layer, exhibit.constraint, k=exhibit.k, random_state=seed, **options)


@pytest.mark.parametrize("exhibit", RIGHT, ids=lambda exhibit: exhibit.name)
def test_numpy_layers(exhibit):
    passes(exhibit)


@pytest.mark.parametrize("i", range(12))
def test_torch_and_jax_layers(i):
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    from tests.crosscheck import gallery_right_torch

    assert len(gallery_right_torch.RIGHT) == 12
    passes(gallery_right_torch.RIGHT[i])


def test_an_onnx_file(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from tests.crosscheck.gallery_right_torch import onnx_needle

    path = onnx_needle(tmp_path / "needle.onnx")
    for seed in SEEDS:
        report = assert_layer_matches(path, "needle", k=K, shape=(2, 6, 5, 4), random_state=seed)
    assert (report.framework, report.layer) == ("onnx", "needle.onnx")
    with pytest.raises(ValueError, match="shape must have 4 entries"):
        crosscheck_layer(path, "needle", k=K, shape=(2, 6))
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match="broken.onnx cannot be read as an ONNX model"):
        crosscheck_layer(tmp_path / "broken.onnx", "needle", k=K)
    wrong = crosscheck_layer(path, "needle", k=K + 1, shape=(2, 6, 5, 4))
    assert {v.check for v in wrong.failures} == {"values"}
    assert wrong.diagnosis == "the k -1 largest by magnitude over channels"


def test_layers_of_the_papers_agree():
    pytest.importorskip("torch")
    from sparsegen_classic import neural

    for layer, constraint, k in (
        (neural.L0Projection, "l0", 7),
        (neural.L0Projection, "l0", 0.3),
        (neural.NeedleProjection, "needle", 2),
        (neural.TopK, "topk", 5),
        (neural.SoftThreshold, "soft-threshold", 0.3),
        (neural.L1Penalty, "l1-penalty", 0.3),
    ):
        assert_layer_matches(layer, constraint, k=k, shape=(2, 6, 5, 4))
    assert_layer_matches(neural.L0Projection(9, per="batch"), "l0-batch", k=9, shape=(2, 6, 5, 4))
    assert_layer_matches(
        neural.NeedleProjection(2, gradient="straight-through"),
        "needle",
        k=2,
        gradient="straight-through",
        shape=(2, 6, 5, 4),
    )
