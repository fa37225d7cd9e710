"""Small files of every kind that is an archive, how they are read, and what is done with what was read."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from sparsegen_classic import (
    KSVD,
    ConvDictionaryLearning,
    GaussianCoefficients,
    MarkovSupports,
    MissingDataGaussian,
    SketchedCodes,
    SparseCoder,
    SparseImageGenerator,
    Trainlets,
    load_model,
    open_images,
    save_model,
)
from sparsegen_classic.convolutional.learning_files import SavedCodes, load_codes, save_codes
from sparsegen_classic.images import PatchGrid
from sparsegen_classic.restoration import decode_images, encode_images, learn_patch_dictionary
from tests.hostile import print_of


@dataclass
class Target:
    """A file, how it is read, and what is done with what was read."""

    name: str
    content: bytes
    load: Any
    use: Any
    expected: bytes = b""
    signed: bool = False  # whether it ends with a checksum over everything


def targets(folder):
    """Return small files of models, dictionaries and codes."""
    digits = open_images("digits")
    two = digits.labels < 2
    images, rows = digits.images[two][:60], digits.images[two][:60].reshape(60, 64)
    codes = KSVD(5, n_nonzero_coefs=2, max_iter=2, random_state=0).fit(rows).transform(rows)
    single = SparseImageGenerator(KSVD(5, n_nonzero_coefs=3, max_iter=2), random_state=0)
    several = SparseImageGenerator(
        Trainlets(5, max_iter=1), MarkovSupports(n_groups=2), per_class=True, random_state=0
    )
    conv = ConvDictionaryLearning(3, 3, max_iter=2, random_state=0).fit(images[:4])
    models = {
        "generator": (single.fit(images), _draw),
        "classes": (several.fit(images, digits.labels[two][:60]), _draw),
        "ksvd": (KSVD(5, n_nonzero_coefs=2, max_iter=2, random_state=0).fit(rows), _learned(rows)),
        "trainlets": (
            Trainlets(5, n_nonzero_coefs=2, max_iter=1, random_state=0).fit(rows), _learned(rows)
        ),
        "coder": (SparseCoder(np.eye(64), n_nonzero_coefs=2).fit(rows), lambda m: m.transform(rows)),
        "supports": (MarkovSupports().fit(codes), _supports(codes)),
        "coefficients": (GaussianCoefficients().fit(codes), lambda m: m.sample(codes[:4], 0)),
        "sketches": (
            SketchedCodes(3).fit(codes),
            lambda m: m.sample(MarkovSupports().fit(codes), 3, 0) if m.n_features_in_ == 5 else repr(m),
        ),
        "gaussian": (
            MissingDataGaussian(2.0).fit(rows[:, 18:22] + 0.01 * rows[:, :4]), lambda m: m.sample(3, 0)
        ),
        "filters": (conv, lambda m: m.encode(_like(m, images), lam=0.3).maps.to_dense()),
        "unfitted": (SparseImageGenerator(KSVD(5)), repr),
    }  # fmt: skip
    made = []
    for name, (model, use) in models.items():
        path = save_model(model, folder / f"{name}.npz")
        made.append(Target(name, path.read_bytes(), load_model, _as(type(model), use), signed=True))
    for dtype in (
        np.float32,
        np.float64,
    ):  # else numba reads its own pickles under watch
        PatchGrid((3, 3), (2, 2)).assemble(np.zeros((4, 4), dtype))
    patches = learn_patch_dictionary(
        images[:9], patch_shape=4, n_components=9, n_nonzero_coefs=2, n_patches=60, max_iter=1, random_state=0
    )
    encode_images(images[:3], patches, folder / "patches.npz")
    content = (folder / "patches.npz").read_bytes()
    made.append(Target("patches", content, lambda path: list(decode_images(path, patches)), list))
    path = save_codes(SavedCodes.of(conv, images[:3, None]), folder / "maps.npz")
    content = path.read_bytes()
    made.append(Target("maps", content, lambda path: _reconstructed(path, conv.dictionary_), list))
    for target in made:
        path = folder / "whole.npz"
        path.write_bytes(target.content)
        target.expected = print_of(target.use(target.load(path)))
    return made


def _as(cls, use):
    """Return ``use`` for what may have become a valid model of another class, or of settings that fail."""

    def use_it(model):
        try:
            return use(model) if isinstance(model, cls) else repr(model)
        except NotFittedError as error:
            return repr(error)
        except ValueError as error:
            if "EM diverged" in str(error) or "tol must be one number" in str(error):
                return repr(error)  # what these settings give in any model
            raise

    return use_it


def _draw(model):
    if not hasattr(model, "dictionaries_"):
        return repr(model)
    draws = model.draw(2, random_state=0)
    return [draws.images, draws.in_training, model.random_combinations(2, 0), repr(model.summary())]


def _like(model, images):
    """Return images with as many channels as the filters have."""
    check_is_fitted(model, "filters_")
    return np.repeat(images[:2, None], model.filters_.shape[1], axis=1)


def _learned(rows):
    def use(model):
        if not hasattr(model, "components_"):
            return repr(model)
        codes = model.transform(rows[:4])
        model.partial_fit(rows[:20])
        return [codes, model.components_]

    return use


def _supports(codes):
    return lambda m: [m.sample(3, 0), m.log_weights(codes[:5]), m.conditional(codes[:2])]


def _reconstructed(path, dictionary):
    code = load_codes(path)
    try:
        return code.reconstruct(dictionary)
    except ValueError as error:  # of other filters
        raise ValueError(f"{path}: {error}") from error
