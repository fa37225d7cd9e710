"""Imports go down only; the first line that climbs is named."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sparsegen_classic"
SHARED = {
    "_validation",
    "_random",
    "_parallel",
    "_files",
    "_archive",
    "_classes",
    "_codes",
    "_listed_codes",
    "_version",
}
DOMAIN = {"images", "pursuit", "dictionary", "support", "coefficients", "metrics", "convolutional"} | {
    "baselines",
    "sketches",
}
FLOORS = [
    {"_kernels"},
    SHARED,
    {"_states", "_rows", "_blocks", "_checkpoint"},  # data on disk
    DOMAIN,
    {"generator", "evaluation", "selection", "restoration", "crosscheck", "neural"},
    {
        "model_checks",
        "model_io",
        "reports",
        "plots",
        "plots_convolutional",
        "plots_crosscheck",
        "plots_encoder",
    },
    {"cli"},
    {"__main__"},
]
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
# rooms of a floor do not use each other, but for this
SIDEWAYS = {
    ("_random", "_validation"),
    ("_checkpoint", "_blocks"),
    ("_checkpoint", "_states"),
    ("dictionary", "pursuit"),
    ("selection", "generator"),
    ("model_io", "model_checks"),
    ("plots_convolutional", "plots"),
    ("reports", "plots"),
    ("plots_encoder", "plots"),
    ("plots_encoder", "reports"),
    ("plots_crosscheck", "plots"),
    ("plots_crosscheck", "reports"),
}
HEAVY = ("matplotlib", "pgmpy", "torch", "jax", "onnx", "onnxruntime", "dask", "distributed")
WANTS_TORCH = "neural"  # the one room that nobody enters without wanting torch


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Yield (line, module, at top level) of every import, type checking blocks left out."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node.lineno, "RELATIVE", id(node) in top
            elif node.module == "sparsegen_classic":
                yield from (
                    (node.lineno, f"{node.module}.{alias.name}", id(node) in top) for alias in node.names
                )
            else:
                yield node.lineno, node.module, id(node) in top


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    here = room_of(path)
    assert here in FLOOR, f"{path}: give the new room {here!r} a floor in this test and in CONTRIBUTING.md"
    for line, module, at_top in imports(path):
        where = f"{path.relative_to(PACKAGE.parent)}:{line} imports {module}"
        assert module != "RELATIVE", f"{where}: write imports in full"
        heavy = module.split(".")[0] in HEAVY and not (
            here == WANTS_TORCH and module.split(".")[0] == "torch"
        )
        assert not (at_top and heavy), f"{where} at import time: import it where it is used"
        parts = module.split(".")
        if parts[0] != "sparsegen_classic" or len(parts) == 1:
            continue
        there = parts[1] if parts[1] in FLOOR else "public"
        if there == "public":  # a name that __init__ imports when it is first used
            assert here == "cli" or parts[1] == "_version", f"{where}: only cli may use public names"
        elif here != there and (here, there) not in SIDEWAYS:
            assert FLOOR[there] < FLOOR[here], f"{where}: imports go down only"


def test_kernel_files_stand_alone():
    for path in (PACKAGE / "_kernels").glob("*.py"):
        for line, module, _ in imports(path):
            assert not module.startswith("sparsegen_classic"), (
                f"{path.name}:{line}: kernels import nothing of ours"
            )


def test_importing_the_package_is_light():
    code = (
        "import sys, sparsegen_classic; "
        "print([m for m in ('numpy', 'sklearn', 'numba', 'matplotlib', 'torch', 'PIL') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_public_name_can_be_imported():
    import sparsegen_classic

    for name in sparsegen_classic.__all__:
        assert getattr(sparsegen_classic, name) is not None
    assert set(sparsegen_classic.__all__) <= set(dir(sparsegen_classic))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        sparsegen_classic.nothing  # noqa: B018
