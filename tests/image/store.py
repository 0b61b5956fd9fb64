"""Images and containers by buildah, in a temporary store."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

CHECKOUT: Final = Path(__file__).parents[2]

BASE: Final = "localhost/base:test"
IMAGE: Final = "localhost/socket-state-exporter:test"

_SUITE: Final = "bookworm"
_OF_THIS_MACHINE: Final = ("/", "file:")
"""Prefixes of files that are not part of a container."""

_PATIENCE: Final = 120.0
"""Timeout in seconds: a container's files are copied first."""

_CERTIFICATES: Final = "/run/certificates.pem"


class Store:
    """Images and containers, with chroot for isolation: the host's network and processes, as with Docker's
    `--net=host --pid=host`, and the user and the capabilities that Docker would give."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        places = [f"--root={folder / 'images'}", f"--runroot={folder / 'run'}"]
        self.command: Final = ("buildah", "--storage-driver=vfs", *places)
        self.environment: Final = {**os.environ, "BUILDAH_ISOLATION": "chroot"}

    def run(self, *words: str | Path, **more: str) -> str:
        """Run a buildah command and return its output. `more`: additional environment."""
        command = [*self.command, *map(str, words)]
        environment = {**self.environment, **more}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def base(self, name: str) -> None:
        """Build a Debian image with Python, without bytecode like Python's official images."""
        root = self._folder / "base"
        command = [
            "debootstrap",
            "--variant=minbase",
            "--include=python3-venv",
            _SUITE,
            str(root),
            *_mirror(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        for code in sorted(root.glob("usr/lib/python3*/**/__pycache__")):
            shutil.rmtree(code)
        container = self.run("from", "scratch")
        self.run("copy", container, root, "/")
        self.run("commit", container, name)
        self.run("rm", container)
        shutil.rmtree(root)

    def build(self, base: str, name: str) -> None:
        """Build the image of this checkout like `make image`, with this machine's pip configuration."""
        configuration = self._folder / "pip.conf"
        configuration.write_text(_pip_configuration())
        certificates = _pip().get("cert")
        arguments = [
            f"--build-arg=BASE={base}",
            f"--secret=id=pip,src={configuration}",
            *([f"--volume={certificates}:{_CERTIFICATES}:ro"] if certificates else []),
        ]
        # HEALTHCHECK is none of OCI's, only Docker's format has it.
        engine = " ".join((*self.command, "build", "--format=docker"))
        command = ["make", "image", f"BUILD={engine}", f"IMAGE={name}", f"IMAGE_ARGS={' '.join(arguments)}"]
        done = subprocess.run(
            command, cwd=CHECKOUT, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def engine(self) -> Engine:
        """Return Podman with the same images."""
        return Engine(self._folder)

    def configuration(self, image: str) -> dict[str, Any]:
        """Return the configuration of an image."""
        result = json.loads(self.run("inspect", "--type=image", image))
        configuration: dict[str, Any] = result["Docker"]["config"]
        return configuration

    def container(self, image: str, *capabilities: str) -> Container:
        """Create a container whose root has these capabilities; by default those of Docker."""
        names = json.dumps([f"CAP_{name}" for name in capabilities])
        chosen = self._folder / "containers.conf"
        chosen.write_text(f"[containers]\ndefault_capabilities = {names}\n" if capabilities else "")
        return Container(self, self.run("from", image, CONTAINERS_CONF=str(chosen)))


class Container:
    """A container with its root directory."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self.root: Final = Path(store.run("mount", name))

    def command(self, *words: str, user: str = "") -> list[str]:
        """Return the command that runs `words` in the container, as the image's user or another."""
        chosen = [f"--user={user}"] if user else []
        return [*self._store.command, "run", *chosen, self._name, "--", *words]

    def run(self, *words: str, user: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program in the container to completion."""
        return subprocess.run(
            self.command(*words, user=user),
            env=self._store.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def process(self, program: str) -> int | None:
        """Return the pid of a program running in the container, or None."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                inside = (process / "root").samefile(self.root)
                if inside and (process / "cmdline").read_bytes().split(b"\0")[0] == program.encode():
                    return int(process.name)
            except OSError:  # it has ended
                continue
        return None


class Engine:
    """Podman with runc, which accepts Docker's commands without a daemon.

    Where there is no systemd, it has no timer for health checks: they are made when asked for.
    """

    def __init__(self, folder: Path) -> None:
        places = {"root": "images", "runroot": "run", "tmpdir": "podman"}
        kept = [f"--{flag}={folder / name}" for flag, name in places.items()]
        how = ["--storage-driver=vfs", "--runtime=runc", "--cgroup-manager=cgroupfs", "--events-backend=file"]
        self._command: Final = ["podman", *kept, *how]
        settings = folder / "podman.conf"
        # Its own defaults are above what a container's root may have here.
        settings.write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n')
        self._environment: Final = {**os.environ, "CONTAINERS_CONF": str(settings)}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a Docker command to completion."""
        command = [*self._command, *words]
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )


@contextmanager
def store() -> Iterator[Store]:
    """Yield a store that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="socket-state-exporter-image-") as folder:
        made = Store(Path(folder))
        try:
            yield made
        finally:
            made.run("umount", "--all")
            made.run("rm", "--all")


def _mirror() -> list[str]:
    """Return apt's mirror of Debian, or "" for debootstrap's default."""
    asked = ["apt-get", "indextargets", "--no-release-info", "--format=$(REPO_URI)", f"Release: {_SUITE}"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.split()[:1]


def _pip() -> dict[str, str]:
    """Return this host's pip configuration, as far as it applies in a container."""
    result = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    pairs = (line.partition("=") for line in result.stdout.splitlines())
    named = [(key.rpartition(".")[2], ast.literal_eval(value)) for key, _, value in pairs]
    return {
        key: value for key, value in named if key == "cert" or not str(value).startswith(_OF_THIS_MACHINE)
    }


def _pip_configuration() -> str:
    settings = {key: _CERTIFICATES if key == "cert" else value for key, value in _pip().items()}
    return "\n".join(("[global]", *(f"{key} = {value}" for key, value in settings.items()), ""))
