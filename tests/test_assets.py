"""`assets` installs the bundled files, and keeps locally modified ones."""

from __future__ import annotations

import importlib.metadata
import os
import stat
import subprocess
from pathlib import Path

import pytest

from exporter import assets

from .running import run
from .systems import needs_posix
from .tools import require

ROOT = Path(__file__).parent.parent
MANIFEST = ".socket-state-exporter.sha256"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A bundle of two files."""
    folder = tmp_path / "shipped"
    (folder / "rules").mkdir(parents=True)
    (folder / "rules/alerts.yml").write_text("alerts 1\n")
    (folder / "install.sh").write_text("#!/bin/sh\n")
    (folder / "install.sh").chmod(0o755)
    return folder


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "somewhere/else"


def files_in(source: Path) -> dict[str, Path]:
    return {path.relative_to(source).as_posix(): path for path in source.rglob("*") if path.is_file()}


def install(source: Path, directory: Path, overwrite: bool = False) -> assets.InstallReport:
    return assets.install_files(directory, files_in(source), overwrite)


def test_first_installation_creates_every_file(source: Path, directory: Path) -> None:
    report = install(source, directory)
    assert report == assets.InstallReport(created=list(files_in(source)))
    assert (directory / "rules/alerts.yml").read_text() == "alerts 1\n"


@needs_posix
def test_installed_files_have_the_modes_of_the_bundle(source: Path, directory: Path) -> None:
    install(source, directory)
    assert stat.S_IMODE((directory / "rules/alerts.yml").stat().st_mode) == 0o644
    assert stat.S_IMODE((directory / "install.sh").stat().st_mode) == 0o755


def test_second_installation_changes_nothing(source: Path, directory: Path) -> None:
    install(source, directory)
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.name != MANIFEST}
    assert install(source, directory) == assets.InstallReport(unchanged=list(files_in(source)))
    after = {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.name != MANIFEST}
    assert before.keys() == after.keys()
    assert all(before[path] == after[path] for path in before if path.is_file())


def test_upgrade_replaces_unmodified_files(source: Path, directory: Path) -> None:
    install(source, directory)
    (source / "rules/alerts.yml").write_text("alerts 2\n")
    assert install(source, directory).updated == ["rules/alerts.yml"]
    assert (directory / "rules/alerts.yml").read_text() == "alerts 2\n"


@pytest.mark.parametrize("upgraded", [False, True], ids=["same version", "upgrade"])
def test_modified_file_is_kept_with_the_new_version(source: Path, directory: Path, upgraded: bool) -> None:
    install(source, directory)
    (directory / "rules/alerts.yml").write_text("mine\n")
    if upgraded:
        (source / "rules/alerts.yml").write_text("alerts 2\n")
    for _ in range(2):
        report = install(source, directory)
        assert report.kept == ["rules/alerts.yml"]
        assert list(report.summary()) == [
            "kept rules/alerts.yml (locally modified); new version written to rules/alerts.yml.new",
            "0 written, 0 updated, 1 unchanged, 1 kept",
        ]
        assert (directory / "rules/alerts.yml").read_text() == "mine\n"
        new_version = directory / "rules/alerts.yml.new"
        assert new_version.read_text() == ("alerts 2\n" if upgraded else "alerts 1\n")


def test_file_present_before_installation_is_kept(source: Path, directory: Path) -> None:
    (directory / "rules").mkdir(parents=True)
    (directory / "rules/alerts.yml").write_text("mine\n")
    report = install(source, directory)
    assert (report.created, report.kept) == (["install.sh"], ["rules/alerts.yml"])
    assert (directory / "rules/alerts.yml").read_text() == "mine\n"


def test_accepted_new_version_is_upgraded_again(source: Path, directory: Path) -> None:
    install(source, directory)
    mine = directory / "rules/alerts.yml"
    mine.write_text("mine\n")
    (source / "rules/alerts.yml").write_text("alerts 2\n")
    install(source, directory)
    (directory / "rules/alerts.yml.new").replace(mine)
    (source / "rules/alerts.yml").write_text("alerts 3\n")
    assert install(source, directory).updated == ["rules/alerts.yml"]
    assert mine.read_text() == "alerts 3\n"


def test_new_version_is_removed_when_the_change_is_reverted(source: Path, directory: Path) -> None:
    install(source, directory)
    mine = directory / "rules/alerts.yml"
    mine.write_text("mine\n")
    install(source, directory)
    mine.write_text("alerts 1\n")
    install(source, directory)
    assert not (directory / "rules/alerts.yml.new").exists()


def test_overwrite_replaces_modified_files(source: Path, directory: Path) -> None:
    install(source, directory)
    (directory / "rules/alerts.yml").write_text("mine\n")
    assert install(source, directory, overwrite=True).updated == ["rules/alerts.yml"]
    assert (directory / "rules/alerts.yml").read_text() == "alerts 1\n"


def test_obsolete_file_is_removed_unless_modified(source: Path, directory: Path) -> None:
    """Otherwise old alert rules would fire in addition to renamed ones."""
    (source / "rules/old.yml").write_text("old\n")
    (source / "rules/older.yml").write_text("older\n")
    install(source, directory)
    (directory / "rules/older.yml").write_text("mine\n")
    for name in ("old.yml", "older.yml"):
        (source / "rules" / name).unlink()
    report = install(source, directory)
    assert (report.removed, report.kept_obsolete) == (["rules/old.yml"], ["rules/older.yml"])
    assert list(report.summary()) == [
        "kept rules/older.yml (locally modified); no longer part of the exporter",
        "removed rules/old.yml; no longer part of the exporter",
        "0 written, 0 updated, 2 unchanged, 1 kept",
    ]
    assert not (directory / "rules/old.yml").exists()
    assert (directory / "rules/older.yml").read_text() == "mine\n"


def test_manifest_cannot_name_files_outside_the_directory(source: Path, directory: Path) -> None:
    install(source, directory)
    victim = directory.parent / "victim"
    victim.write_text("alerts 1\n")
    digest = (directory / MANIFEST).read_text().split()[0]
    (directory / MANIFEST).write_text(f"{digest}  ../victim\n{digest}  {victim}\nnonsense\n")
    install(source, directory)
    assert victim.exists()


@require("sha256sum")
def test_manifest_can_be_checked_by_sha256sum(source: Path, directory: Path) -> None:
    install(source, directory)
    (directory / "rules/alerts.yml").write_text("mine\n")
    checked = subprocess.run(
        ["sha256sum", "--check", MANIFEST], cwd=directory, capture_output=True, text=True, check=False
    )
    assert "rules/alerts.yml: FAILED" in checked.stdout
    assert "install.sh: OK" in checked.stdout


@needs_posix
def test_symbolic_link_is_followed_and_stays(source: Path, directory: Path, tmp_path: Path) -> None:
    install(source, directory)
    moved = (directory / "rules/alerts.yml").rename(tmp_path / "moved.yml")
    (directory / "rules/alerts.yml").symlink_to(moved)
    (source / "rules/alerts.yml").write_text("alerts 2\n")
    install(source, directory)
    assert (directory / "rules/alerts.yml").is_symlink()
    assert moved.read_text() == "alerts 2\n"


@require("git")
def test_bundle_has_every_deployment_file() -> None:
    """A wheel and a checkout have the files in git, without those that are only for building."""
    listed = subprocess.run(
        ["git", "ls-files", "deploy", "grafana/dashboards", "grafana/provisioning"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("needs a git checkout")
    excluded = ("deploy/compose/", "deploy/debian/", "deploy/image/", "deploy/windows/")
    expected = {name for name in listed.stdout.splitlines() if not name.startswith(excluded)}
    assert expected <= assets.bundled_files().keys()
    assert not [name for name in assets.bundled_files() if name.endswith(".pyc") or name.startswith(excluded)]
    for name in expected:
        assert assets.bundled_files()[name].read_bytes() == (ROOT / name).read_bytes()


def test_wheel_installs_only_the_package() -> None:
    try:
        files = importlib.metadata.files("socket-state-exporter")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs an installed package")
    assert files is not None
    top_level = {file.parts[0] for file in files} - {"exporter", ".."}
    version = importlib.metadata.version("socket-state-exporter")
    assert top_level <= {f"socket_state_exporter-{version}.dist-info", "_socket_state_exporter.pth"}


def test_command_prints_a_summary(tmp_path: Path) -> None:
    first = run("assets", str(tmp_path))
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == f"{len(assets.bundled_files())} written, 0 updated, 0 unchanged, 0 kept\n"
    (tmp_path / "deploy/alertmanager/alertmanager.yml").write_text("mine\n")
    second = run("assets", str(tmp_path))
    assert second.returncode == 0
    assert second.stdout.startswith("kept deploy/alertmanager/alertmanager.yml (locally modified);")


def test_directory_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    failed = run("assets", str(tmp_path / "file"))
    assert failed.returncode == 1
    assert failed.stderr.startswith("socket-state-exporter: ")
    assert str(tmp_path / "file") in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs modes of POSIX")
def test_scripts_are_executable() -> None:
    scripts = [path for name, path in assets.bundled_files().items() if name.endswith(".sh")]
    assert all(os.access(path, os.X_OK) for path in scripts)
