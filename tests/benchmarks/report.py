"""The results as one JSON object."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from typing import Any

from .benchmark import Benchmark
from .programs import NODE_EXPORTER, version
from .readers import BASELINE, TCPSTAT
from .rounds import Size
from .targets import Target, targets


def report(benchmark: Benchmark) -> dict[str, Any]:
    """Return all results with host and versions. Times in seconds, memory in bytes."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": {"kernel": platform.release(), "machine": platform.machine(), "cpus": os.cpu_count()},
        "versions": {
            "python": platform.python_version(),
            "node_exporter": version(NODE_EXPORTER),
            "iproute2": version("ss"),
            "cc": version("cc"),
        },
        "absent": benchmark.absent,
        "sizes": [_size(benchmark, size) for size in benchmark.sizes],
        "exponents": {name: benchmark.exponent(name) for name in benchmark.largest.results},
        "small_host": benchmark.small_host._asdict(),
        "targets": [_target(target) for target in targets(benchmark)],
    }


def _size(benchmark: Benchmark, size: Size) -> dict[str, Any]:
    results = {
        name: {
            **result._asdict(),
            "times_baseline": benchmark.ratio(size, name, BASELINE),
            "times_node_exporter": benchmark.ratio(size, name, TCPSTAT),
        }
        for name, result in size.results.items()
    }
    memory = size.memory and {**size.memory._asdict(), "growth": size.memory.growth}
    return {**size._asdict(), "sockets": size.sockets, "results": results, "memory": memory}


def _target(target: Target) -> dict[str, Any]:
    return {**target._asdict(), "met": target.is_met, "verdict": target.verdict}
