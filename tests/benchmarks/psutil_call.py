"""A fresh process that asks psutil once for all TCP sockets, and prints what the call took."""

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
