"""Calls psutil.net_connections() once in a new process, and prints the time of the call."""

import json
import time

import psutil

start, cpu = time.perf_counter(), time.process_time()
sockets = psutil.net_connections("tcp")
cpu_seconds = time.process_time() - cpu
print(
    json.dumps(
        {"seconds": time.perf_counter() - start, "cpu_seconds": cpu_seconds, "sockets": len(sockets)},
    )
)
