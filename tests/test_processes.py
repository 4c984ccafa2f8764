"""Several real processes on one machine: one program, one Dataset, written once."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import two_processes
import xarray as xr

HERE = Path(__file__).parent


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def run_processes(count, folder):
    """Run `two_processes.py` in some processes at once, and wait until all have said that they are done."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(HERE / "two_processes.py"), str(free_port())]
    started = [
        subprocess.Popen(
            [*command, str(i), str(count), str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]
    try:
        for process in started:
            out, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors[-3000:]
            # The collectives of CPUs say on standard output whom they have found.
            assert out.endswith("done\n")
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.mark.slow
def test_two_processes_measure_what_one_does_and_write_it_once(tmp_path):
    (tmp_path / "no folder").write_text("a file")
    alone = two_processes.sweep(None, None)
    run_processes(2, tmp_path)
    for name in ("measured-0", "measured-1", "resumed-0", "resumed-1"):
        found = xr.load_dataset(tmp_path / f"{name}.nc", engine="scipy")
        assert set(found.data_vars) == set(alone.data_vars) and found.sizes == alone.sizes
        for variable in alone.data_vars:
            np.testing.assert_allclose(found[variable], alone[variable], atol=1e-5, err_msg=f"{name}: {variable}")
    first, second = (xr.load_dataset(tmp_path / f"measured-{i}.nc", engine="scipy") for i in (0, 1))
    xr.testing.assert_identical(first, second)
    written = {path.name for path in (tmp_path / "parts").iterdir()}
    names = {"models-0", *(kind for e in two_processes.EXPLAINERS for kind in (f"null-{e}", f"maps-{e}-0"))}
    assert written == {"configuration.json", *(f"{name}.nc" for name in names)}
    assert (tmp_path / "no folder").read_text() == "a file"
