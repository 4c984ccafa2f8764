"""Which devices an experiment runs on: some of this machine, or those of several processes together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import Mesh

MORE_ON_A_CPU = "JAX_NUM_CPU_DEVICES"


@dataclass(frozen=True)
class Devices:
    """How many devices share the images, and which process of several this is."""

    devices: int | None = None
    """How many devices share the images; all that there are if not given, of a CPU one a core."""
    coordinator: str | None = None
    """Of several processes that run this command: host:port of the first, or "auto" on a TPU pod, Slurm or Open MPI."""
    processes: int | None = None
    """How many processes run this command; asked of the cluster if not given."""
    process: int | None = None
    """Which of them this is, from 0; asked of the cluster if not given."""

    def mesh(self) -> Mesh:
        """The devices in one row; of several processes each gives as many."""
        processes = range(jax.process_count())
        of_process = [[device for device in jax.devices() if device.process_index == i] for i in processes]
        there = len(processes) * min(map(len, of_process))
        wanted = there if self.devices is None else self.devices
        if not 1 <= wanted <= there:
            more = f"; {MORE_ON_A_CPU}={wanted} makes more of a CPU" if jax.default_backend() == "cpu" else ""
            raise SystemExit(f"--devices must be between 1 and the {there} that there are, got {wanted}{more}")
        each, left = divmod(wanted, len(processes))
        if left:
            raise SystemExit(f"--devices must be a multiple of the {len(processes)} processes, got {wanted}")
        return Mesh(np.asarray([device for devices in of_process for device in devices[:each]]), ("images",))


Chosen = TypeVar("Chosen", bound=Devices)


def start(options: Chosen, *, of_cpu: int | None = None) -> Chosen:
    """Divide the CPU into devices and join the other processes; it must come before anything is computed.

    Args:
        options: what was asked for, which is given back.
        of_cpu: how many devices a CPU is divided into where nobody says; one a core if not given. XLA computes most
            convolutions of a small network on a single core, and those of a large one on all.
    """
    cores = os.cpu_count() or 1
    forced = MORE_ON_A_CPU in os.environ or "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if not forced:
        asked = options.devices and -(-options.devices // (options.processes or 1))
        jax.config.update("jax_num_cpu_devices", max(1, min(asked or of_cpu or cores, cores)))
    if (options.coordinator, options.processes, options.process) != (None, None, None):
        if options.coordinator is None:
            raise SystemExit("--processes and --process need --coordinator, host:port of the first process")
        address = None if options.coordinator == "auto" else options.coordinator
        jax.distributed.initialize(address, options.processes, options.process)
    # Asked for here too, so that too many are refused before an hour of training.
    options.mesh()
    return options
