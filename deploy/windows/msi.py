"""The MSI: the files of the folder, and the service, which the exporter's own command installs and removes.

An upgrade keeps the service: the old version leaves it, stopped, and the new one finds its flags.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final
from xml.sax.saxutils import quoteattr

UPGRADE_CODE: Final = uuid.UUID("5bcaa0b8-0a3c-4b34-9b0a-6f6a3d0a5d0e")
"""Identifies the product in all its versions. Never to be changed: upgrades would install a second one."""

_PRODUCT: Final = """\
<?xml version="1.0" encoding="utf-8"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
  <Product Id="{product}" Name="socket-state-exporter" Language="1033" Version="{version}"
           Manufacturer="The socket-state-exporter authors" UpgradeCode="{upgrade}">
    <Package InstallerVersion="500" Compressed="yes" InstallScope="perMachine"/>
    <Media Id="1" Cabinet="files.cab" EmbedCab="yes"/>
    <MajorUpgrade DowngradeErrorMessage="A newer version is installed."/>
    <Directory Id="TARGETDIR" Name="SourceDir">
      <Directory Id="ProgramFiles64Folder">
        <Directory Id="INSTALLDIR" Name="socket-state-exporter">
{files}
        </Directory>
      </Directory>
    </Directory>
    <CustomAction Id="SetPortFlag" Property="PORT_FLAG" Value="--web.listen-address=:[LISTEN_PORT]"/>
    <CustomAction Id="SetFirewallFlag" Property="FIREWALL_FLAG" Value="--service.firewall"/>
    <CustomAction Id="UndoService" FileKey="{python}" ExeCommand="{command} remove"
                  Execute="rollback" Impersonate="no" Return="ignore"/>
    <CustomAction Id="InstallService" FileKey="{python}"
                  ExeCommand="{command} install [FIREWALL_FLAG] [PORT_FLAG] [FLAGS]"
                  Execute="deferred" Impersonate="no" Return="check"/>
    <CustomAction Id="RemoveService" FileKey="{python}" ExeCommand="{command} remove"
                  Execute="deferred" Impersonate="no" Return="ignore"/>
    <InstallExecuteSequence>
      <Custom Action="SetPortFlag" Before="InstallInitialize">LISTEN_PORT</Custom>
      <Custom Action="SetFirewallFlag" Before="InstallInitialize">FIREWALL = 1</Custom>
      <Custom Action="RemoveService" After="StopServices">REMOVE = "ALL" AND NOT UPGRADINGPRODUCTCODE</Custom>
      <Custom Action="UndoService" After="InstallFiles">NOT Installed AND NOT WIX_UPGRADE_DETECTED</Custom>
      <Custom Action="InstallService" After="UndoService">NOT REMOVE = "ALL"</Custom>
    </InstallExecuteSequence>
    <Feature Id="Main" Level="1">
{references}
    </Feature>
  </Product>
</Wix>
"""
_COMMAND: Final = "-I -B -m exporter service"
_CHANGES: Final = (
    # Passes the properties of the command line to the installation: wixl names only its own two.
    (
        "UPDATE `Property` SET `Value` = "
        "'FIREWALL;FLAGS;LISTEN_PORT;WIX_DOWNGRADE_DETECTED;WIX_UPGRADE_DETECTED' "
        "WHERE `Property` = 'SecureCustomProperties'"
    ),
    # After InstallInitialize (1500), so that a failed installation restores the old version. wixl puts it
    # after InstallFiles, where Windows does not allow it.
    "UPDATE `InstallExecuteSequence` SET `Sequence` = 1501 WHERE `Action` = 'RemoveExistingProducts'",
)
"""Changes of the tables that wixl writes."""


def write_msi(tree: Path, target: Path, version: str) -> None:
    """Write the MSI with wixl (Debian package `wixl`), for the files of a folder."""
    source = target.with_suffix(".wxs")
    source.write_text(render_product(tree, version), encoding="utf-8")
    try:
        # Paths of files are relative to the working directory: wixl does not take absolute ones.
        _run("wixl", "--arch=x64", f"--output={target.absolute()}", str(source.absolute()), directory=tree)
    finally:
        source.unlink()
    for change in _CHANGES:
        _run("msibuild", str(target.absolute()), "-q", change, directory=tree)


def render_product(tree: Path, version: str) -> str:
    """Return the source of the MSI in WiX's language, which contains the same ids at each build."""
    files = "\n".join(_render_folder(tree, PurePosixPath()))
    names = [path.relative_to(tree).as_posix() for path in sorted(tree.rglob("*")) if path.is_file()]
    return _PRODUCT.format(
        product=_guid(f"version {version}"),
        version=version,
        upgrade=_braced(UPGRADE_CODE),
        files=files,
        python=_identifier("f", "python.exe"),
        command=_COMMAND,
        references="\n".join(f'      <ComponentRef Id="{_identifier("c", name)}"/>' for name in names),
    )


def _render_folder(tree: Path, folder: PurePosixPath) -> Iterator[str]:
    for path in sorted((tree / folder).iterdir()):
        name = folder / path.name
        if path.is_dir():
            yield f'<Directory Id="{_identifier("d", str(name))}" Name={quoteattr(path.name)}>'
            yield from _render_folder(tree, name)
            yield "</Directory>"
            continue
        # One component for each file, identified by its path, as Windows' rules for components require.
        yield f'<Component Id="{_identifier("c", str(name))}" Guid="{_guid(str(name))}" Win64="yes">'
        yield (
            f'<File Id="{_identifier("f", str(name))}" Name={quoteattr(path.name)} '
            f'Source={quoteattr(str(name))} KeyPath="yes"/>'
        )
        if str(name) == "python.exe":
            # Before files are replaced or removed. The installer then knows that they will not be in use.
            yield '<ServiceControl Id="Service" Name="socket-state-exporter" Stop="both" Wait="yes"/>'
        yield "</Component>"


def _identifier(kind: str, path: str) -> str:
    """Return an identifier of at most 72 characters of A-Z, 0-9 and _, the same for a path at each build."""
    return f"{kind}_{uuid.uuid5(UPGRADE_CODE, path).hex}"


def _guid(name: str) -> str:
    return _braced(uuid.uuid5(UPGRADE_CODE, name))


def _braced(identifier: uuid.UUID) -> str:
    return f"{{{identifier}}}".upper()


def _run(*command: str, directory: Path) -> None:
    subprocess.run(command, cwd=directory, check=True)  # noqa: S603  # no other input
