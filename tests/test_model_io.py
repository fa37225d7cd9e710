"""Model files: what is saved is loaded, and anything else gives one clear error."""

import io
import json
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
from scipy import sparse

from sparsegen_classic import (
    KSVD,
    ConvDictionaryLearning,
    GaussianCoefficients,
    MarkovSupports,
    MissingDataGaussian,
    ModelFileError,
    SketchedCodes,
    SparseCoder,
    SparseImageGenerator,
    Trainlets,
    load_model,
    model_checks,
    open_images,
    save_model,
)
from sparsegen_classic.model_io import describe_model


@pytest.fixture(scope="module")
def generator():
    digits = open_images("digits")
    keep = digits.labels < 3
    model = SparseImageGenerator(KSVD(12), per_class=True, random_state=0)
    return model.fit(digits.images[keep], np.array(["nought", "one", "two"])[digits.labels[keep]])


@pytest.fixture
def path(generator, tmp_path):
    return save_model(generator, tmp_path / "model.npz")


def rewrite(path, change):
    """Unpack a model file, let ``change(header, members)`` alter it, and pack it again."""
    with np.load(path) as archive:
        members = {name: archive[name] for name in archive.files}
    header = json.loads(members.pop("header").tobytes())
    change(header, members)
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, header=text, **members)


def test_a_loaded_generator_draws_the_same_images(generator, path):
    loaded = load_model(path)
    assert loaded.classes_.tolist() == ["nought", "one", "two"]
    np.testing.assert_array_equal(loaded.sample(20, 3), generator.sample(20, 3))
    np.testing.assert_array_equal(loaded.sample(5, 3, class_="one"), generator.sample(5, 3, class_="one"))
    assert repr(loaded) == repr(generator)


def test_the_same_model_gives_the_same_bytes_again_and_again(generator, path, tmp_path):
    second = save_model(load_model(path), tmp_path / "second.npz")
    assert second.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "model",
    [
        KSVD(3, n_nonzero_coefs=2, random_state=1),
        Trainlets(3, n_nonzero_coefs=2, max_iter=1, random_state=1),
        SparseCoder(np.eye(4), n_nonzero_coefs=2),
        MarkovSupports(smoothing=1.0),
        GaussianCoefficients(draw="clip"),
        SketchedCodes(noise=0.3),
        MissingDataGaussian(prior_strength=2.0),
    ],
)
def test_every_part_can_be_saved_fitted_or_not(model, tmp_path):
    X = np.random.default_rng(0).standard_normal((30, 4))
    unfitted = load_model(save_model(model, tmp_path / "a.npz"))
    assert str(unfitted.get_params()) == str(model.get_params())
    fitted = load_model(save_model(model.fit(X), tmp_path / "b.npz"))
    for name, value in vars(model).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(fitted, name), value)
            assert getattr(fitted, name).dtype == value.dtype


def test_a_random_state_object_is_saved_as_none(tmp_path):
    model = KSVD(3, random_state=np.random.default_rng(0))
    assert load_model(save_model(model, tmp_path / "a.npz")).random_state is None


def test_description_is_plain_json(path):
    about = json.loads(json.dumps(describe_model(path)))
    assert about["class"] == "SparseImageGenerator"
    assert about["parameters"]["dictionary"]["KSVD"]["n_components"] == 12
    assert about["summary"]["n_components"] == [12, 12, 12]
    assert about["bytes"] == path.stat().st_size


def test_nothing_is_overwritten_unasked_and_nothing_is_left_half_written(generator, path, tmp_path):
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"model.npz exists; choose another name, or overwrite"):
        save_model(generator, path)
    with pytest.raises(FileNotFoundError, match="the directory .*missing does not exist; create it first"):
        save_model(generator, tmp_path / "missing" / "model.npz")
    with pytest.raises(IsADirectoryError, match="is a directory; give a file name"):
        save_model(generator, tmp_path)
    with pytest.raises(TypeError, match="model.dictionary is of class PCA, which a file cannot hold"):
        from sklearn.decomposition import PCA

        save_model(SparseImageGenerator(PCA()), path, overwrite=True)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.npz"]


def test_a_truncated_file(path):
    whole = path.read_bytes()
    for size in (0, 3, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelFileError, match=r"model.npz is (truncated or damaged|not a model file)"):
            load_model(path)


def test_a_flipped_bit_anywhere_is_noticed_or_harmless(path, generator):
    whole, expected = path.read_bytes(), generator.sample(3, 0)
    for position in np.random.default_rng(0).integers(0, len(whole), 60):
        changed = bytearray(whole)
        changed[position] ^= 1 << (position % 8)
        path.write_bytes(changed)
        try:
            model = load_model(path)
        except ModelFileError:
            continue
        np.testing.assert_array_equal(model.sample(3, 0), expected)  # a bit of the archive's own bookkeeping


def test_an_altered_array(path):
    rewrite(path, lambda header, members: members["model.means_"].__setitem__((0, 0), 0.5))
    with pytest.raises(ModelFileError, match="truncated or damaged .its content does not match its checksum"):
        load_model(path)


def test_a_newer_format(path):
    rewrite(path, lambda header, members: header.update(format_version=2))
    with pytest.raises(
        ModelFileError, match=r"format version 2, .* reads format version 1; install a version"
    ):
        load_model(path)


