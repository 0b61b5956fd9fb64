"""Units and containers from the paths of control groups."""

from __future__ import annotations

import pytest

from exporter.procfs.cgroup import find_container, find_unit, parse_paths, parse_paths_unified_first

ID = "4f0e3dc8a4e1c7a63c2f9e8b1d5a7b6c0e9f8d7c6b5a49382716050f1e2d3c4b"
INNER = "00aa11bb22cc33dd44ee55ff66778899aabbccddeeff00112233445566778899"
UID = "0f1e2d3c_4b5a_6978_8796_a5b4c3d2e1f0"
POD = f"pod{UID.replace('_', '-')}"

CONTAINERS = [
    # docker
    f"/docker/{ID}",
    f"/system.slice/docker-{ID}.scope",
    # Kubernetes, cgroupfs driver
    f"/kubepods/{POD}/{ID}",
    f"/kubepods/burstable/{POD}/{ID}",
    f"/kubepods/besteffort/{POD}/{ID}",
    f"/kubepods/besteffort/{POD}/{ID}/some/thing",
    "/kubepods/pod" + "0" * 32 + f"/{ID}",
    # Kubernetes, systemd driver
    f"/kubepods.slice/kubepods-pod{UID}.slice/docker-{ID}.scope",
    f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID}.slice/cri-containerd-{ID}.scope",
    f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID}.slice/crio-{ID}.scope",
    f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID}.slice/crio-{ID}.scope/container",
    f"/kubepods.slice/kubepods-pod{UID}.slice/crio-{ID}",
    f"/system.slice/containerd.service/kubepods-burstable-pod{UID}.slice:cri-containerd:{ID}",
    f"/kubepods-burstable-pod{UID}.slice:cri-containerd:{ID}",
    # podman
    f"/machine.slice/libpod-{ID}.scope",
    f"/machine.slice/libpod-{ID}.scope/container",
    f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope",
    f"/libpod_parent/libpod-{ID}",
    # kind, in a docker container of its own
    f"/docker/{INNER}/kubelet.slice/kubelet-kubepods.slice/cri-containerd-{ID}.scope",
    f"/docker/{INNER}/kubepods/burstable/{POD}/{ID}",
    # ECS
    f"/ecs/0123456789abcdef0123456789abcdef/{ID}",
    # as seen from a private cgroup namespace
    f"/../docker-{ID}.scope",
    f"/../../{POD}/{ID}",
    f"/../cri-containerd-{ID}.scope/init.scope",
]

NO_CONTAINERS = [
    "",
    "/",
    "/init.scope",
    "/system.slice/cups.service",
    "/user.slice/user-1000.slice/session-3.scope",
    "/lxc/web",
    f"/docker/{ID[:-1]}",
    f"/docker/{ID}0",
    f"/docker/{ID.upper()}",
    f"/docker/x{ID}",
    f"/kubepods/burstable/{POD}",
    # conmon watches over a container from outside
    f"/machine.slice/libpod-conmon-{ID}.scope",
    f"/kubepods.slice/kubepods-pod{UID}.slice/crio-conmon-{ID}.scope",
    f"/libpod_parent/libpod-conmon-{ID}",
]

UNITS = {
    "/system.slice/cups.service": "cups.service",
    "/system.slice/system-getty.slice/getty@tty1.service": "getty@tty1.service",
    "/system.slice/cups.socket": "cups.socket",
    "/system.slice/dev-hugepages.mount": "dev-hugepages.mount",
    "/system.slice/dev-sda2.swap": "dev-sda2.swap",
    "/init.scope": "init.scope",
    "/user.slice/user-1000.slice/session-3.scope": "session-3.scope",
    "/user.slice/user-1000.slice/user@1000.service/app.slice/app-web.service": "app-web.service",
    "/user.slice/user-1000.slice/user@1000.service/init.scope": "init.scope",
    "/system.slice/nginx.service/workers": "nginx.service",
    r"/system.slice/my\x2dapp.service": r"my\x2dapp.service",
    "/../cups.service": "cups.service",
    f"/system.slice/docker-{ID}.scope": f"docker-{ID}.scope",
    "/system.slice": "",
    "/system.slice/not.services": "",
    "/docker/x": "",
    "/": "",
}


@pytest.mark.parametrize("path", CONTAINERS)
def test_container_id_is_found(path: str) -> None:
    assert find_container([path]) == ID


@pytest.mark.parametrize("path", NO_CONTAINERS)
def test_no_container_id_in_other_paths(path: str) -> None:
    assert find_container([path]) == ""


@pytest.mark.parametrize(("path", "name"), UNITS.items())
def test_innermost_unit_is_returned(path: str, name: str) -> None:
    assert find_unit([path]) == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("9:name=systemd:/a\n4:memory:/b\n0::/c\n", ("/a", "/b", "/c")),
        ("12:cpu,cpuacct:/a:b:c\n1:name=systemd:/d\n", ("/a:b:c", "/d")),
        ("nonsense\n\n0::/c\nmore: nonsense\n", ("/c",)),
    ],
)
def test_paths_have_the_order_of_the_kernel(text: str, expected: tuple[str, ...]) -> None:
    assert parse_paths(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("0::/\n", ("/",)),
        ("0::/system.slice/cups.service\n", ("/system.slice/cups.service",)),
        ("9:name=systemd:/a\n4:memory:/b\n0::/c\n", ("/c", "/a", "/b")),
        ("12:cpu,cpuacct:/a:b:c\n1:name=systemd:/d\n", ("/a:b:c", "/d")),
        ("10:cpu:/ten\n0::/zero\n", ("/zero", "/ten")),
        ("nonsense\n\n0::/c\nmore: nonsense\n", ("/c",)),
    ],
)
def test_the_unified_hierarchy_comes_first(text: str, expected: tuple[str, ...]) -> None:
    assert parse_paths_unified_first(text) == expected


def test_other_hierarchies_are_used_without_a_match_in_the_first() -> None:
    """A host with control groups of version 1, or of both."""
    found = parse_paths_unified_first(
        f"9:name=systemd:/system.slice/docker-{ID}.scope\n4:memory:/docker/{INNER}\n0::/\n"
    )
    assert find_container(found) == ID
    assert find_unit(found) == f"docker-{ID}.scope"
