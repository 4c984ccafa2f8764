"""A `parameter_randomization` that is broken off and started again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from small_models import apply, case, init, sweep

import saliency_jax as sj
from saliency_jax import results
from saliency_jax.sanity import PROTOCOLS, own_initializer, truncated_normal

PARTS = 2 + 2 * 3


def halves(score, image):
    return jnp.where(image > 0, jnp.nan, image)


def times(factor):
    return lambda score, image, key=None: factor * sj.gradient(score, image)


BROKEN = []


def halves_unless_broken(score, image, key=None):
    """Its state is found by a global name, as a library's or a device's would be: it is no option of the function."""
    if BROKEN:
        raise RuntimeError("the second explainer breaks off")
    return halves(score, image)


EXPLAINERS = {"doubled": times(2), "halves": halves_unless_broken}


class Stop(Exception):
    pass


def stop_after(count):
    def progress(name, done, total):
        assert total == PARTS
        if done == count:
            raise Stop

    return progress


def run(folder=None, *, explainers=EXPLAINERS, **options):
    return sweep(explainers, folder=folder, **{"seeds": 2, **options})


def files(folder):
    """The parts there are, and what shows whether one was written again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("*.nc")}


@pytest.fixture(scope="module")
def undisturbed():
    return run()


@pytest.mark.parametrize("count", [1, 4, PARTS])
def test_a_run_that_is_broken_off_and_started_again_equals_one_that_was_left_alone(tmp_path, undisturbed, count):
    with pytest.raises(Stop):
        run(tmp_path, progress=stop_after(count))
    finished = files(tmp_path)
    assert len(finished) == count
    again = run(tmp_path)
    xr.testing.assert_identical(again, undisturbed)
    assert len(files(tmp_path)) == PARTS
    assert finished.items() <= files(tmp_path).items()


