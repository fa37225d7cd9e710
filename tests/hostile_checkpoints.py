"""What an accident or a forger can do to the folders of checkpoints and image stores."""

import hashlib
import json
import shutil
from unittest.mock import patch

import numpy as np

from sparsegen_classic import KSVD, SparseImageGenerator, open_images, store_images
from sparsegen_classic._checkpoint import Stages
from sparsegen_classic.generator import fitting
from sparsegen_classic.images import store as image_stores
from tests import hostile_archives
from tests.hostile import Tally, print_of
from tests.hostile_targets import Target

_DECOY = b"what links lead to, and nobody may touch"


def resume(folder):
    """Return what a fit makes of the checkpoint and the store in a folder, or begins there."""
    store = store_images(folder.parent / "images.npy", folder / "store")
    generator = SparseImageGenerator(
        KSVD(5, n_nonzero_coefs=2, max_iter=2), random_state=0, n_groups=1, tone="clip"
    )
    generator.fit(store, checkpoint=folder / "fit")
    dictionary, supports, coefficients = (
        part[0] for part in (generator.dictionaries_, generator.supports_, generator.coefficients_)
    )
    return [
        dictionary.components_,
        supports.sample(2, 0),
        generator.sample(2, random_state=0),
        coefficients.sample(supports.sample(2, 0), 0),
    ]


def corpus(folder):
    """Return the files of checkpoints that are finished, have learned half, and have coded half."""
    np.save(folder / "images.npy", np.rint(255 * open_images("digits").images[:60]).astype(np.uint8))
    whole = folder / "whole"
    whole.mkdir()
    with patch.object(Stages, "remove"):
        expected = print_of(resume(whole))
    files = {path.relative_to(whole): path.read_bytes() for path in whole.rglob("*.*") if path.suffix}
    steps = [path for path in files if path.name == "steps.npz"]
    codes = sorted(path for path in files if path.parent.name == "codes")
    later = [path for path in files if path.parent.name == "model-0" and path not in steps]
    stages = [
        {path: data for path, data in files.items() if path not in steps},
        {path: data for path, data in files.items() if path not in [*codes, *later]},
        {path: data for path, data in files.items() if path not in [*steps, *codes[::2]]},
    ]
    assert all((steps, codes, later))
    for files in stages:
        _lay_out(whole, files)
        assert print_of(resume(whole)) == expected
    return stages, expected


def _lay_out(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def _damage(folder, path, data, rng):
    what, content = hostile_archives.damaged(data, rng)
    (folder / path).write_bytes(content)
    return what


def _forge(folder, path, data, rng):
    """Write a well-formed file with other content, its checksum or the digest in its name put right."""
    if path.suffix == ".json":
        work = json.loads(data)
        what = hostile_archives._forge_json(work, rng)
        (folder / path).write_text(json.dumps(work))
    elif path.suffix == ".npz":
        what, content = hostile_archives.forged(Target(path.name, data, None, None, signed=True), rng)
        (folder / path).write_bytes(content)
    else:
        arrays = {"array": np.load(folder / path)}
        what = hostile_archives._forge_array(arrays, rng)
        content = hostile_archives.npy_of(arrays["array"]) if arrays else b""
        _replace(folder / path, content)
    return what


def _wicked(folder, path, data, rng):
    """Write a file that abuses its format."""
    if path.suffix == ".npz":
        make = hostile_archives.bomb if rng.random() < 0.01 else hostile_archives.wicked
        what, content = make(Target(path.name, data, None, None), rng)
        (folder / path).write_bytes(content)
        return what
    if path.suffix == ".json":
        texts = [
            b"[" * 100000,
            b"1" * 5000,
            b"",
            b"\xff\xfe",
            b"null",
            b"[]",
            b'{"work": NaN}',
            b'{"a": 1' * 9999,
        ]
        (folder / path).write_bytes(texts[int(rng.integers(len(texts)))])
        return "text"
    content = (
        hostile_archives.odd_npy(rng)
        if rng.random() < 0.8
        else hostile_archives.npy_of(np.array([hostile_archives.Bomb()], dtype=object))
    )
    _replace(folder / path, content)
    return repr(content[:120])


def _replace(path, content):
    """Write the content under the name that its digest gives it, if names have digests here."""
    path.unlink()
    parts = path.stem.split("-")[:-1]
    if parts:
        path = path.with_name(
            "-".join([*parts, hashlib.blake2b(content, digest_size=16).hexdigest()]) + ".npy"
        )
    path.write_bytes(content)


def _move(folder, path, data, rng):
    """Put something else in the place of a file, or the file in another place."""
    target, kind = (
        folder / path,
        str(rng.choice(["gone", "folder", "link", "loop", "name", "other", "twice"])),
    )
    if kind != "twice":
        target.unlink()
    if kind == "folder":
        target.mkdir()
    elif kind == "link":
        target.symlink_to(rng.choice([str(folder.parent / "decoy"), "/dev/null", "/nowhere/x"]))
    elif kind == "loop":
        target.symlink_to(target.name)
    elif kind == "name":
        names = ["99999999-9-", "00000000-7-", "-1-0-", "\u0660" * 8 + "-0-", "00000000-0-../"]
        name = str(rng.choice(names)) + hashlib.blake2b(data, digest_size=16).hexdigest() + ".npy"
        if "/" not in name:
            target.with_name(name).write_bytes(data)
    elif kind == "other":
        others = [other for other in folder.rglob("*") if other.is_file() and other.suffix == path.suffix]
        target.write_bytes(rng.choice(sorted(others)).read_bytes() if others else b"")
    return kind


_MUTATIONS = {"damaged": _damage, "forged": _forge, "wicked": _wicked, "moved": _move}
KINDS = tuple(_MUTATIONS)


def run(folder, n_folders, seed):
    """Return what became of folders in which one file was mutated: {kind of mutation: Tally}."""
    rng = np.random.default_rng(seed)
    with patch.object(fitting, "_BLOCK", 16), patch.object(image_stores, "_BLOCK", 25):
        stages, expected = corpus(folder)
        tallies = {f"checkpoint {kind}": Tally() for kind in KINDS}
        mutant, decoy = folder / "mutant", folder / "decoy"
        for i in range(n_folders):
            files = stages[i % len(stages)]
            path = sorted(files)[int(rng.integers(len(files)))]
            kind = str(rng.choice(KINDS))
            _lay_out(mutant, files)
            what = f"{path}: {_MUTATIONS[kind](mutant, path, files[path], rng)}"
            tally = tallies[f"checkpoint {kind}"]
            decoy.write_bytes(_DECOY)
            forged = kind == "forged"  # what a fit says of such data does not name the checkpoint
            tally.judge(mutant, resume, list, expected, forged, what, (ValueError, OSError), not forged)
            if decoy.read_bytes() != _DECOY:
                tally.failures.append((what, "it was written through a link"))
    return tallies
