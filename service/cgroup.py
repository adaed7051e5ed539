"""The control groups of this process, in which a container's limits stand, of both versions."""

from __future__ import annotations

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def own_groups(controller: str, cgroup: Path = CGROUP, own: Path = OWN) -> set[Path]:
    """Where a controller's limits may stand: the mounts themselves, and every group from the process's own upwards.

    `cgroup` is where control groups are mounted, `own` lists those of this process.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines() if line.count(":") >= 2]
    except OSError:
        lines = []
    mounts = {cgroup: "", cgroup / controller: ""}
    for _, controllers, path in lines:
        if controllers == "":  # version two has one hierarchy
            mounts[cgroup] = path.lstrip("/")
        elif controller in controllers.split(","):
            mounts[cgroup / controller] = mounts[cgroup / controllers] = path.lstrip("/")
    own_folders = {mount: mount / path for mount, path in mounts.items()}
    return {
        each
        for mount, folder in own_folders.items()
        for each in (folder, *folder.parents)
        if each.is_relative_to(mount)
    }
