"""Damaged and forged files give a clear error or load as before (``make fuzz`` is the long run)."""

import io
import json
import os
import zipfile

import numpy as np
import pytest

from sparsegen_classic import (
    KSVD,
    ModelFileError,
    SparseImageGenerator,
    load_model,
    save_model,
)
from sparsegen_classic._archive import ArchiveError, check_compressed, open_archive, pack_json, read_npy
from sparsegen_classic.images.pixels import PixelRules, to_unit
from sparsegen_classic.model_checks import CHECKS
from sparsegen_classic.model_io import _CLASSES
from tests import hostile_archives, hostile_checkpoints, hostile_images, hostile_targets
from tests.hostile import Tally, outcome


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return {target.name: target for target in hostile_targets.targets(tmp_path_factory.mktemp("whole"))}


def test_mutated_archives(tmp_path):
    for kind, tally in hostile_archives.run(tmp_path, 700, 0).items():
        assert not tally.failures, (kind, tally.failures[:3])
        assert tally.refused > 0, kind


def test_mutated_checkpoints(tmp_path):
    for kind, tally in hostile_checkpoints.run(tmp_path, 120, 0).items():
        assert not tally.failures, (kind, tally.failures[:3])
        assert tally.refused + tally.other > 0, kind
        assert tally.same > 0, kind  # what is damaged is done again


def test_mutated_images(tmp_path):
    (tally,) = hostile_images.run(tmp_path, 1500, 0).values()
    assert not tally.failures, tally.failures[:3]
    assert tally.refused > 500
    assert tally.other > 50  # images have no checksums: a damaged one may be another image


def test_the_whole_image_corpus_opens(tmp_path):
    for name, content in hostile_images.corpus().items():
        path = tmp_path / name
        path.write_bytes(content)
        assert outcome(path, hostile_images.read, hostile_images.values) != "refused", name
        path.unlink()


def test_what_image_bombs_declare_is_refused_and_nothing_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in hostile_images.bombs().items():
        path = tmp_path / name
        path.write_bytes(content)
        assert outcome(path, hostile_images.read, hostile_images.values) == "refused", name
        path.unlink()
    assert os.listdir(tmp_path) == []


def test_the_watch_sees_what_must_not_happen(tmp_path):
    path = tmp_path / "x"
    path.touch()
    tally = Tally()
    for load in (lambda _: os.system("true"), lambda _: open(tmp_path / "y", "w").close(), lambda _: 1 / 0):
        tally.judge(path, load, repr, b"", True, "")
    assert len(tally.failures) == 3


def test_every_class_of_a_model_file_has_a_check():
    assert set(CHECKS) == set(_CLASSES)


