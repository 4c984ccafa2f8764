"""Code run in a process of its own that has eight CPU devices."""

import os
import subprocess
import sys
from pathlib import Path


def run_on_eight_devices(code, folder):
    """Run the code with the folder as its first argument; it has to print "done" at its end, and nothing else."""
    here = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    devices = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    environment = os.environ | devices | here
    run = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env=environment, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout == "done\n"
