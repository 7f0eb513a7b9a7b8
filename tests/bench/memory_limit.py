"""A bound for the memory of some processes together, with the pages of files that they read: a cgroup of this run."""

import contextlib
import os
import time
from pathlib import Path

from machine import Broken

# Where version 2 is, and the controller of version 1; and the file in each that sets the bound.
PLACES = [(Path("/sys/fs/cgroup"), "cgroup.controllers", "memory.max"),
          (Path("/sys/fs/cgroup/memory"), "tasks", "memory.limit_in_bytes")]


class MemoryLimit:
    """Without `mebibytes` there is none."""

    def __init__(self, mebibytes):
        self.folder = None
        if not mebibytes:
            return
        found = [(place, limit) for place, proof, limit in PLACES if (place / proof).exists()]
        if not found or os.geteuid() != 0:
            raise Broken("a limit of memory needs root, and cgroups with the controller of memory")
        place, limit = found[0]
        self.folder = place / f"tn-authority-bench.{os.getpid()}"
        try:
            if limit == "memory.max":
                with contextlib.suppress(OSError):
                    (place / "cgroup.subtree_control").write_text("+memory")
            self.folder.mkdir()
            (self.folder / limit).write_text(str(mebibytes << 20))
            # Pages that are in memory already are counted for those who read them first.
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("1")
        except OSError as error:
            self.remove()
            raise Broken(f"the memory cannot be limited: {error}") from error

    def add(self, process):
        """This process, and those that it starts from now on."""
        if self.folder:
            (self.folder / "cgroup.procs").write_text(str(process.pid))

    def remove(self):
        """When its processes have ended."""
        for _ in range(50):
            if not self.folder or not self.folder.exists():
                return
            with contextlib.suppress(OSError):
                self.folder.rmdir()
                return
            time.sleep(0.1)
