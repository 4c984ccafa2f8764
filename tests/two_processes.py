"""What each of several processes runs in `test_processes`: a sweep over the devices of all, and what goes wrong in one.

python two_processes.py PORT PROCESS PROCESSES FOLDER
"""

import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "sanity"))
import small_models
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from saliency_jax import batched, checkpoints, gradient, smoothgrad
from saliency_jax.processes import by_writer, everywhere, is_writer, least

IMAGES = 3
EXPLAINERS = {"gradient": gradient, "smoothgrad": smoothgrad(gradient, samples=2)}


def sweep(mesh, folder, **options):
    """The sweep that every test compares: fewer images than two processes have devices."""
    return small_models.sweep(EXPLAINERS, small_models.case(IMAGES), mesh=mesh, folder=folder, kept_images=1, **options)


def one_of_several(process, folder):
    """All that one process does."""
    mesh = jax.make_mesh((jax.device_count(),), ("images",))
    # Only the first process has the folder of the run: the second one's name is of a file.
    parts = folder / "parts" if is_writer() else folder / "no folder"
    sweep(mesh, parts).to_netcdf(folder / f"measured-{process}.nc", engine="scipy")
    # One part is there no more: it alone is measured again, by all.
    names = []
    if is_writer():
        (parts / "maps-gradient-0.nc").unlink()
    sweep(mesh, parts, progress=lambda name, done, total: names.append(name)).to_netcdf(
        folder / f"resumed-{process}.nc", engine="scipy"
    )
    assert len(names) == 5, names
    check_batches(mesh)
    check_checkpoints(folder / "checkpoints")
    check_errors(mesh, parts)


def check_batches(mesh):
    """Maps of images of which each process brings its own, by weights in pieces on the devices of both."""
    case = small_models.case(8)
    expected = batched(gradient, small_models.apply)(case.params, case.images, case.targets)
    ways = Mesh(mesh.devices.reshape(2, 2), ("images", "model"))
    kernel = {"kernel": PartitionSpec(None, "model"), "bias": PartitionSpec("model")}
    dense = {
        name: jax.make_array_from_callback(leaf.shape, NamedSharding(ways, kernel[name]), np.asarray(leaf).__getitem__)
        for name, leaf in case.params["dense"].items()
    }
    own = np.asarray(case.images)[4 * jax.process_index() : 4 * jax.process_index() + 4]
    images = jax.make_array_from_process_local_data(NamedSharding(ways, PartitionSpec("images")), own)
    maps = batched(gradient, small_models.apply, mesh=ways)(case.params | {"dense": dense}, images, case.targets)
    assert not maps.is_fully_addressable
    np.testing.assert_allclose(everywhere(maps), expected, rtol=1e-5, atol=1e-6)
    assert least(7 + 2 * jax.process_index()) == 7
    alone = Mesh(np.array([d for d in jax.devices() if d.process_index == 0]), ("images",))
    if not is_writer():
        with raised(ValueError, "none of process 1"):
            batched(gradient, small_models.apply, mesh=alone)


def check_checkpoints(folder):
    """Each process holds the whole of a model that was trained: together they save it once, and each reads it.

    The second one is late: the first has made the folder by then, and has to be waited for all the same.
    """
    params = small_models.case().params
    while not is_writer() and not folder.exists():
        time.sleep(0.01)
    checkpoints.save(folder, 1, params)
    jax.tree.map(np.testing.assert_array_equal, checkpoints.restore(folder, params), params)


def check_errors(mesh, parts):
    """What fails in the first process alone fails in all, and what fails in all keeps its own error."""
    with raised(ValueError if is_writer() else RuntimeError, "another configuration"):
        sweep(mesh, parts, seeds=2)

    def no_metric(a, b):
        raise KeyError("no such metric")

    with raised(KeyError, "no such metric"):
        sweep(mesh, None, metrics={"none": no_metric})

    def full():
        assert is_writer()
        raise OSError("no space left")

    with raised(OSError if is_writer() else RuntimeError, "no space left"):
        by_writer(full)


class raised:
    """`pytest.raises` in a program without pytest."""

    def __init__(self, kind, text):
        self.kind, self.text = kind, text

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        assert kind is self.kind and self.text in str(error), f"expected {self.kind}: {self.text}, got {error!r}"
        return True


if __name__ == "__main__":
    port, process, processes = map(int, sys.argv[1:4])
    jax.config.update("jax_num_cpu_devices", 2)
    jax.distributed.initialize(f"127.0.0.1:{port}", processes, process)
    one_of_several(process, Path(sys.argv[4]))
    print("done")
