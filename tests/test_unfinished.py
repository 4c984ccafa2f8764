"""A run that has not ended leaves a page that says so, whatever ends it; the page of one that has ended stays."""

from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr
from parsed_page import Page
from unfinished import NOT_ENDED, run

import saliency_jax as sj
from saliency_jax import results
from saliency_jax.interruption import Interrupted

DOCSTRING = """Does it end?

    python x.py

waits for its end. It should show that it comes.
"""


@dataclass
class Options:
    out: Path
    seed: int = 0


def read(folder, name="report.html"):
    return Page((folder / name).read_text(encoding="utf-8"))


def test_a_kill_at_any_moment_leaves_a_page_that_says_how_to_go_on(tmp_path):
    out = tmp_path / "runs" / "x"

    def main(options):
        page = read(out)
        assert page.all("h1")[0]["text"] == "Does it end?"
        assert NOT_ENDED in page.section("found")["text"] and "nothing" in page.section("found")["text"]
        assert f"python experiments/x.py --out {out}" in {code["text"] for code in page.all("code")}
        results.write_bytes(out / "report.html", b"the answer")

    run(main, Options(out), "x.py", DOCSTRING)
    assert (out / "report.html").read_bytes() == b"the answer"


@pytest.mark.parametrize("end", [RuntimeError("no"), KeyboardInterrupt(), Interrupted("SIGTERM", 15)], ids=repr)
def test_what_was_finished_is_named_and_the_page_of_a_run_that_ended_stays(tmp_path, end):
    def broken(options):
        (tmp_path / "parts").mkdir(exist_ok=True)
        xr.Dataset({"x": 1}).to_netcdf(tmp_path / "parts" / "training-<0>.nc", engine="scipy")
        raise end

    with pytest.raises(type(end)):
        run(broken, Options(tmp_path), "x.py", DOCSTRING)
    page = read(tmp_path)
    assert "Finished: parts/training-<0>.nc." in page.section("found")["text"]
    assert "the figures" in page.section("missing")["text"]
    run(lambda options: (tmp_path / "report.html").write_text("the answer"), Options(tmp_path), "x.py", DOCSTRING)
    with pytest.raises(type(end)):
        run(broken, Options(tmp_path), "x.py", DOCSTRING)
    assert (tmp_path / "report.html").read_text() == "the answer"


def test_a_run_that_is_refused_leaves_no_page_of_its_own(tmp_path):
    def refused(options):
        raise SystemExit("--seed must not be negative")

    with pytest.raises(SystemExit):
        run(refused, Options(tmp_path), "x.py", DOCSTRING, page="pages.html")
    assert list(tmp_path.iterdir()) == []

    def broken(options):
        (tmp_path / "numbers.csv").write_text("1")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        run(broken, Options(tmp_path), "x.py", DOCSTRING)
    before = (tmp_path / "report.html").read_bytes()
    # What the folder holds was made by the command that the page gives.
    with pytest.raises(SystemExit):
        run(refused, Options(tmp_path, seed=-1), "x.py", DOCSTRING)
    assert (tmp_path / "report.html").read_bytes() == before


def test_of_a_randomization_test_the_page_shows_the_explainers_that_are_finished(tmp_path, key):
    def apply(params, x):
        return x.reshape(len(x), -1) @ params["top"]

    def init(key):
        return {"top": jax.random.normal(key, (64, 3))}

    def stop(name, done, total):
        if name == "maps-gradient-0":
            raise RuntimeError("no power")

    def main(options):
        sj.parameter_randomization(
            apply,
            init(key),
            init,
            jax.random.uniform(key, (4, 8, 8, 1)),
            np.zeros(4, int),
            {"gradient": sj.gradient, "gradient_times_input": sj.gradient_times_input},
            key=key,
            seeds=1,
            metrics={"pearson": sj.pearson},
            folder=options.out / "parts",
            progress=stop,
        )

    with pytest.raises(RuntimeError, match="no power"):
        run(main, Options(tmp_path), "x.py", DOCSTRING)
    page = read(tmp_path)
    missing = page.section("missing")["text"]
    assert "This run was broken off" in missing and "gradient times input: everything" in missing
    assert NOT_ENDED in page.section("settings")["text"]
    assert "gradient" in {row["text"] for row in page.all("th", scope="row")}
