"""What an accident or a forger can do to archives."""

import hashlib
import io
import json
import struct
import zipfile

import numpy as np

from tests.hostile import Tally
from tests.hostile_targets import targets


def damaged(content, rng):
    """Return bytes that an accident made of ``content``."""
    data = bytearray(content)
    at, length = int(rng.integers(len(data))), int(rng.integers(1, 40))
    kind = rng.choice(["flip", "flips", "cut", "head", "zeros", "again", "remove", "insert", "noise"])
    if kind == "flip":
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == "flips":
        for position in rng.integers(0, len(data), length):
            data[position] ^= 1 << int(rng.integers(8))
    elif kind == "cut":
        del data[at:]
    elif kind == "head":
        del data[:at]
    elif kind == "zeros":
        data[at : at + length] = bytes(length)
    elif kind == "again":
        data[at:at] = data[at : at + length]
    elif kind == "remove":
        del data[at : at + length]
    elif kind == "insert":
        data[at:at] = rng.bytes(length)
    else:
        data[at : at + length] = rng.bytes(length)
    return kind, bytes(data)


VALUES = [
    *(None, True, False, -1, 0, 1, 2, 3, 7, 10**6, 2**31, 2**63, 10**30, -(10**30), 0.5, -0.5, 1e-300, 1e308),
    *("", "x", "omp", "../../x", "/etc/passwd", "__class__", [], {}, [1], [[]], {"array": "nowhere"}),
    *({"list": []}, {"list": [1, 2]}, {"class": "Popen", "parameters": {}, "state": {}}, {"csc": {}}),
    *({"class": "KSVD", "parameters": {}, "state": {}}, float("nan"), float("inf"), "\x00", "\ud800", 1e999),
]


def forged(target, rng):
    """Return a well-formed archive with the checksum right, but with other contents."""
    header, arrays = _unpack(target.content)
    kinds = ["json"] * bool(header) + ["array"] * bool(arrays)
    kind = str(rng.choice(kinds))
    what = _forge_json(header, rng) if kind == "json" else _forge_array(arrays, rng)
    if target.signed and rng.random() < 0.97:
        _sign(header, arrays)
    return f"{kind} {what}", _pack(header, arrays)


def _forge_json(header, rng):
    """Change one value, or remove or add one, anywhere in the header."""
    places, stack = [], [header]
    while stack:
        node = stack.pop()
        items = list(node.items()) if isinstance(node, dict) else list(enumerate(node))
        places += [(node, key) for key, _ in items]
        stack += [value for _, value in items if isinstance(value, dict | list)]
    node, key = places[int(rng.integers(len(places)))]
    change = rng.random()
    before = repr(node[key])[:60]
    if change < 0.1:
        del node[key]
        return f"without {key!r}"
    value = VALUES[int(rng.integers(len(VALUES)))]
    if change < 0.2:  # what belongs elsewhere
        other, name = places[int(rng.integers(len(places)))]
        value = json.loads(json.dumps(other[name]))
    elif change < 0.3 and isinstance(node, dict):
        key = str(
            rng.choice(["extra", "components_", "__init__", "supports_", "n_features_in_", "fit", "array"])
        )
    node[key] = value
    return f"{key!r}: {before} -> {value!r:.80}"


def _forge_array(arrays, rng):
    """Change type, shape or values of one array."""
    name = list(arrays)[int(rng.integers(len(arrays)))]
    array = arrays[name]
    kind = str(
        rng.choice(["type", "shape", "cut", "grow", "value", "swap", "empty", "order", "missing", "noise"])
    )
    if kind == "type":
        types = ["f2", "f4", "f8", ">f8", "i1", "i4", "i8", "u8", ">i4", "?", "U3", "c8", "S2"]
        with np.errstate(all="ignore"):
            array = np.arange(9) if array.dtype.kind == "U" else array.astype(str(rng.choice(types)))
    elif kind == "shape":
        array = [array.T, array[None], array.ravel(), array.reshape(-1, 1)][int(rng.integers(4))]
    elif kind in ("cut", "grow") and array.ndim:
        axis = int(rng.integers(array.ndim))
        array = (
            np.concatenate([array, array], axis) if kind == "grow" else np.delete(array, slice(0, 1), axis)
        )
    elif kind in ("value", "noise") and array.size and array.dtype.kind in "biuf":
        array = array.copy()
        extremes = [0, -1, 1, 2**31, -(2**31), 2**62]
        if array.dtype.kind == "f":
            extremes += [np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-40, 0.5]
        if kind == "value":
            with np.errstate(all="ignore"):
                value = np.array(extremes[int(rng.integers(len(extremes)))]).astype(array.dtype)
            array.reshape(-1)[int(rng.integers(array.size))] = value
        else:
            array = rng.permutation(array.ravel()).reshape(array.shape)
    elif kind == "swap":
        other = list(arrays)[int(rng.integers(len(arrays)))]
        arrays[name], array = arrays[other], array
        arrays[other] = array
        return f"{name} <-> {other}"
    elif kind == "empty":
        array = np.zeros([0, (0, 5), (3, 0)][int(rng.integers(3))], array.dtype)
    elif kind == "order":
        array = np.asfortranarray(array)
    elif kind == "missing":
        del arrays[name]
        return f"without {name}"
    arrays[name] = array
    return f"{name}: {kind}"


def wicked(target, rng):
    """Return an archive that abuses the format itself."""
    members = _members(target.content)
    names = list(members)
    name = names[int(rng.integers(len(names)))]
    kind = str(rng.choice(list(_WICKED)))
    return f"{kind} of {name}", _WICKED[kind](members, name, rng)


def _npy(descr, shape, data=b"", order="False", version=b"\x01\x00"):
    head = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(head)) + head + data


