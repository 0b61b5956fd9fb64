"""The stack of deploy/compose, checked without a container engine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Any, Final

import pytest

from exporter import __version__
from exporter.flags import build_parser

from .compose import COMPOSE, HOME, addresses, flag, listens, mounts, on_host, services, texts
from .rules import DEPLOY, document

CHECKOUT: Final = DEPLOY.parent
OURS: Final = f"socket-state-exporter:{__version__}"
LINKED: Final = ("prometheus", "alertmanager")
"""Services that include their own URL in notifications."""

each_service = pytest.mark.parametrize("name", sorted(services()))


def has_compose() -> bool:
    """Return whether the docker client has `compose`, which parses files without an engine."""
    client = shutil.which("docker")
    return (
        bool(client)
        and not subprocess.run(
            [str(client), "compose", "version"], capture_output=True, check=False
        ).returncode
    )


@pytest.mark.skipif(find_spec("check_jsonschema") is None, reason="needs check-jsonschema")
def test_compose_file_is_valid() -> None:
    """Validate with the schema of https://github.com/compose-spec/compose-spec."""
    check = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        str(COMPOSE),
    ]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not has_compose(), reason="needs docker with its plugin compose")
def test_docker_compose_parses_the_same_services() -> None:
    read = ["docker", "compose", "--file", str(COMPOSE), "config", "--format", "json"]
    result = json.loads(subprocess.run(read, capture_output=True, text=True, check=True).stdout)["services"]
    assert result.keys() == services().keys()
    for name, service in services().items():
        assert result[name].get("command") == service.get("command")


def test_compose_file_has_all_services() -> None:
    assert set(services()) == {"exporter", "prometheus", "alertmanager", "receiver", "grafana"}


@each_service
def test_images_are_pinned_and_the_exporter_is_not_pulled(name: str) -> None:
    """Other images are pinned by digest; the exporter's, which is built here, by version."""
    service = services()[name]
    if name in ("exporter", "receiver"):
        assert service["image"] == OURS
        assert service["pull_policy"] == ("build" if "build" in service else "never")
    else:
        assert re.fullmatch(r"docker\.io/\w+/\w+:v?\d+\.\d+\.\d+@sha256:[0-9a-f]{64}", service["image"])


def test_exporter_image_is_built_by_one_service() -> None:
    """Two services that build the same image conflict."""
    (build,) = [service["build"] for service in services().values() if "build" in service]
    assert (COMPOSE.parent / build["context"] / "Dockerfile").resolve() == CHECKOUT / "Dockerfile"
    assert build["args"]["VERSION"] == __version__
    declared = re.findall(r"^ARG (\w+)", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)
    assert build["args"].keys() <= set(declared)


@each_service
def test_bind_mounts_exist_and_are_read_only(name: str) -> None:
    for mount in mounts(services()[name]):
        assert mount.mode == "ro"
        assert mount.host.is_dir()
        assert mount.host.is_relative_to(CHECKOUT)
        # A single file would stay what it was when an editor or git puts another in its place.
        assert any(mount.host.iterdir())


def test_volumes_are_declared_and_used() -> None:
    named = {
        volume.partition(":")[0]
        for service in services().values()
        for volume in service.get("volumes", ())
        if not volume.startswith(".")
    }
    assert named == set(document(COMPOSE)["volumes"])


def test_services_listen_on_loopback_on_unique_ports() -> None:
    listening = {name: listens(service) for name, service in services().items()}
    assert all(len(taken) == 1 for taken in listening.values()), listening
    taken = [address for taken in listening.values() for address in taken]
    assert {host for host, _ in taken} == {HOME[0]}
    assert len({port for _, port in taken}) == len(taken)
    assert listens(services()["exporter"]) == {(HOME[0], 10066)}
    # Its second listener, else on every interface.
    assert flag(services()["alertmanager"], "--cluster.listen-address") == ""


