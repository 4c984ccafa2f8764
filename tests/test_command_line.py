"""The command on a small model with random weights, whose gradient follows them and whose edges do not."""

import contextlib
import io
import json
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

from saliency_jax.command_line import main
from saliency_jax.command_line.outcome import all_pass, outcome_lines
from saliency_jax.command_line.user_images import classes_to_explain, read_pictures, scaled
from saliency_jax.command_line.user_model import load_model
from saliency_jax.data.images import from_folder
from saliency_jax.results import read_dataset

SIZE, COUNT = 12, 12
MODEL = f"""
import jax
import jax.numpy as jnp

def init(key):
    first, second = jax.random.split(key)
    return {{
        "hidden": {{"kernel": jax.random.normal(first, ({SIZE * SIZE}, 16))}},
        "logits": {{"kernel": jax.random.normal(second, (16, 3)), "bias": jnp.zeros(3)}},
    }}

def apply(params, images):
    hidden = jax.nn.relu(images.reshape(len(images), -1) @ params["hidden"]["kernel"])
    return hidden @ params["logits"]["kernel"] + params["logits"]["bias"][None]

def load():
    print("a model may print")
    return apply, init(jax.random.key(7)), init

def without_init():
    return load()[:2]

def wrong():
    return apply

def failing():
    raise RuntimeError("no weights here")
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny_user_model.py"
    path.write_text(MODEL)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for i in range(COUNT):
        Image.fromarray(random.integers(0, 256, (8, 8), np.uint8)).resize((SIZE + 2,) * 2).save(folder / f"{i:02d}.png")
    return folder


def arguments(model, pictures, out, *more, function="load"):
    given = ["check", "--model", f"{model}:{function}", "--images", str(pictures), "--size", str(SIZE)]
    return [*given, "--channels", "1", "--seeds", "1", "--out", str(out), *map(str, more)]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out") / "results"


@pytest.fixture(scope="module")
def checked(model, pictures, out):
    """One run of the command, as a user's shell sees it."""
    words = arguments(model, pictures, out, "--explainers", "gradient", "edges", "--json")
    return subprocess.run(
        [sys.executable, "-m", "saliency_jax.command_line", *words], capture_output=True, text=True, timeout=300
    )


def test_an_explainer_that_ignores_the_model_makes_the_command_fail(checked):
    assert checked.returncode == 1, checked.stderr
    found = json.loads(checked.stdout)
    assert found["passed"] is False
    assert {name: one["verdict"] for name, one in found["explainers"].items()} == {
        "gradient": "depends",
        "edges": "no dependence found",
    }
    edges = found["explainers"]["edges"]["metrics"]["spearman"]
    assert edges["similarity"] == pytest.approx(1, abs=1e-5)
    assert edges["effect"] == pytest.approx(0, abs=1e-5)


def test_progress_and_what_the_model_prints_go_to_the_other_stream(checked):
    assert "a model may print" in checked.stderr
    # Two explainers, one seed: 1 + 2 * (1 + 1) parts, and the time that is left.
    assert "5/5" in checked.stderr
    assert "part" in checked.stderr


