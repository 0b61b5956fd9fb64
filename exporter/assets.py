"""Installation of the files bundled with the exporter: rules, runbooks, dashboards, the systemd unit.

As dpkg does with configuration files, a locally modified file is kept, and its new version is written next to
it with the suffix `.new`. A manifest in the format of sha256sum(1) records the digests of installed files.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from .output import print_text

_PACKAGE: Final = Path(__file__).parent

BUNDLE: Final = _PACKAGE / "shipped"
"""The bundled files in a wheel (see pyproject.toml). In a checkout they are outside the package."""

_CHECKOUT_DIRS: Final = ("deploy", "grafana/dashboards", "grafana/provisioning")
_EXCLUDED: Final = ("deploy/compose", "deploy/debian", "deploy/image", "deploy/windows", "__pycache__")
"""Ends of paths that are not bundled: files of use in a checkout only, and Python's caches."""

MANIFEST: Final = ".socket-state-exporter.sha256"
NEW_SUFFIX: Final = ".new"
"""Suffix of the new version of a locally modified file."""


@dataclass(slots=True)
class InstallReport:
    """Outcome of an installation: paths below the target directory."""

    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Locally modified; the new version has the suffix `.new`."""
    removed: list[str] = field(default_factory=list)
    """No longer part of the exporter, and not modified."""
    kept_obsolete: list[str] = field(default_factory=list)
    """No longer part of the exporter, but locally modified."""

    def summary(self) -> Iterator[str]:
        """Yield lines for the operator."""
        for path in self.kept:
            yield f"kept {path} (locally modified); new version written to {path}{NEW_SUFFIX}"
        for path in self.kept_obsolete:
            yield f"kept {path} (locally modified); no longer part of the exporter"
        for path in self.removed:
            yield f"removed {path}; no longer part of the exporter"
        yield (
            f"{len(self.created)} written, {len(self.updated)} updated, {len(self.unchanged)} unchanged, "
            f"{len(self.kept) + len(self.kept_obsolete)} kept"
        )


def run(flags: argparse.Namespace) -> int:
    """Install the bundled files in a directory, and print the outcome. Return the exit status."""
    try:
        report = install_files(flags.directory, bundled_files(), flags.overwrite)
    except OSError as error:
        print(f"socket-state-exporter: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    print_text("".join(f"{line}\n" for line in report.summary()))
    return 0


def bundled_files() -> dict[str, Path]:
    """Return path below the directory -> bundled file, sorted."""
    if BUNDLE.is_dir():
        return dict(_iter_files(BUNDLE, BUNDLE))
    root = _PACKAGE.parent
    return dict(pair for name in _CHECKOUT_DIRS for pair in _iter_files(root / name, root))


def _iter_files(path: Path, root: Path) -> Iterator[tuple[str, Path]]:
    name = path.relative_to(root).as_posix()
    if name.endswith(_EXCLUDED):
        return
    if path.is_dir():
        for child in sorted(path.iterdir()):
            yield from _iter_files(child, root)
    elif path.is_file():
        yield name, path


def install_files(directory: Path, files: Mapping[str, Path], overwrite: bool = False) -> InstallReport:
    """Write the files into the directory, which is created if it does not exist.

    files: path below the directory -> file to copy.
    overwrite: replace locally modified files too.

    Raises OSError if a file cannot be written; the files written before it stay.
    """
    report = InstallReport()
    previous_digests = _read_manifest(directory)
    digests = {name: _compute_digest(source) for name, source in files.items()}
    for name, source in files.items():
        bundled_digests = {digests[name], previous_digests.get(name)}
        _install_file(source, directory / name, name, bundled_digests, report, overwrite)
    for name in sorted(previous_digests.keys() - digests.keys()):
        _remove_obsolete(directory / name, name, previous_digests[name], report)
    lines = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    _write_atomically(directory / MANIFEST, lines.encode(), mode=0o644)
    return report


def _install_file(
    source: Path,
    target: Path,
    name: str,
    bundled_digests: Set[str | None],
    report: InstallReport,
    overwrite: bool,
) -> None:
    """Write one file, or its new version with the suffix.

    bundled_digests: of the new and the previously installed version; a file with another one is modified.
    """
    new_version = target.with_name(target.name + NEW_SUFFIX)
    content = source.read_bytes()
    if target.exists() and _compute_digest(target) not in bundled_digests and not overwrite:
        report.kept.append(name)
        _write_atomically(new_version, content, source.stat().st_mode)
        return
    if not target.exists():
        report.created.append(name)
    elif target.read_bytes() == content:
        report.unchanged.append(name)
    else:
        report.updated.append(name)
    if name not in report.unchanged:
        _write_atomically(target, content, source.stat().st_mode)
    # The operator has merged the new version or restored a bundled one: the copy is obsolete.
    if new_version.is_file() and _compute_digest(new_version) in bundled_digests:
        new_version.unlink()


def _remove_obsolete(target: Path, name: str, installed_digest: str, report: InstallReport) -> None:
    """Remove a file that is no longer part of the exporter, unless it is locally modified."""
    if not target.exists():
        return
    if _compute_digest(target) == installed_digest:
        target.unlink()
        report.removed.append(name)
    else:
        report.kept_obsolete.append(name)


def _write_atomically(target: Path, content: bytes, mode: int) -> None:
    """Write a file completely or not at all: Prometheus may read it at any time. Symbolic links are kept."""
    target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    partial.write_bytes(content)
    partial.chmod(0o755 if mode & stat.S_IXUSR else 0o644)
    partial.replace(target)


def _compute_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_manifest(directory: Path) -> dict[str, str]:
    """Return path -> digest of the previously installed files; empty if there are none."""
    manifest = directory / MANIFEST
    lines = manifest.read_text(encoding="utf-8").splitlines() if manifest.exists() else []
    pairs = (line.partition("  ") for line in lines)
    return {name: digest for digest, _, name in pairs if _is_safe_path(name)}


def _is_safe_path(name: str) -> bool:
    """Return whether a path from the manifest, which any user may have edited, stays below the directory."""
    path = PurePosixPath(name)
    return bool(path.name) and not path.is_absolute() and ".." not in path.parts