@each_service
def test_services_use_host_network_without_extra_privileges(name: str) -> None:
    service = services()[name]
    assert service["network_mode"] == "host"
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges=true" in service["security_opt"]
    assert not service.get("privileged")
    sees = name == "exporter"
    assert service.get("cap_add", []) == (["SYS_PTRACE", "DAC_READ_SEARCH"] if sees else [])
    assert service.get("pid") == ("host" if sees else None)
    assert ("apparmor=unconfined" in service["security_opt"]) == sees
    # Docker gives added capabilities to root alone.
    assert service.get("user") == ("0" if sees else None)


def test_exporter_service_has_the_documented_privileges() -> None:
    exporter = services()["exporter"]
    (command,) = re.findall(r"^docker run [^`]*", (CHECKOUT / "README.md").read_text(), re.MULTILINE)
    named = {
        ("--user", exporter["user"]),
        ("--pid", exporter["pid"]),
        ("--net", exporter["network_mode"]),
        ("--cap-drop", *exporter["cap_drop"]),
        *(("--cap-add", capability) for capability in exporter["cap_add"]),
        ("--security-opt", exporter["security_opt"][-1]),
        *([("--read-only",)] if exporter["read_only"] else []),
    }
    words = command.split()
    for name, *value in named:
        assert any(words[at : at + 2] == [name, *value] for at in range(len(words))) or (
            "=".join((name, *value)) in words
        )


def test_receiver_runs_with_the_python_of_the_image() -> None:
    assert services()["receiver"]["entrypoint"][0] in (CHECKOUT / "Dockerfile").read_text()


def configurations() -> Iterator[tuple[Path, Any]]:
    """Yield every YAML file mounted into a container, with its content."""
    for service in services().values():
        for mount in mounts(service):
            for path in sorted(mount.host.rglob("*.y*ml")):
                yield path, document(path)


def test_addresses_in_configurations_are_services() -> None:
    listening = {port for service in services().values() for _, port in listens(service)}
    named = {
        (path.relative_to(CHECKOUT).as_posix(), *address)
        for path, content in configurations()
        # Rules name none, but their unit tests some instances.
        if "rules" not in path.parts and "alerting-optional" not in path.parts
        for text in texts(content)
        for address in addresses(text)
    } | {
        (name, *address)
        for name, service in services().items()
        for text in texts(service.get("environment", {}))
        for address in addresses(text)
    }
    assert {path for path, *_ in named} >= {
        "grafana",
        "deploy/prometheus/prometheus.yml",
        "deploy/alertmanager/alertmanager.yml",
    }
    assert [one for one in sorted(named) if one[1] not in HOME or one[2] not in listening] == []


def test_external_urls_are_reachable_links() -> None:
    for name in LINKED:
        ((_, port),) = listens(services()[name])
        assert flag(services()[name], "--web.external-url") == f"http://localhost:{port}"


def test_compose_file_contains_no_secret() -> None:
    environment = services()["grafana"]["environment"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD"] == "${GRAFANA_ADMIN_PASSWORD:-}"  # noqa: S105  # the name of one
    secret = re.compile("password|secret|token|key", re.IGNORECASE)
    named = {
        key for service in services().values() for key in service.get("environment", {}) if secret.search(key)
    }
    assert named == {"GF_SECURITY_ADMIN_PASSWORD"}


def test_grafana_has_the_dashboards_and_this_prometheus() -> None:
    grafana = services()["grafana"]
    provisioning = on_host(grafana, "/etc/grafana/provisioning")
    assert provisioning
    sources = [
        each for path in provisioning.glob("datasources/*.y*ml") for each in document(path)["datasources"]
    ]
    assert [(each["uid"], each["type"]) for each in sources] == [("prometheus", "prometheus")]
    ((_, port),) = listens(services()["prometheus"])
    assert Template(sources[0]["url"]).substitute(grafana["environment"]) == f"http://localhost:{port}"
    providers = [
        each for path in provisioning.glob("dashboards/*.y*ml") for each in document(path)["providers"]
    ]
    shown = [on_host(grafana, each["options"]["path"]) for each in providers]
    assert shown == [CHECKOUT / "grafana" / "dashboards"]
    assert list(CHECKOUT.glob("grafana/dashboards/*.json"))


def test_exporter_accepts_the_flags_of_the_compose_file() -> None:
    build_parser().parse_args(services()["exporter"]["command"])
