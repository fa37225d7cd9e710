"""Convolutional dictionary learning: seconds to an objective, against SPORCO's online learner.

90 natural images 180x180 to learn from and 10 to judge by (``natural/train400_100``; without the data set,
tiles of scikit-learn's two photographs), grey, without their low frequencies (``split_lowpass``); 64 filters
8x8 from the same random patches, lam = 0.1, float32; SPORCO takes one image after the other, ours two at a
time. The dictionaries on the way are judged by their average objective on the unseen images, by the same
pursuit (gap 1e-3). SPORCO 0.2.2 runs in an environment of its own (``.venv/sporco`` beside this file, made at
the first run) for 120 s with its defaults, and with the settings of its example (50 iterations of ADMM an
image). For each level that SPORCO reaches, the seconds of both and their ratio.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from surroundings import DATA, python_with

LIMIT, LAM = 120.0, 0.1
SETTINGS = {
    "SPORCO defaults": {},
    "SPORCO example": {
        "eta_a": 10.0,
        "eta_b": 20.0,
        "CBPDN": {"rho": 5.0, "AutoRho": {"Enabled": True}, "RelStopTol": 1e-4, "MaxMainIter": 50},
    },
}


def images():
    """Return 90 images to learn from and 10 to judge by, float32 (n, h, w)."""
    from sparsegen_classic import open_images
    from sparsegen_classic.convolutional import split_lowpass

    source = DATA / "natural" / "train400_100"
    if source.is_dir():
        found = open_images(source).images
    else:
        from sklearn.datasets import load_sample_images

        grey = [photograph.mean(axis=2) / 255 for photograph in load_sample_images().images]
        corners = np.random.default_rng(0).integers(0, (427 - 180, 640 - 180), (100, 2))
        tiles = [grey[i % 2][y : y + 180, x : x + 180] for i, (y, x) in enumerate(corners)]
        found = np.stack(tiles).astype(np.float32)
    high = split_lowpass(found)[0]
    order = np.random.default_rng(0).permutation(len(high))
    return high[order[:90]], high[order[90:]]


def initial_filters(train):
    rng = np.random.default_rng(0)
    places = zip(rng.integers(len(train), size=64), rng.integers(0, 172, (64, 2)), strict=True)
    patches = np.stack([train[i, y : y + 8, x : x + 8] for i, (y, x) in places])
    return patches / np.linalg.norm(patches, axis=(1, 2))[:, None, None]


def ours(train, filters, **options):
    """Return seconds and filters after every batch, and after every pass once all images were seen."""
    from sparsegen_classic.convolutional import ConvDictionaryLearning

    options = {"lam": LAM, "init": filters[:, None], "n_jobs": 2, "random_state": 0} | options
    ConvDictionaryLearning(64, 8, **options).fit(train[:4])  # compile
    model = ConvDictionaryLearning(64, 8, **options)
    seconds, learned, spent = [], [], 0.0
    batches = np.array_split(np.random.default_rng(1).permutation(len(train)), len(train) // 2)
    while spent < LIMIT / 4:
        for batch in batches:
            start = time.perf_counter()
            model.partial_fit(train[batch])
            spent += time.perf_counter() - start
            seconds.append(spent)
            learned.append(model.filters_[:, 0].copy())
    return np.array(seconds), np.array(learned)


def sporco(train, filters, setting):
    """Run SPORCO's online learner; called in the peers' environment."""
    from sporco.dictlrn import onlinecdl

    options = {"Verbose": False, "DataType": np.float32, "IterTimer": "solve"}
    for limit in (0.0, LIMIT):  # the first round warms up
        chosen = onlinecdl.OnlineConvBPDNDictLearn.Options(options | SETTINGS[setting])
        chosen["CBPDN", "DataType"] = np.float32
        learner = onlinecdl.OnlineConvBPDNDictLearn(filters.transpose(1, 2, 0).copy(), LAM, chosen, dimK=0)
        rng, seconds, learned, spent = np.random.default_rng(1), [], [], 0.0
        while not spent or spent < limit:
            for i in rng.permutation(len(train)):
                start = time.perf_counter()
                learner.solve(train[i])
                spent += time.perf_counter() - start
                seconds.append(spent)
                learned.append(np.asarray(learner.getdict()).squeeze().transpose(2, 0, 1).copy())
                if spent >= limit:
                    break
    return np.array(seconds), np.array(learned)


def in_peers_environment(train, filters, setting):
    """Install SPORCO if it is not there, and run it in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        given, taken = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(given, train=train, filters=filters)
        subprocess.run([python_with("sporco"), __file__, "--peer", given, taken, setting], check=True)
        with np.load(taken) as answer:
            return answer["seconds"], answer["filters"]


def judge(test, seconds, filters, n=8):
    """Return about ``n`` rows (seconds, average objective on unseen images), evenly in log time."""
    from sparsegen_classic.convolutional import ConvDictionary, ConvSparseCoder

    at = np.searchsorted(seconds, np.geomspace(max(seconds[0], 1e-9), max(seconds[-1], 1e-9), n)).clip(
        max=len(seconds) - 1
    )
    rows = []
    for i in np.unique(at):
        coder = ConvSparseCoder(ConvDictionary(filters[i][:, None]), LAM, tol=1e-3, n_jobs=2)
        rows.append((seconds[i], coder.encode(test[:, None]).objective.mean()))
    return np.array(rows)


def main():
    train, test = images()
    filters = initial_filters(train)
    start = judge(test, np.zeros(1), filters[None])[0, 1]
    print(f"average objective of 10 unseen images: {start:.4f} with the initial filters")
    mine = judge(test, *ours(train, filters), n=16)
    print("sparsegen_classic: " + ", ".join(f"{t:.2f} s {value:.4f}" for t, value in mine), flush=True)
    for setting in SETTINGS:
        theirs = judge(test, *in_peers_environment(train, filters, setting))
        print(f"\n{setting}\n{'objective':>12}{'its s':>9}{'our s':>9}{'ratio':>8}")
        for t, value in theirs:
            reached = mine[:, 1] <= value
            us = mine[np.argmax(reached), 0] if reached.any() else np.inf
            print(f"{value:12.4f}{t:9.2f}{us:9.2f}{t / us:8.1f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        with np.load(sys.argv[2]) as given:
            seconds, filters = sporco(given["train"], given["filters"], sys.argv[4])
        np.savez(sys.argv[3], seconds=seconds, filters=filters)
    else:
        main()