@pytest.fixture(scope="module")
def codes():
    """5,000 codes of 20 out of 40 atoms."""
    rng = np.random.default_rng(0)
    dense = rng.uniform(0.5, 1, (5000, 40)) * rng.choice([-1, 1], (5000, 40))
    np.put_along_axis(dense, np.argsort(rng.random((5000, 40)))[:, 20:], 0, axis=1)
    return sparse.csr_array(dense)


@pytest.mark.parametrize("cls", [MarkovSupports, GaussianCoefficients])
def test_the_check_of_a_large_model_takes_less_than_the_model(codes, cls, monkeypatch):
    monkeypatch.setattr(model_checks, "_BLOCK", 100)
    model = cls().fit(codes)
    if cls is MarkovSupports:
        size = model.supports_.nbytes
    else:
        size = model.magnitudes_.data.nbytes + model.magnitudes_.indices.nbytes
    tracemalloc.start()
    model_checks.check_model(model)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.8 * size


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ([3, 1, 5], "must be rows of ascending indices, padded with -1 on the right"),
        ([1, -1, 5], "must be rows of ascending indices, padded with -1 on the right"),
        ([1, 5, 45], "must use an atom once"),
        ([1, 2, 90], r"must lie in \[-1, 79\]"),
        ([1], "size_counts_ must be those of supports_"),
    ],
)
@pytest.mark.parametrize("place", [0, 250, 4999])
def test_a_support_that_cannot_be_is_found_wherever_it_is(codes, row, rule, place, monkeypatch):
    monkeypatch.setattr(model_checks, "_BLOCK", 100)
    model = MarkovSupports().fit(codes)
    model.supports_[place] = np.pad(row, (0, 20 - len(row)), constant_values=-1)
    with pytest.raises(ValueError, match=rule):
        model_checks.check_model(model)


def test_codes_without_weight_do_not_count(codes):
    model = GaussianCoefficients().fit(codes[:3], sample_weight=[0, 1, 1])
    model_checks.check_model(model)
    counted = GaussianCoefficients().fit(codes[:3])
    assert np.isnan(model.state_means_).sum() > np.isnan(counted.state_means_).sum()
    model.state_means_ = np.nan_to_num(model.state_means_)
    with pytest.raises(ValueError, match="state_means_ must be NaN where no code has the state"):
        model_checks.check_model(model)


def test_moments_of_states_of_two_types_and_means_without_a_group(codes):
    for kind in (GaussianCoefficients, SketchedCodes):
        model = kind().fit(codes)
        model.state_variances_ = model.state_variances_.astype(np.float32)
        with pytest.raises(ValueError, match="state_means_ and state_variances_ must have the same dtype"):
            model_checks.check_model(model)
    model = SketchedCodes().fit(codes)
    model.means_ = np.concatenate([model.means_, model.means_])
    with pytest.raises(ValueError, match="means_ must be those of the groups in groups_, and no others"):
        model_checks.check_model(model)


@pytest.mark.parametrize("change", [{"format": "something else"}, {"format": None}])
def test_a_foreign_header(path, change):
    rewrite(path, lambda header, members: header.update(change))
    with pytest.raises(ModelFileError, match="its header is foreign"):
        load_model(path)


def test_foreign_archives_and_other_files(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, images=np.zeros((2, 3, 3)))
    with pytest.raises(ModelFileError, match="a .npz without header"):
        load_model(path)
    path.write_bytes(b"hello world")
    with pytest.raises(ModelFileError, match="no .npz archive"):
        load_model(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelFileError, match="a .npz without header"):
        load_model(path)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "missing.npz")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def test_a_pickle_is_named_and_never_loaded(tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelFileError, match="is a pickle, which can execute code and is never loaded"):
        load_model(path)


def test_an_object_array_inside_is_never_unpickled(path):
    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb()], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["model.means_.npy"] = buffer.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(ModelFileError, match="truncated or damaged"):
        load_model(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda node: node.update({"class": "Popen"}),
        lambda node: node["state"].update({"__class__": 1}),
        lambda node: node["state"].update({"fit": 1}),
        lambda node: node["state"].update({"list": [1, 2]}),
        lambda node: node["state"].pop("dictionaries_"),
        lambda node: node["parameters"].update({"evil": 1}),
        lambda node: node["state"].update({"means_": {"array": "nowhere"}}),
    ],
)
def test_a_header_that_asks_for_more_than_a_model(path, change):
    from sparsegen_classic._states import _checksum

    def forge(header, members):
        change(header["model"])
        header.pop("sha256")
        header["sha256"] = _checksum(header, members)

    rewrite(path, forge)
    with pytest.raises(ModelFileError, match="is damaged"):
        load_model(path)


@pytest.mark.parametrize("model", [KSVD(5), SparseCoder(np.eye(4)), ConvDictionaryLearning(3, 3)])
def test_a_model_that_is_not_fitted_to_the_end_is_not_saved(model, tmp_path):
    model.n_features_in_ = 4
    with pytest.raises(ValueError, match="has n_features_in_ but no .*; fit it to the end"):
        save_model(model, tmp_path / "half.npz")
    assert not list(tmp_path.iterdir())


def test_the_container_of_outputs_may_be_set_before_a_fit(tmp_path):
    path = save_model(KSVD(5).set_output(transform="default"), tmp_path / "model.npz")
    assert load_model(path).n_components == 5