def test_results_and_the_report_are_written(checked, out):
    dataset = read_dataset(out / "results.nc")
    assert dataset.sizes["image"] == COUNT
    assert dataset.stage.values.tolist() == ["logits", "hidden"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "saliency-jax check --model" in page
    assert "edges, control that knows no model" in page
    assert len((out / "results.csv").read_text().splitlines()) == 1 + dataset.similarity.size


@pytest.fixture(scope="module")
def passed(model, pictures, tmp_path_factory):
    """A run in this process: its folder, what it printed and its exit code."""
    folder = tmp_path_factory.mktemp("passed") / "results"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main(arguments(model, pictures, folder, "--explainers", "gradient"))
    return folder, printed.getvalue(), code


def test_the_chosen_explainers_alone_decide_and_edges_runs_beside_them(passed):
    _, said, code = passed
    assert code == 0
    assert "PASS gradient" in said
    assert "edges (control)" in said
    assert "FAIL" not in said
    assert "a model may print" not in said


def test_an_undecided_explainer_does_not_pass(checked, out):
    from saliency_jax import verdicts

    few = verdicts(read_dataset(out / "results.nc").isel(image=slice(2)))
    assert few.verdict.sel(explainer="gradient").item() == "undecided"
    assert not all_pass(few, ["gradient"])
    assert outcome_lines(few, ["gradient"])[-1].startswith("undecided: too little was measured; more images")
    dead = few.assign(dead_models=few.dead_models + 1)
    assert outcome_lines(dead, ["gradient"])[-1].endswith(f"{int(dead.dead_models.sum())} random models were dead")


def test_another_run_in_the_folder_is_not_overwritten(passed, model, pictures, capsys):
    folder, _, _ = passed
    before = (folder / "results.nc").read_bytes()
    assert main(arguments(model, pictures, folder, "--explainers", "gradient", "--seed", 1)) == 2
    said = capsys.readouterr().err
    assert "holds a run of another configuration" in said
    assert "arrays/key" in said
    assert "explainers/" not in said
    assert (folder / "results.nc").read_bytes() == before


def test_a_report_is_made_of_a_folder_that_was_broken_off(checked, out, tmp_path, capsys):
    parts = tmp_path / "parts"
    parts.mkdir()
    for path in (out / "parts").iterdir():
        if path.name != "maps-edges-0.nc":
            (parts / path.name).write_bytes(path.read_bytes())
    assert main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "This run was broken off" in page
    assert "edges: everything" in page


def test_ctrl_c_leaves_a_report_of_what_is_finished(model, pictures, tmp_path, monkeypatch, capsys):
    from saliency_jax.command_line import check

    def stopped(*args, folder, **options):
        (folder / "configuration.json").parent.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "parameter_randomization", stopped)
    monkeypatch.setattr(check, "write_report", lambda folder, **options: folder / "report.html")
    assert main(arguments(model, pictures, tmp_path / "out")) == 128 + signal.SIGINT
    said = capsys.readouterr().err
    assert f"report of what is finished: {tmp_path / 'out' / 'report.html'}" in said
    assert "the same command goes on" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--model": "no_such_module:load"}, "cannot import no_such_module: ModuleNotFoundError"),
        ({"--model": "json"}, "--model must be MODULE:FUNCTION or FILE.py:FUNCTION, got 'json'"),
        ({"--model": "json:load_all"}, "json has no function 'load_all'"),
        ({"--model": "{model}:wrong"}, "must return (apply, params) or (apply, params, init), got function"),
        ({"--model": "{model}:failing"}, "raised RuntimeError: no weights here"),
        ({"--images": "{empty}"}, "must hold pictures"),
        ({"--images": "nowhere"}, "there is no folder nowhere"),
        ({"--size": "9"}, "are --size and --channels what the model takes?"),
        ({"--explainers": "gradiant"}, "--explainers must be among"),
        ({"--explainers": "grad_cam"}, "--explainers: grad_cam cannot explain this model"),
        ({"--labels": "folders"}, "--labels folders needs a folder for each class"),
        ({"--labels": "{wrong_labels}"}, "--labels must be classes in [0, 3), found 0 to 11"),
        ({"--scale": "imagenet"}, "--scale imagenet needs --channels 3, got 1"),
        ({"--model": "{model}:without_init", "--protocol": "released_code"}, "--model returned none"),
    ],
)
def test_bad_input_is_one_line_and_the_code_2(model, pictures, tmp_path, capsys, change, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "labels.txt").write_text("\n".join(map(str, range(COUNT))))
    places = {"model": model, "empty": tmp_path / "empty", "wrong_labels": tmp_path / "labels.txt"}
    words = arguments(model, pictures, tmp_path / "out")
    for flag, value in change.items():
        words += [flag, value.format(**places)]
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.splitlines()[-1]
    assert line.startswith("saliency-jax: ")
    assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: TASK"),
        (["check", "--images", "x"], "the following arguments are required: --model"),
        (["check", "--model", "a:b", "--images", "x", "--seeds", "0"], "argument --seeds: must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_one_line_and_the_code_2(words, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_model_is_found_by_module_too_and_may_come_without_an_initializer(model, monkeypatch):
    monkeypatch.chdir(model.parent)
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = load_model(f"{model.stem}:without_init")
    assert found.init is None
    assert found.apply(found.params, np.zeros((2, SIZE, SIZE, 1), np.float32)).shape == (2, 3)


def test_pictures_become_the_values_that_were_asked_for(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[...] = (255, 0, 51)
    for name in ("a", "b", "c", "d"):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    pictures, colours = read_pictures(tmp_path, size=8, channels=3, limit=2)
    assert pictures.names == ("a.png", "c.png")
    assert colours == pytest.approx(np.broadcast_to([1, 0, 0.2], (2, 8, 8, 3)))
    assert scaled(colours, "signed")[0, 0, 0] == pytest.approx([1, -1, -0.6])
    # (value - mean) / deviation with ImageNet's means and deviations, as torchvision gives them.
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    assert scaled(colours, "imagenet")[0, 0, 0] == pytest.approx(expected, rel=1e-6)
    _, grey = read_pictures(tmp_path, size=8, channels=1, limit=1)
    # ITU-R BT.601: Y = 0.299 R + 0.587 G + 0.114 B.
    assert grey.shape == (1, 8, 8, 1)
    assert grey == pytest.approx(np.full(grey.shape, 0.299 + 0.2 * 0.114))


def test_classes_come_from_the_model_from_folders_or_from_a_file(tmp_path):
    for name in ("owl/1.png", "owl/2.png", "ant/1.png"):
        path = tmp_path / "birds" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    pictures = from_folder(tmp_path / "birds")
    assert classes_to_explain("predicted", pictures, lambda: np.array([4, 5, 6])).tolist() == [4, 5, 6]
    assert classes_to_explain("folders", pictures, lambda: np.array([])).tolist() == [0, 1, 1]
    file = tmp_path / "classes.txt"
    file.write_text(textwrap.dedent("2\n1\n0\n"))
    assert classes_to_explain(str(file), pictures, lambda: np.array([])).tolist() == [2, 1, 0]
    file.write_text("2 1")
    with pytest.raises(ValueError, match="must hold 3 classes, one a picture, got 2"):
        classes_to_explain(str(file), pictures, lambda: np.array([]))
