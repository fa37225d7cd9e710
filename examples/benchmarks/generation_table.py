"""Rows of figures of generated images: kept as they are measured, shown, and held against what is wanted."""

import hashlib
import json
import sys
import time
from pathlib import Path

import numpy as np

import sparsegen_classic

COLUMNS = {  # figure: its head and format
    "frechet": ("Frechet", ".2f"),
    "coverage": ("coverage", ".3f"),
    "density": ("density", ".2f"),
    "confidence": ("confid.", ".4f"),
    "accuracy": ("right", ".4f"),
    "copy": ("copy P", ".3f"),
    "near_copies": ("near", ".4f"),
    "seen_supports": ("seen", ".4f"),
}
LEGEND = """right: of the class asked for, says the network; copy P: probability that a sample is further from
the training images than a held-out image is; near: nearer to one than 99 % of held-out images are;
seen: support equal to that of a training image."""
OURS, RECONSTRUCTIONS, REAL = "ours", "our reconstructions", "real images"
OURS_BARE, RANDOM = "ours, just clipped", "random combinations"
BEST_OF = ("grouped normals", "PPCA", "factor analysers", "10 normals, PCA-50", "kernels, PCA-50")
TONED, TONE = ("grouped normals", "factor analysers"), " + tone"


class Rows:
    """The rows measured so far, in a file that is written anew after each."""

    def __init__(self, path, fresh):
        self.path, self.code, self.known = Path(path), code_hash(), {}
        self.since = time.perf_counter()
        if self.path.exists() and not fresh:
            kept = json.loads(self.path.read_text())
            self.known = kept["rows"] if kept["code"] == self.code else {}

    def measure(self, key, total, make):
        """Return the row of a key, measured by ``make`` if it is not known."""
        if key not in self.known:
            self.known[key] = row = make()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = self.path.with_suffix(".new")
            new.write_text(json.dumps({"code": self.code, "rows": self.known}))
            new.replace(self.path)
            now = time.perf_counter()
            done, seconds, self.since = f"[{len(self.known)}/{total}]", now - self.since, now
            distance = f": Frechet {row['frechet']:.2f}" if "frechet" in row else ""
            print(f"{done} {key}{distance} ({seconds:.0f} s)", file=sys.stderr, flush=True)
        return self.known[key]


def code_hash():
    """Return what changes with the code of the package, or of the benchmark."""
    files = [
        *Path(sparsegen_classic.__file__).parent.rglob("*.py"),
        *Path(__file__).parent.glob("*generation*.py"),
    ]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


def show(parts):
    """Print the mean over seeds of every row and, with several seeds, the standard deviation."""
    names = list(parts[0])
    keys = [key for key in COLUMNS if any(np.isfinite(part[name][key]) for part in parts for name in names)]
    width = max(map(len, names)) + 2
    print("".ljust(width) + "".join(COLUMNS[key][0].rjust(17 if len(parts) > 1 else 10) for key in keys))
    for name in names:
        print(
            name.ljust(width)
            + "".join(cell([part[name][key] for part in parts], COLUMNS[key][1]) for key in keys)
        )


def cell(values, form):
    if not np.isfinite(values).all():
        return "".rjust(17 if len(values) > 1 else 10)
    text = format(np.mean(values), form)
    return text.rjust(10) if len(values) == 1 else f"{text} +-{np.std(values, ddof=1):{form}}".rjust(17)


def verdicts(parts):
    """Say of each target whether it is met."""
    mean = {name: {key: np.mean([part[name][key] for part in parts]) for key in COLUMNS} for name in parts[0]}
    own, real = mean[OURS], mean[REAL]
    best = min((name for name in BEST_OF if name in mean), key=lambda name: mean[name]["frechet"])
    fair = min((name for name in mean if name.endswith(TONE)), key=lambda name: mean[name]["frechet"])
    for what, name, most in (
        ("best baseline", best, 0.7),
        ("with a tone curve", fair, 0.7),
        ("ceiling", RECONSTRUCTIONS, 1.0),
    ):
        ratio = own["frechet"] / mean[name]["frechet"]
        claim(
            ratio <= most,
            f"Frechet distance {ratio:.2f} times that of {name} ({what}; wanted at most {most})",
        )
    claim(
        own["coverage"] >= 0.95,
        f"coverage {own['coverage']:.3f} (wanted 0.95; real images: {real['coverage']:.3f})",
    )
    if np.isfinite(own["confidence"]):
        claim(own["confidence"] >= 0.985, f"confidence {own['confidence']:.4f} (wanted 0.985)")
    claim(
        0.4 <= own["copy"] <= 0.6,
        f"copy P {own['copy']:.3f} (wanted 0.4 to 0.6; {best}: {mean[best]['copy']:.3f})",
    )
    claim(
        own["seen_supports"] < 0.005,
        f"supports seen in training {own['seen_supports']:.2%} (wanted under 0.5 %)",
    )
    print(
        f"  Above the floor of real images ({real['frechet']:.2f}) by {own['frechet'] - real['frechet']:.2f}."
    )


def claim(met, text):
    print(f"  {'met:    ' if met else 'NOT MET:'} {text}")


def limits(rows):
    """Say what each part of the model adds to the Frechet distance."""
    far = {name: row["frechet"] for name, row in rows.items()}
    steps = {
        "reconstruction": ("unseen images themselves", "their reconstructions"),
        "coefficients (on real supports)": ("their reconstructions", "their supports, coefficients drawn"),
        "supports (on real sketches)": ("their supports, coefficients drawn", "their sketches, codes drawn"),
        "sketches": ("their sketches, codes drawn", "sketches and codes drawn"),
    }
    total = far["sketches and codes drawn"] - far["unseen images themselves"]
    for name, (before, after) in steps.items():
        print(f"  {name}: {far[after] - far[before]:+.2f} of {total:.2f}")
    other = far["supports drawn, best coefficients"] - far["their reconstructions"]
    print(f"  drawn supports against real ones if both had their best coefficients: {other:+.2f}")
