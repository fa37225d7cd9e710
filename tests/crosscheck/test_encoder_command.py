"""``crosscheck-encoder`` as a user meets it, its page, and the pictures."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sparsegen_classic import ConvDictionary, ConvDictionaryLearning, open_images, save_images, save_model
from sparsegen_classic.crosscheck import crosscheck_encoder
from sparsegen_classic.crosscheck.encoder_load import load_dictionary, load_encoder
from sparsegen_classic.plots_encoder import encoder_page, plot_excess, plot_objectives
from tests.cli.test_commands import run

ENCODER = """
import numpy as np
from sparsegen_classic import ConvSparseCoder
from sparsegen_classic.crosscheck.encoder_load import load_dictionary

def coder(lam):
    dictionary = load_dictionary({path!r}, stride=2)
    def encode(x):
        print("coding", len(x))
        return ConvSparseCoder(dictionary, lam).encode(x).maps.to_dense()
    return encode

right, off = coder(0.2), coder(0.8)

def make():
    return right

class Deep:
    encode = staticmethod(right)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    filters = np.random.default_rng(0).standard_normal((6, 1, 4, 4))
    np.save(folder / "filters.npy", filters / 4)
    (folder / "enc.py").write_text(ENCODER.format(path=str(folder / "filters.npy")))
    save_images(open_images("digits").images[:12], folder / "digits.npz")
    return folder


def check(place, name, *more):
    plain = ("--dictionary", place / "filters.npy", "--stride", 2, "--against", place / "digits.npz")
    return run("crosscheck-encoder", f"{place}/enc.py:{name}", *plain, "--lam", 0.2, "--limit", 3, *more)


@pytest.mark.parametrize("name", ["right", "make", "Deep.encode"])
def test_an_encoder_that_agrees_ends_with_0(place, name):
    code, out, err = check(place, name)
    assert code == 0, err
    assert "agrees with lasso (lam=0.2) on 3 images" in out
    assert "coding" in err
    assert "coding" not in out


def test_one_that_differs_ends_with_1_and_writes_a_page(place):
    page = place / "page.html"
    code, out, _ = check(place, "off", "--json", "--report", page)
    assert code == 1
    found = json.loads(out)
    assert [failure["name"] for failure in found["failures"]] == ["objective", "lam"]
    assert found["report"] == str(page)
    html = page.read_text()
    assert html.count("data:image/png;base64") == 2
    assert "the codes belong to a penalty 4 times the stated one" in html
    code, _, err = check(place, "off", "--report", page)
    assert code == 2
    assert "page.html" in err


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("right", ("--report", "page.pdf"), "--report must end in .html, got page.pdf"),
        ("nothing", (), "has no 'nothing'"),
        ("right", ("-k", 3), "needs lam and no k"),
        ("right", ("--lam", 0.1), "lam must be numbers or of shape"),
        ("right", ("--objective", "l0"), "needs k and no lam"),
        ("right", ("--dictionary", "none.npz"), "none.npz"),
        ("right", ("--objective", "huh"), "'huh' is not one of"),
    ],
)
def test_wrong_usage_ends_with_2(place, name, more, message):
    code, out, err = check(place, name, *more)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_learned_filters_bring_lam_and_their_lowpass(place, tmp_path):
    images = open_images("digits").images[:40][:, None]
    model = ConvDictionaryLearning(6, 4, lowpass=5.0, max_iter=1, random_state=0).fit(images)
    save_model(model, tmp_path / "learned.npz")
    source = (
        "from sparsegen_classic import ConvSparseCoder, load_model\n"
        f"model = load_model({str(tmp_path / 'learned.npz')!r})\n"
        "def encode(x):\n"
        "    assert abs(x.mean()) < 0.05, 'the smooth part is still there'\n"
        "    return ConvSparseCoder(model.dictionary_, model.lam_).encode(x).maps.to_dense()\n"
    )
    (tmp_path / "enc2.py").write_text(source)
    code, out, err = run(
        "crosscheck-encoder", f"{tmp_path}/enc2.py:encode", "--dictionary", tmp_path / "learned.npz",
        "--against", place / "digits.npz",
    )  # fmt: skip
    assert code == 0, out + err
    assert "on 8 images" in out


def test_files_of_filters(tmp_path):
    filters = np.random.default_rng(0).standard_normal((3, 2, 4, 4))
    np.savez(tmp_path / "a.npz", filters=filters, stride=2, padding=[1, 0], output_padding=[0, 0])
    dictionary = load_dictionary(str(tmp_path / "a.npz"), stride=3)
    assert (dictionary.stride, dictionary.padding) == ((2, 2), (1, 0))
    np.savez(tmp_path / "b.npz", filters=filters, boundary="circular")
    assert load_dictionary(str(tmp_path / "b.npz")).boundary == "circular"
    np.savez(tmp_path / "c.npz", weights=filters)
    with pytest.raises(ValueError, match=r"must hold an array 'filters', it has \['weights'\]"):
        load_dictionary(str(tmp_path / "c.npz"))
    (tmp_path / "d.npy").write_text("no")
    with pytest.raises(ValueError, match="no .npz or .npy of numbers"):
        load_dictionary(str(tmp_path / "d.npy"))


