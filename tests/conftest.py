"""What all tests share: the processors, divided among the processes of one run (pytest -n), and servers on this machine."""

import os

# Before anything imports torch. Processes that each compute on all processors wait for one another most of the time.
if count := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))

pytest_plugins = ["tests.servers.fixtures"]