def test_an_explainer_that_raises_leaves_what_was_finished(tmp_path, undisturbed, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("test_resume.BROKEN", [True])
        with pytest.raises(RuntimeError, match="breaks off"):
            run(tmp_path)
    finished = files(tmp_path)
    assert len(finished) == PARTS - 3
    xr.testing.assert_identical(run(tmp_path), undisturbed)
    assert finished.items() <= files(tmp_path).items()


def test_finished_parts_are_read_and_not_measured_again(tmp_path, undisturbed):
    def never(*args):
        raise AssertionError("a finished part was measured again")

    run(tmp_path)
    finished = files(tmp_path)
    assert len(finished) == PARTS
    with pytest.MonkeyPatch.context() as patch:
        for measure in ("measure_models", "measure_null", "measure_explainers"):
            patch.setattr(f"saliency_jax.sanity.sweep.{measure}", never)
        again = run(tmp_path)
    xr.testing.assert_identical(again, undisturbed)
    assert files(tmp_path) == finished


@pytest.mark.slow
def test_explainers_that_share_their_work_are_measured_as_alone_and_again_where_a_part_of_one_is_lost(tmp_path):
    smooth = {"mean": sj.smoothgrad(sj.gradient, samples=4), "variance": sj.vargrad(sj.gradient, samples=3)}
    explainers = {"mean": smooth["mean"], "doubled": times(2), "variance": smooth["variance"]}
    shared = run(tmp_path, explainers=explainers)
    assert shared["explainer"].values.tolist() == ["mean", "doubled", "variance"]
    for name, explain in explainers.items():
        xr.testing.assert_allclose(run(explainers={name: explain}), shared.sel(explainer=[name]), atol=1e-5)
    (tmp_path / "maps-variance-1.nc").unlink()
    xr.testing.assert_identical(run(tmp_path, explainers=explainers), shared)


def test_leftovers_of_a_write_that_was_killed_are_never_read(tmp_path, undisturbed):
    with pytest.raises(Stop):
        run(tmp_path, progress=stop_after(1))
    for name in ("maps-halves-0.nc", "models-0.nc", "models-1.nc", "configuration.json"):
        (tmp_path / f".{name}.123.partial").write_bytes(b"half of a file")
    xr.testing.assert_identical(run(tmp_path), undisturbed)


def test_parts_that_cannot_be_read_are_measured_again_and_kept_aside(tmp_path, undisturbed):
    run(tmp_path)
    finished = files(tmp_path)
    damages = {
        "maps-halves-1": lambda content: content[: len(content) // 2],
        "null-halves": lambda content: b"",
        "models-1": lambda content: b"not netCDF",
        "maps-halves-0": lambda content: content[:-8],
    }
    damaged = {}
    for name, damage in damages.items():
        path = tmp_path / f"{name}.nc"
        damaged[path] = damage(path.read_bytes())
        path.write_bytes(damaged[path])
    xr.testing.assert_identical(run(tmp_path), undisturbed)
    for path, content in damaged.items():
        assert path.with_suffix(".unreadable").read_bytes() == content
    others = finished.keys() - {path.name for path in damaged}
    assert len(others) == PARTS - len(damages)
    assert all(files(tmp_path)[name] == finished[name] for name in others)


CHANGED = {
    "seeds": dict(seeds=3),
    "arrays/params": dict(params=init(jax.random.key(99))),
    "arrays/images": dict(images=case().images * 2),
    "arrays/targets": dict(targets=(case().targets + 1) % 3),
    "arrays/key": dict(key=jax.random.key(99)),
    "arrays/evaluation": dict(evaluation=(case().images[:2], case().targets[:2])),
    "explainers/doubled": dict(explainers=EXPLAINERS | {"doubled": times(3)}),
    "explainers/halves": dict(explainers={"doubled": EXPLAINERS["doubled"]}),
    "metrics/pearson": dict(metrics={"pearson": sj.cosine}),
    "stages": dict(order="bottom_up"),
    "explained_class": dict(protocol=PROTOCOLS["released_code"]._replace(explained_class="original")),
    "fresh": dict(init=lambda key: init(key)),
    "kept_images": dict(kept_images=1),
    "apply": dict(apply=lambda params, images: 2 * apply(params, images)),
}


@pytest.mark.parametrize("entry", CHANGED)
def test_a_folder_of_another_configuration_is_refused_and_what_differs_is_named(tmp_path, entry):
    with pytest.raises(Stop):
        run(tmp_path, progress=stop_after(1))
    before = files(tmp_path)
    with pytest.raises(ValueError, match=rf"another configuration \((.*; )?{entry}: .* there, .* asked") as caught:
        run(tmp_path, **CHANGED[entry])
    assert str(tmp_path) in str(caught.value)
    assert files(tmp_path) == before


def test_two_scales_of_fresh_weights_are_two_configurations(tmp_path):
    def protocol(stddev):
        return PROTOCOLS["paper"]._replace(fresh=lambda init: truncated_normal(stddev))

    with pytest.raises(Stop):
        run(tmp_path, protocol=protocol(0.01), progress=stop_after(1))
    with pytest.raises(ValueError, match=r"fresh: .*stddev=0.01.* there, .*stddev=0.1"):
        run(tmp_path, protocol=protocol(0.1))
    with pytest.raises(ValueError, match=r"fresh: "):
        run(tmp_path, protocol=protocol(0.01)._replace(fresh=own_initializer))


def test_two_numbers_of_samples_under_one_name_are_refused_and_both_are_shown(tmp_path):
    def smoothed(samples):
        return {"smoothgrad": sj.smoothgrad(sj.gradient, samples=samples)}

    with pytest.raises(Stop):
        sweep(smoothed(50), folder=tmp_path, progress=lambda name, done, total: stop_at(done, 1))
    with pytest.raises(ValueError, match=r"explainers/smoothgrad: .*samples=50.* there, .*samples=25.* asked"):
        sweep(smoothed(25), folder=tmp_path)


def test_a_full_disk_says_so_and_the_run_goes_on_when_there_is_room(tmp_path, undisturbed, monkeypatch):
    """Every write past the third goes to /dev/full, where the kernel itself says that there is no space."""
    written = []

    def on_a_full_disk(path, *args):
        written.append(path)
        return open("/dev/full" if len(written) > 4 else path, *args)

    with monkeypatch.context() as patch:
        patch.setattr(results, "open", on_a_full_disk, raising=False)
        with pytest.raises(OSError, match="No space left on device") as caught:
            run(tmp_path)
    assert any("finished before are whole" in note and str(tmp_path) in note for note in caught.value.__notes__)
    finished = files(tmp_path)
    assert len(finished) == 3
    assert not list(tmp_path.glob(".*.partial"))
    xr.testing.assert_identical(run(tmp_path), undisturbed)
    assert finished.items() <= files(tmp_path).items()


def copies(factor):
    return lambda score, image, key=None: factor * image


@pytest.mark.slow
def test_hostile_names_do_not_meet_on_disk(tmp_path):
    names = ["a/b", "a%2fb", "a%2Fb", "..", ".", "ä", "a\u0308", "models", "null-x", "x", "x-0", "", " ", "/0", "˰"]
    hostile = {name: copies(factor) for factor, name in enumerate(names, start=1)}
    metrics = {"m/1": sj.pearson, "ø": sj.cosine}
    given = case(images=2)
    settings = dict(given=given, seeds=2, metrics=metrics, layers=[sj.Layer("ä/..", ("logits/kernel",))])
    with pytest.raises(Stop):
        sweep(hostile, folder=tmp_path, progress=lambda name, done, total: stop_at(done, 17), **settings)
    found = sweep(hostile, folder=tmp_path, **settings)
    again = sweep(hostile, folder=tmp_path, **settings)
    xr.testing.assert_identical(again, found)
    assert len(files(tmp_path)) == 2 + 3 * len(names)
    assert {path.parent for path in tmp_path.rglob("*")} == {tmp_path}
    assert found.explainer.values.tolist() == names and found.metric.values.tolist() == list(metrics)
    for factor, name in enumerate(names, start=1):
        maps = found.maps.sel(explainer=name, model="trained")
        np.testing.assert_allclose(maps, factor * given.images, rtol=1e-6)


def stop_at(done, count):
    if done == count:
        raise Stop