def test_modules_that_cannot_be_imported(tmp_path):
    (tmp_path / "broken.py").write_text("raise SystemExit(3)")
    with pytest.raises(ValueError, match="cannot be imported: SystemExit: 3"):
        load_encoder(f"{tmp_path}/broken.py:x")
    with pytest.raises(ValueError, match="cannot be imported: ModuleNotFoundError"):
        load_encoder("no_such_module:x")
    with pytest.raises(ValueError, match="must be module:name"):
        load_encoder("json")
    with pytest.raises(FileNotFoundError, match="no file"):
        load_encoder(f"{tmp_path}/none.onnx")
    assert load_encoder("json:dumps") is json.dumps


def test_an_onnx_file_is_an_encoder(tmp_path):
    onnx = pytest.importorskip("onnx", reason="writes an ONNX file")
    pytest.importorskip("onnxruntime", reason="runs an ONNX file")
    filters = np.random.default_rng(0).standard_normal((4, 1, 3, 3)).astype(np.float32)
    bias = np.full(4, -0.5, np.float32)
    float_, helper = onnx.TensorProto.FLOAT, onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["c"]), helper.make_node("Relu", ["c"], ["z"])],
        "encoder",
        [helper.make_tensor_value_info("x", float_, ["n", 1, "h", "w_"])],
        [helper.make_tensor_value_info("z", float_, ["n", 4, "p", "q"])],
        [onnx.numpy_helper.from_array(filters, "w"), onnx.numpy_helper.from_array(bias, "b")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "e.onnx")
    images = np.random.default_rng(1).standard_normal((2, 1, 9, 9))
    encoder = load_encoder(str(tmp_path / "e.onnx"))
    report = crosscheck_encoder(encoder, ConvDictionary(filters), "layered-thresholding", images, lam=[0.5])
    assert report.passed, report


# -- pictures


@pytest.fixture(scope="module")
def wrong():
    dictionary = ConvDictionary(np.random.default_rng(0).standard_normal((4, 1, 3, 3)))
    images = np.random.default_rng(1).standard_normal((2, 1, 12, 10))
    return crosscheck_encoder(lambda x: 0.1 * dictionary.analyze(x), dictionary, images=images, lam=1.0)


def test_pictures(wrong):
    ax = plot_excess(wrong)
    (layer,) = wrong.layers
    np.testing.assert_allclose(ax.images[0].get_array(), layer.local_excess()[layer.worst()[0]])
    ((column,), (row,)) = ax.lines[0].get_data()
    assert (row, column) == layer.worst()[1:]
    other = plot_excess(wrong, image=1 - layer.worst()[0])
    assert not other.lines
    _, given = plt.subplots()
    ax = plot_objectives(wrong, ax=given)
    assert ax is given
    assert [bar.get_height() for bar in ax.patches] == [*layer.objective, *layer.reference]
    for wrong_layer in (0, 2):
        with pytest.raises(ValueError, match=r"layer must be one with an objective, \[1\]"):
            plot_excess(wrong, layer=wrong_layer)
    with pytest.raises(ValueError, match="image must be at least 0 and at most 1"):
        plot_excess(wrong, image=2)
    assert encoder_page(wrong).html().count("<figure>") == 2
    plt.close("all")


def test_pictures_of_signals_and_of_nothing():
    dictionary = ConvDictionary(np.random.default_rng(0).standard_normal((3, 1, 5)))
    report = crosscheck_encoder(lambda x: 0 * dictionary.analyze(x), dictionary, lam=0.5)
    assert plot_excess(report).images[0].get_array().shape[0] == 1
    nothing = crosscheck_encoder(lambda x: None, dictionary, lam=0.5)
    assert "raises" in encoder_page(nothing).html()
    with pytest.raises(ValueError, match="layer must be one with an objective"):
        plot_objectives(nothing)
    plt.close("all")


def test_pictures_of_levels():
    torch = pytest.importorskip("torch", reason="counts the activations of a network")
    from sparsegen_classic.neural import NeedleProjection, sparsify, sparsity_levels
    from sparsegen_classic.plots_encoder import plot_needle_map, plot_sparsity_levels

    network = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU())
    x = torch.randn(3, 1, 10, 10)
    dense = sparsity_levels(network, x)
    with sparsify(network, {"1": NeedleProjection(2)}):
        sparse = sparsity_levels(network, x)
    ax = plot_sparsity_levels(sparse, compare=dense)
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == pytest.approx([100 * level.share for level in (*sparse, *dense)])
    ax = plot_needle_map(dense[1])
    np.testing.assert_array_equal(ax.images[0].get_array(), dense[1].needle_map)
    with pytest.raises(ValueError, match="levels must hold"):
        plot_sparsity_levels([])
    with pytest.raises(ValueError, match="compare the same"):
        plot_sparsity_levels(sparse, compare=dense[:1])
    flat = sparsity_levels(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.ReLU()), x)
    with pytest.raises(ValueError, match="one or two axes of positions"):
        plot_needle_map(flat[1])
    plt.close("all")
