"""Build of the zip and the MSI for Windows: what needs neither Windows nor Wine."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]

if not (ROOT / "deploy/windows/bundle.py").exists():
    pytest.skip("needs a checkout", allow_module_level=True)

bundle = pytest.importorskip("deploy.windows.bundle")
msi = pytest.importorskip("deploy.windows.msi")
packages = pytest.importorskip("deploy.windows.packages")

LOCK: Final = """# comment
first==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via x
second-package==2.0 ; sys_platform == 'win32' \\
    --hash=sha256:cc
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder of the distribution with files of several folders."""
    folder = tmp_path / "socket-state-exporter"
    (folder / "site-packages" / "a & b").mkdir(parents=True)
    (folder / "python.exe").write_bytes(b"MZ")
    (folder / "site-packages" / "a & b" / "c.py").write_text("")
    (folder / "site-packages" / "c.py").write_text("")
    return folder


def test_requirements_keep_their_hashes() -> None:
    chosen = packages.select_requirements(LOCK, ("first",))
    assert chosen == "first==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"


def test_requirement_with_a_marker_is_refused() -> None:
    with pytest.raises(ValueError, match="second-package: the environment marker"):
        packages.select_requirements(LOCK, None)


def test_lock_file_of_the_exporter_has_no_markers() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert packages.select_requirements(text, None).count("==") == text.count("==")


def test_zip_depends_on_nothing_but_names_and_contents(tree: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "1.zip", tmp_path / "2.zip"
    bundle.write_zip(tree, first)
    for path in tree.rglob("*"):
        path.chmod(0o755)
        path.touch()
    bundle.write_zip(tree, second)
    assert first.read_bytes() == second.read_bytes()
    assert zipfile.ZipFile(first).namelist() == [
        "socket-state-exporter/python.exe",
        "socket-state-exporter/site-packages/a & b/c.py",
        "socket-state-exporter/site-packages/c.py",
    ]


def test_each_file_is_a_component_with_the_same_id_in_every_version(tree: Path) -> None:
    old, new = msi.render_product(tree, "0.1.0"), msi.render_product(tree, "0.2.0")
    components = re.findall(r'<Component Id="(\w+)" Guid="(\S+)"', old)
    assert len({guid for _, guid in components}) == 3
    assert components == re.findall(r'<Component Id="(\w+)" Guid="(\S+)"', new)
    assert sorted(name for name, _ in components) == sorted(re.findall(r'<ComponentRef Id="(\w+)"', old))
    assert re.findall(r'<Product Id="(\S+)"', old) != re.findall(r'<Product Id="(\S+)"', new)


def test_upgrade_code_is_never_changed(tree: Path) -> None:
    assert 'UpgradeCode="{5BCAA0B8-0A3C-4B34-9B0A-6F6A3D0A5D0E}"' in msi.render_product(tree, "0.1.0")


def test_names_are_escaped(tree: Path) -> None:
    text = msi.render_product(tree, "0.1.0")
    assert 'Name="a &amp; b"' in text
    assert 'Source="site-packages/a &amp; b/c.py"' in text


def test_scripts_call_the_command_of_their_folder() -> None:
    for name, action in (("install.cmd", "service install %*"), ("uninstall.cmd", "service remove")):
        last = (ROOT / "deploy/windows" / name).read_text().splitlines()[-1]
        assert last == f'"%~dp0socket-state-exporter.exe" {action}'
    assert bundle.COMMAND == "socket-state-exporter.exe"
