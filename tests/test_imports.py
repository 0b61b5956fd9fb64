"""Modules import only the layers below them, and the exporter runs on systems other than Linux."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

import exporter

PACKAGE: Final = Path(exporter.__file__).parent
MODULES: Final = sorted(path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))

ALLOWED_IMPORTS: Final = {
    "model": {"model"},
    "log": {"log_file"},
    "log_file": set(),
    "runtime": set(),
    "netlink": {"model", "runtime", "netlink"},
    "procfs": {"model", "procfs"},
    "portable": {"model", "procfs", "portable"},
    "windows": {"model", "portable", "windows", "log"},
    "owners": {"model", "procfs", "owners"},
    "naming": {"model", "naming"},
    "tracking": {"model", "tracking"},
    "collection": {"model", "netlink", "owners", "naming", "tracking", "collection", "log", "runtime"},
    "metrics": {"model", "metrics", "__init__"},
    "diagnosis": {"model", "diagnosis"},
    "rendering": {"diagnosis", "__init__"},
    "http": {"metrics", "rendering", "http", "config", "log"},
    "config": {"naming", "config"},
    "reload": {"model", "config", "http", "log"},
    "output": set(),
    "reports": {"model", "collection", "diagnosis", "rendering", "flags", "output", "__init__"},
    "flags": {"model", "log", "output", "__init__"},
    "assets": {"output"},
    "service": {"windows", "flags", "http", "log", "cli", "output", "__init__"},
    "system": {"model", "netlink", "procfs", "portable", "windows", "owners", "collection", "log"},
    "cli": {"model", "netlink", "portable", "owners", "collection", "metrics", "rendering", "reports", "http"}
    | {"log", "config", "flags", "reload", "runtime", "assets", "output", "system", "__init__"},
    "__main__": {"cli", "service", "windows", "output"},
    "__init__": set(),
}
"""Layer -> layers of the package that its modules can import. `__init__` has only the version."""

NOT_ON_WINDOWS: Final = ("fcntl", "grp", "pwd", "resource", "termios")


def layer_of(module: Path) -> str:
    return module.parts[0]


def imports_of(module: Path) -> Iterator[str]:
    """Yield the layers of the package that a module imports anywhere in its code."""
    tree = ast.parse((PACKAGE / module).with_suffix(".py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield from _layers_of(module, node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            aliases = [alias.name for alias in node.names]
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else aliases
            is_absolute = PACKAGE.name in {name.partition(".")[0] for name in names}
            assert not is_absolute, "imports inside the package must be relative"


def _layers_of(module: Path, node: ast.ImportFrom) -> Iterator[str]:
    """Yield the layers of one `from ... import` statement."""
    origin = module.parent.parts
    base = origin[: len(origin) - (node.level - 1)]
    path = (*base, *(node.module.split(".") if node.module else ()))
    if path:
        yield path[0]
        return
    for name in node.names:
        yield name.name if is_module(name.name) else "__init__"


def is_module(name: str) -> bool:
    return (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()


def test_every_layer_has_a_rule() -> None:
    assert {layer_of(module) for module in MODULES} == set(ALLOWED_IMPORTS)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_follow_the_layers(module: Path) -> None:
    layer = layer_of(module)
    assert set(imports_of(module)) - ALLOWED_IMPORTS[layer] == set()


def test_rules_allow_no_more_than_is_imported() -> None:
    imported: dict[str, set[str]] = {layer: set() for layer in ALLOWED_IMPORTS}
    for module in MODULES:
        imported[layer_of(module)].update(imports_of(module))
    assert imported == ALLOWED_IMPORTS


def test_layers_have_no_circular_imports() -> None:
    graph = {layer: allowed - {layer, "__init__"} for layer, allowed in ALLOWED_IMPORTS.items()}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError


def run_on(code: str, platform: str) -> subprocess.CompletedProcess[str]:
    """Run code as on another system: with its name, and without the modules, sockets and /proc that it lacks.

    Dependencies are imported before, as only those for this system are installed.
    """
    preamble = PREAMBLE.format(platform=platform, missing=NOT_ON_WINDOWS, root=str(PACKAGE.parent))
    return subprocess.run(
        [sys.executable, "-c", preamble + code], capture_output=True, text=True, check=False, timeout=60
    )


PREAMBLE: Final = """
import importlib.abc, socket, sys
sys.path.insert(0, {root!r})
import collections, platform, prometheus_client, msgspec, psutil, yaml

platform.python_version()
sys.platform = {platform!r}

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in {missing!r}:
            raise ImportError(f"No module named {{name}} here")

for name in {missing!r}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Missing())

def hook(event, arguments):
    if event == "socket.__new__" and arguments[1] == 16:
        raise AssertionError("netlink")
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith("/proc"):
        raise AssertionError(f"{{event}} {{arguments[0]}}")

sys.addaudithook(hook)

if sys.platform == "win32":
    import contextlib, types
    def nothing_set(key, name):
        raise FileNotFoundError(name)
    sys.modules["winreg"] = types.SimpleNamespace(
        HKEY_LOCAL_MACHINE=0, OpenKey=lambda *key: contextlib.nullcontext(), QueryValueEx=nothing_set
    )

class Process:
    def __init__(self, pid):
        self.pid = pid
    def create_time(self):
        return 1.0
    def name(self):
        return "spoolsv.exe"

addr = collections.namedtuple("addr", "ip port")

class Row:
    laddr = addr("10.0.0.1", 9100)
    pid = 1234
    def __init__(self, status, remote):
        self.status = status
        self.raddr = addr("10.0.0.9", remote) if remote else ()

psutil.Process = Process
psutil.net_connections = lambda kind: [Row("LISTEN", 0), Row("CLOSE_WAIT", 50000), Row("DELETE_TCB", 50001)]

from exporter import cli
"""

simulates = pytest.mark.skipif(sys.platform == "win32", reason="simulates Windows on another system")
each_platform = pytest.mark.parametrize("platform", ["win32", "darwin"])


@simulates
@each_platform
@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_help_and_version_on_other_systems(flag: str, platform: str) -> None:
    result = run_on(f"cli.main([{flag!r}])", platform)
    assert (result.returncode, result.stderr) == (0, "")
    assert "socket-state-exporter" in result.stdout


@simulates
@each_platform
@pytest.mark.parametrize("source", ["auto", "psutil"])
def test_psutil_is_the_source_on_other_systems(source: str, platform: str) -> None:
    result = run_on(f"sys.exit(cli.main(['--once', '--source={source}']))", platform)
    assert result.returncode == 0, result.stderr
    assert 'source="psutil"' in result.stdout
    inbound = 'process="spoolsv",remote_port="inbound",state="close_wait"} 1.0'
    assert inbound in result.stdout
    assert 'socket_host_states{state="listen"} 1.0' in result.stdout


@simulates
@each_platform
def test_netlink_on_other_systems_is_an_error(platform: str) -> None:
    code = """
import errno
def refuse(*_):
    raise OSError(errno.EAFNOSUPPORT, "no such family")
socket.socket = refuse
sys.exit(cli.main(["--once", "--source=netlink"]))
"""
    result = run_on(code, platform)
    assert result.returncode == 1
    assert "EAFNOSUPPORT" in result.stderr
    assert "Traceback" not in result.stderr


@simulates
def test_simulated_system_forbids_modules_proc_and_netlink() -> None:
    """Otherwise the tests above would prove nothing."""
    for code in ("import pwd", "open('/proc/self/stat')", "socket.socket(16, socket.SOCK_RAW, 4)"):
        assert run_on(code, "win32").returncode == 1
