"""Writes out the files that come with the exporter: rules, runbooks, dashboards, the systemd unit and more.

What was changed there since stays as it is: the new version is laid beside it. To know what was changed, a
file in the format of sha256sum(1) keeps what was written last time.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

_HERE: Final = Path(__file__).parent

SHIPPED: Final = _HERE / "shipped"
"""Where a wheel has them. pyproject.toml says which; a checkout has them beside the package."""

_CHECKOUT: Final = ("deploy", "grafana/dashboards", "grafana/provisioning")
_LEFT_OUT: Final = ("deploy/compose", "deploy/debian", "deploy/image", "__pycache__")
"""What works in a checkout only, and what Python leaves behind."""

RECORD: Final = ".socket-state-exporter.sha256"
BESIDE: Final = ".new"
"""Behind the name of a file that was changed: its new version."""


@dataclass(slots=True)
class Written:
    """What became of the files, by their paths below the directory."""

    new: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Changed by somebody: not touched; the new version is beside it."""
    removed: list[str] = field(default_factory=list)
    """No longer part of the exporter, and not changed since it was written."""
    left: list[str] = field(default_factory=list)
    """No longer part of the exporter, but changed, and so left alone."""

    def told(self) -> Iterator[str]:
        """Lines for a person."""
        for path in self.kept:
            yield f"kept {path}: changed here; the new version is {path}{BESIDE}"
        for path in self.left:
            yield f"kept {path}: changed here, and no longer part of the exporter"
        for path in self.removed:
            yield f"removed {path}: no longer part of the exporter"
        yield (
            f"{len(self.new)} written, {len(self.updated)} updated, {len(self.same)} as they were, "
            f"{len(self.kept) + len(self.left)} kept"
        )


def assets() -> dict[str, Path]:
    """Path below the directory -> the file, sorted."""
    if SHIPPED.is_dir():
        return dict(_below(SHIPPED, SHIPPED))
    root = _HERE.parent
    return dict(pair for name in _CHECKOUT for pair in _below(root / name, root))


def _below(path: Path, root: Path) -> Iterator[tuple[str, Path]]:
    name = path.relative_to(root).as_posix()
    if name.endswith(_LEFT_OUT):
        return
    if path.is_dir():
        for child in sorted(path.iterdir()):
            yield from _below(child, root)
    elif path.is_file():
        yield name, path


def write(directory: Path, files: Mapping[str, Path], overwrite: bool = False) -> Written:
    """Writes the files into the directory, which is made where it is missing.

    overwrite: also those that were changed there. Raises OSError where something cannot be written; what was
    written until then stays.
    """
    written = Written()
    before = _recorded(directory)
    now = {name: _digest(source) for name, source in files.items()}
    for name, source in files.items():
        known = {now[name], before.get(name)}
        _place(source, directory / name, name, known, written, overwrite)
    for name in sorted(before.keys() - now.keys()):
        _retire(directory / name, name, before[name], written)
    lines = "".join(f"{digest}  {name}\n" for name, digest in now.items())
    _replace(directory / RECORD, lines.encode(), mode=0o644)
    return written


def _place(
    source: Path, target: Path, name: str, known: Set[str | None], written: Written, overwrite: bool
) -> None:
    """Writes one file, or its new version beside it. known: the digests of what nobody changed."""
    beside = target.with_name(target.name + BESIDE)
    content = source.read_bytes()
    if target.exists() and _digest(target) not in known and not overwrite:
        written.kept.append(name)
        _replace(beside, content, source.stat().st_mode)
        return
    if not target.exists():
        written.new.append(name)
    elif target.read_bytes() == content:
        written.same.append(name)
    else:
        written.updated.append(name)
    if name not in written.same:
        _replace(target, content, source.stat().st_mode)
    # Whoever took the new version over, or went back, needs it no more.
    if beside.is_file() and _digest(beside) in known:
        beside.unlink()


def _retire(target: Path, name: str, before: str, written: Written) -> None:
    """Removes a file that is no longer part of the exporter, unless somebody changed it."""
    if not target.exists():
        return
    if _digest(target) == before:
        target.unlink()
        written.removed.append(name)
    else:
        written.left.append(name)


def _replace(target: Path, content: bytes, mode: int) -> None:
    """Writes a file at once or not at all: Prometheus may read it in that moment. Links are followed."""
    target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    partial.write_bytes(content)
    partial.chmod(0o755 if mode & stat.S_IXUSR else 0o644)
    partial.replace(target)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _recorded(directory: Path) -> dict[str, str]:
    """Path -> digest of what was written here last time; nothing the first time."""
    record = directory / RECORD
    lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    pairs = (line.partition("  ") for line in lines)
    return {name: digest for digest, _, name in pairs if _is_below(name)}


def _is_below(name: str) -> bool:
    """Whether it is a path that stays below the directory, whatever somebody wrote into the record."""
    path = PurePosixPath(name)
    return bool(path.name) and not path.is_absolute() and ".." not in path.parts
