"""Imports run one way, and importing the library costs no more than it must."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "saliency_jax"

FOUNDATIONS = {"typing", "checks", "keys", "version"}
EXPLAINING = FOUNDATIONS | {"tracing", "scores", "explainers"}
TESTING = EXPLAINING | {"batches", "similarity", "results", "processes", "meshes"}

MAY_IMPORT = {
    "typing": set(),
    "version": set(),
    "checks": set(),
    "keys": {"checks"},
    "processes": set(),
    "meshes": {"typing"},
    "similarity": {"typing", "checks"},
    # Points stand alone; the layers they are taken from are read by tracing.
    "dimension": FOUNDATIONS | {"tracing"},
    "interruption": set(),
    "results": {"version", "interruption"},
    "tracing": FOUNDATIONS,
    "exhaustion": {"tracing"},
    "precision": {"typing", "checks"},
    "scores": FOUNDATIONS | {"tracing"},
    "batches": FOUNDATIONS | {"tracing", "scores", "processes", "meshes", "exhaustion"},
    "explainers": FOUNDATIONS | {"tracing"},
    "sanity": TESTING,
    "robustness": TESTING | {"sanity"},
    "maximization": FOUNDATIONS | {"tracing"},
    "prototypes": FOUNDATIONS | {"tracing", "scores", "checkpoints", "training"},
    "models": FOUNDATIONS | {"tracing", "data"},
    "data": {"typing"},
    "presets": set(),
    "checkpoints": {"typing"},
    "training": FOUNDATIONS | {"tracing", "checkpoints", "presets"},
    # They read datasets, know what a test calls what it has written there, and enlarge maps as their boxes were found.
    "plotting": {"typing", "sanity", "prototypes"},
    "report": {"sanity", "plotting", "results"},
    "command_line": TESTING | {"sanity", "plotting", "report", "data"},
    "contract": FOUNDATIONS | {"tracing", "scores"},
    "__init__": TESTING | {"precision", "sanity", "dimension", "maximization", "robustness", "contract"},
}
"""Subject -> the other subjects that it may import; its own files may import one another."""


def subject(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_module(name):
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def imported_modules(path):
    """The full names of all modules that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively, which hides what it imports"
            # `from saliency_jax import checkpoints` imports a module and not a name of the package.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if is_module(name) else node.module for name in names)


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_lies_below_it(path):
    assert subject(path) in MAY_IMPORT, f"say in MAY_IMPORT what {subject(path)} may import"
    parts = [module.split(".") for module in imported_modules(path)]
    assert not {"experiments", "tests", "tools"}.intersection(names[0] for names in parts)
    others = {names[1] for names in parts if names[0] == "saliency_jax" and len(names) > 1} - {subject(path)}
    assert others <= MAY_IMPORT[subject(path)]


def test_nothing_that_a_subject_may_import_may_import_it_back():
    def below(name, seen=frozenset()):
        return seen.union(*(below(other, seen | {other}) for other in MAY_IMPORT[name] - seen))

    assert [name for name in MAY_IMPORT if name in below(name)] == []


def test_a_subject_has_no_circles_among_its_own_files():
    edges = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): set(imported_modules(path))
        for path in SOURCES
    }
    done = set()
    while ready := {name for name, needs in edges.items() if name not in done and not (needs & edges.keys()) - done}:
        done |= ready
    assert sorted(edges.keys() - done) == []


HEAVY = ["flax", "optax", "orbax", "matplotlib", "tyro", "tqdm", "skimage"]
READERS = ["tensorflow_datasets", "tensorflow", "array_record", "PIL"]


def test_the_library_and_its_data_are_imported_without_what_only_models_plots_scripts_and_single_sources_need():
    heavy = [*HEAVY, *READERS]
    program = f"import saliency_jax, saliency_jax.data, sys; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"


def test_the_jaxpr_is_opened_in_one_file_alone():
    """Outside of compat nobody reaches into JAX's internals, which differ between versions."""
    for path in SOURCES:
        reached = [m for m in imported_modules(path) if m.startswith(("jax._src", "jax.extend", "jax.interpreters"))]
        assert not reached or path.name == "compat.py", f"{path} imports {reached}"
