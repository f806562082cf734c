"""The kind of machine: its CPU and its libraries' kernels, which decide the last bits of numpy's results."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

DECISIVE = "numpy", "cpu", "simd", "blas"  # of the versions that a run records
_CPU_INFO = Path("/proc/cpuinfo")


def machine() -> dict[str, str]:
    """Return this machine's CPU, the instructions that numpy uses, and its BLAS with the kernel that it chose."""
    return {"cpu": _cpu(), "simd": _simd(), "blas": _blas()}


def differing_machines(versions: Sequence[Mapping[str, Any]]) -> str:
    """Return in what of DECISIVE the `versions` of runs differ, in words; "" where those that are known agree."""
    known = {kind: list(dict.fromkeys(str(each[kind]) for each in versions if kind in each)) for kind in DECISIVE}
    return ", ".join(f"{kind}: {' and '.join(found)}" for kind, found in known.items() if len(found) > 1)


def _cpu() -> str:
    try:
        lines = _CPU_INFO.read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "CPU part")))
    return next(models, "") or platform.processor() or platform.machine()


def _simd() -> str:
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return " ".join(found) or "baseline"


def _blas() -> str:
    """Return numpy's BLAS, with the kernel where it tells one."""
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    libraries.sort(key=lambda library: "numpy" not in library["filepath"])  # others may be loaded beside it
    chosen: Mapping[str, Any] = libraries[0] if libraries else {"internal_api": "unknown"}
    return " ".join(str(chosen[key]) for key in ("internal_api", "version", "architecture") if chosen.get(key))