@pytest.mark.parametrize(
    ("target", "change", "message"),
    [
        ("generator", lambda h, a: _drop_atom(h, a), "4 atoms, supports of 5"),
        ("generator", lambda h, a: _cut(a, "model.means_", 1), r"means_ must be floats of shape 1 x 64"),
        ("generator", lambda h, a: a["model.supports_.0.supports_"].__setitem__(0, 99), r"must lie in \[-1"),
        ("generator", lambda h, a: a["model.dictionaries_.0.components_"].fill(np.nan), "must lie in"),
        ("generator", lambda h, a: h["state"].update(n_features_in_=-64), "must be at least 1"),
        ("generator", lambda h, a: h["state"].update(n_features_in_=True), "must be an integer, got True"),
        ("generator", lambda h, a: h["state"]["supports_"]["list"].clear(), "must have 1 parts each"),
        ("ksvd", lambda h, a: h["parameters"].update(n_nonzero_coefs="2"), "must be an integer"),
        ("coefficients", lambda h, a: a["model.magnitudes_.indptr"].__setitem__(3, 999), "follow each other"),
        ("trainlets", lambda h, a: a["model.atom_positions_"].__setitem__((0, 0), 10**6), "must lie in"),
        ("filters", lambda h, a: h["state"].update(lam_=-1.0), "lam_ must be greater than 0"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused_when_read(tmp_path, corpus, target, change, message):
    header, arrays = hostile_archives._unpack(corpus[target].content)
    arrays = {name: array.copy() for name, array in arrays.items()}
    change(header["model"], arrays)
    hostile_archives._sign(header, arrays)
    path = tmp_path / "forged.npz"
    path.write_bytes(hostile_archives._pack(header, arrays))
    with pytest.raises(ModelFileError, match=rf"forged\.npz is damaged: .*{message}"):
        load_model(path)


def _drop_atom(header, arrays):
    _cut(arrays, "model.dictionaries_.0.components_")
    del header["state"]["dictionaries_"]["list"][0]["state"]["_stream"]


def _cut(arrays, name, axis=0):
    arrays[name] = np.delete(arrays[name], 0, axis)


def test_a_model_that_could_not_be_read_is_not_written(tmp_path):
    model = KSVD(4, n_nonzero_coefs=2, random_state=0).fit(np.random.default_rng(0).random((20, 6)))
    model.components_ = model.components_[:, :5]
    with pytest.raises(ValueError, match="KSVD: components_ must be floats of shape any x 6"):
        save_model(model, tmp_path / "a.npz")
    with pytest.raises(ValueError, match="tol must be finite, got nan"):
        save_model(KSVD(tol=np.nan), tmp_path / "a.npz")
    save_model(SparseImageGenerator(KSVD(-3)), tmp_path / "a.npz")  # what fit will say is left to fit
    assert os.listdir(tmp_path) == ["a.npz"]


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in members.items():
            stream = io.BytesIO()
            np.save(stream, array, allow_pickle=True)
            file.writestr(f"{name}.npy", stream.getvalue())
    return path


@pytest.mark.parametrize("array", [
    np.arange(6.0).reshape(2, 3), np.float32(3), np.zeros((0, 4), np.int8), np.array(["a", "béta"]),
    np.array([True, False]), np.asfortranarray(np.arange(6).reshape(2, 3)), np.arange(3, dtype=">i2"),
])  # fmt: skip
def test_plain_arrays_come_back_as_they_were(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with open_archive(archive(tmp_path / "a.npz", a=array)) as opened:
        for found in (opened.read("a"), read_npy(tmp_path / "a.npy")):
            np.testing.assert_array_equal(found, array)
            assert (found.dtype, found.shape) == (np.asarray(array).dtype, np.shape(array))
            assert found.flags.c_contiguous


def test_objects_structures_and_bombs_are_no_arrays(tmp_path):
    path = tmp_path / "a.npz"
    for array in (np.array([None]), np.zeros(2, "f4,i4"), np.zeros(2, "M8[s]"), np.zeros(3, complex)):
        with open_archive(archive(path, a=array)) as opened, pytest.raises(ArchiveError, match="plain array"):
            opened.read("a")
    archive(path, a=np.zeros(2**28 + 2**26, np.uint8))
    with pytest.raises(ArchiveError, match="out of all proportion"), open_archive(path) as opened:
        opened.read("a")


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": 1e999}', '{"a": 1, "a": 2}', "[" * 99999, "{", "\\ud8"]
)
def test_headers_are_strict_json(tmp_path, text):
    path = archive(tmp_path / "a.npz", header=np.frombuffer(text.encode(), np.uint8))
    with pytest.raises(ArchiveError), open_archive(path) as opened:
        opened.read_json()
    with pytest.raises(ValueError, match="not JSON compliant"):
        pack_json({"a": float("nan")})
    assert json.loads(pack_json({"a": 1.5}).tobytes()) == {"a": 1.5}


@pytest.mark.parametrize(
    "indptr", [[0, 2, 1], [0, -(2**31), 2], [1, 1, 2], [0, 1, 3], [0, 2], [0, 2**31 - 1, 2]]
)
def test_sparse_arrays_that_would_lead_compiled_code_astray(indptr):
    parts = np.ones(2), np.array([0, 3], np.int32)
    check_compressed(*parts, np.array([0, 1, 2], np.int32), (2, 4))
    with pytest.raises(ArchiveError):
        check_compressed(*parts, np.array(indptr, np.int32), (2, 4))
    for types in (("f8", "i4", ">i4"), ("f8", ">i4", "i4"), ("f2", "i4", "i4"), (">f8", "i4", "i4")):
        with pytest.raises(ArchiveError, match="cannot be of type"):
            check_compressed(*map(np.ndarray.astype, (*parts, np.array([0, 1, 2])), types), (2, 4))
    with pytest.raises(ArchiveError, match="outside"):
        check_compressed(*parts, np.array([0, 1, 2], np.int32), (2, 3))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_large_images_are_turned_band_by_band_into_the_same(mode):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 900, 700, 4), np.uint8)
    rules = PixelRules(mode, size=9, fit="resize")
    whole = to_unit(pixels, rules)
    rows = [to_unit(pixels[:, [row]], rules) for row in (0, 421, 899)]
    np.testing.assert_array_equal(whole[:, [0, 421, 899]], np.concatenate(rows, axis=1))