def npy_of(array):
    """Return the bytes of a ``.npy`` file, of objects too."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _object_array(members, name, rng):
    return _zip(members | {name: npy_of(np.array([Bomb()], dtype=object))})


def _odd_array(members, name, rng):
    return _zip(members | {name: odd_npy(rng)})


def odd_npy(rng):
    """Return a ``.npy`` file whose header declares what nobody should believe."""
    descriptions = [
        "'<f8'",
        "'|O'",
        "[('a', '<f8')]",
        "'<U0'",
        "'<f8",
        "__import__('os').abort()",
        "'V8'",
        "'<M8[s]'",
    ]
    shapes = [
        *(
            "(1000000000000,)",
            "(3, -1)",
            "(4294967296, 4294967296)",
            "(0, 10000000000000000000000)",
            "(True,)",
        ),
        *("()", "(5", "(" * 500, "-" * 900 + "1", "(9**9**9,)", "(2,) * 10**9", "(0, 1000000000000)"),
    ]
    description, shape = (str(rng.choice(choice)) for choice in (descriptions, shapes))
    versions = [b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\xff\xff"]
    version = versions[min(int(rng.integers(8)), 3)] if rng.random() < 0.3 else versions[0]
    return _npy(description, shape, rng.bytes(8), version=version)


def bomb(target, rng):
    """Return an archive with a member that unpacks to far more than the file."""
    members = _members(target.content)
    name = str(rng.choice(list(members)))
    size = int(rng.choice([30, 300, 900])) * 2**20
    honest = bool(rng.integers(2))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for key, data in members.items():
            if key != name:
                archive.writestr(key, data)
        with archive.open(name, "w", force_zip64=True) as member:
            member.write(_npy("'|u1'", f"({size if honest else 10},)"))
            for _ in range(size // 2**20):
                member.write(bytes(2**20))
    return f"{size} bytes in {name}", buffer.getvalue()


def _twice(members, name, rng):
    import warnings

    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        for key, data in [*members.items(), (name, members[str(rng.choice(list(members)))])]:
            archive.writestr(key, data)
    return buffer.getvalue()


def _renamed(members, name, rng):
    other = str(
        rng.choice(
            ["../../evil.npy", "/etc/evil.npy", "a\\b.npy", "", ".npy", "header", "C:x.npy", "\u202e.npy"]
        )
    )
    return _zip({other if key == name else key: data for key, data in members.items()})


def _declared(members, name, rng):
    """Change a number of the central directory: sizes, offsets, flags, method, count."""
    data = bytearray(_zip(members))
    start = data.rfind(b"PK\x05\x06")
    (directory,) = struct.unpack("<I", data[start + 16 : start + 20])
    at = int(rng.integers(directory, len(data)))
    data[at : at + 4] = struct.pack("<I", int(rng.choice([0, 1, 8, 14, 2**16, 2**31, 2**32 - 1])))
    return bytes(data)


def _text(members, name, rng):
    """Replace the header by text that is hard on parsers."""
    texts = [
        *(
            b"[" * 100000,
            b'{"a":' * 50000,
            b"1" * 5000,
            b'{"format": NaN}',
            b"",
            b"\xff\xfe",
            b"null",
            b"[]",
            b"3",
        ),
        *(
            b'{"format": "sparsegen_classic model", "format": "sparsegen_classic model"}',
            b"[" + b"1," * 10**6 + b"1]",
        ),
    ]
    text = texts[int(rng.integers(len(texts)))]
    return _zip(members | {"header.npy": _npy("'|u1'", f"({len(text)},)", text)})


def _joined(members, name, rng):
    whole = _zip(members)
    return [b"MZ" + whole, whole + whole, whole + b"x" * 70000, whole[:-22] + whole][int(rng.integers(4))]


_WICKED = {
    "object array": _object_array,
    "odd array": _odd_array,
    "twice": _twice,
    "renamed": _renamed,
    "declared": _declared,
    "text": _text,
    "joined": _joined,
}


class Bomb:
    """What a pickle would make go off."""

    def __reduce__(self):
        return (eval, ("__import__('os').abort()",))


def _members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name or " "), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _unpack(content):
    with np.load(io.BytesIO(content)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(arrays.pop("header").tobytes()) if "header" in arrays else {}
    return header, arrays


def _pack(header, arrays):
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(buffer, **({"header": text} if header else {}), **arrays)
    return buffer.getvalue()


def _sign(header, arrays):
    """Declare the arrays as they are and put the checksum right, as a forger would."""
    if isinstance(header.get("arrays"), dict):
        header["arrays"] = {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()}
    header.pop("sha256", None)
    digest = hashlib.sha256(json.dumps(header).encode())
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).tobytes())
    header["sha256"] = digest.hexdigest()


def run(folder, n_files, seed):
    """Return what became of ``n_files`` mutated files: {kind of mutation: Tally}."""
    rng = np.random.default_rng(seed)
    corpus = targets(folder)
    tallies = {kind: Tally() for kind in ("damaged", "forged", "wicked", "bomb")}
    path = folder / "mutant.npz"
    for i in range(n_files):
        target = corpus[i % len(corpus)]
        kind = (
            "bomb"
            if i % 500 == 499
            else str(rng.choice(["damaged", "damaged", "forged", "forged", "wicked"]))
        )
        if kind == "damaged":
            what, content = damaged(target.content, rng)
        else:
            what, content = {"forged": forged, "wicked": wicked, "bomb": bomb}[kind](target, rng)
        path.write_bytes(content)
        may_differ = kind != "damaged"
        tallies[kind].judge(
            path, target.load, target.use, target.expected, may_differ, f"{target.name}: {what}"
        )
    return tallies
