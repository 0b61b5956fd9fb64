"""`assets` writes out what comes with the exporter, and never over what somebody changed."""

from __future__ import annotations

import importlib.metadata
import os
import stat
import subprocess
from pathlib import Path

import pytest

from exporter import assets

from .running import run

ROOT = Path(__file__).parent.parent


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Where the exporter has its files: two of them."""
    folder = tmp_path / "shipped"
    (folder / "rules").mkdir(parents=True)
    (folder / "rules/alerts.yml").write_text("alerts 1\n")
    (folder / "install.sh").write_text("#!/bin/sh\n")
    (folder / "install.sh").chmod(0o755)
    return folder


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "somewhere/else"


def shipped(source: Path) -> dict[str, Path]:
    return {path.relative_to(source).as_posix(): path for path in source.rglob("*") if path.is_file()}


def write(source: Path, directory: Path, overwrite: bool = False) -> assets.Written:
    return assets.write(directory, shipped(source), overwrite)


def test_the_first_time_all_is_written(source: Path, directory: Path) -> None:
    written = write(source, directory)
    assert written == assets.Written(new=list(shipped(source)))
    assert (directory / "rules/alerts.yml").read_text() == "alerts 1\n"
    assert stat.S_IMODE((directory / "rules/alerts.yml").stat().st_mode) == 0o644
    assert stat.S_IMODE((directory / "install.sh").stat().st_mode) == 0o755


def test_a_second_time_changes_nothing(source: Path, directory: Path) -> None:
    write(source, directory)
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.name != assets.RECORD}
    assert write(source, directory) == assets.Written(same=list(shipped(source)))
    after = {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.name != assets.RECORD}
    assert before.keys() == after.keys()
    assert all(before[path] == after[path] for path in before if path.is_file())


def test_an_upgrade_replaces_what_nobody_changed(source: Path, directory: Path) -> None:
    write(source, directory)
    (source / "rules/alerts.yml").write_text("alerts 2\n")
    assert write(source, directory).updated == ["rules/alerts.yml"]
    assert (directory / "rules/alerts.yml").read_text() == "alerts 2\n"


@pytest.mark.parametrize("upgraded", [False, True], ids=["same version", "upgrade"])
def test_what_was_changed_is_kept_and_said(source: Path, directory: Path, upgraded: bool) -> None:
    write(source, directory)
    (directory / "rules/alerts.yml").write_text("mine\n")
    if upgraded:
        (source / "rules/alerts.yml").write_text("alerts 2\n")
    for _ in range(2):
        written = write(source, directory)
        assert written.kept == ["rules/alerts.yml"]
        assert "rules/alerts.yml.new" in next(written.told())
        assert (directory / "rules/alerts.yml").read_text() == "mine\n"
        beside = directory / "rules/alerts.yml.new"
        assert beside.read_text() == ("alerts 2\n" if upgraded else "alerts 1\n")


def test_what_lay_there_before_the_first_time_is_kept(source: Path, directory: Path) -> None:
    (directory / "rules").mkdir(parents=True)
    (directory / "rules/alerts.yml").write_text("mine\n")
    written = write(source, directory)
    assert (written.new, written.kept) == (["install.sh"], ["rules/alerts.yml"])
    assert (directory / "rules/alerts.yml").read_text() == "mine\n"


def test_who_takes_the_new_version_over_is_upgraded_again(source: Path, directory: Path) -> None:
    write(source, directory)
    mine = directory / "rules/alerts.yml"
    mine.write_text("mine\n")
    (source / "rules/alerts.yml").write_text("alerts 2\n")
    write(source, directory)
    (directory / "rules/alerts.yml.new").replace(mine)
    (source / "rules/alerts.yml").write_text("alerts 3\n")
    assert write(source, directory).updated == ["rules/alerts.yml"]
    assert mine.read_text() == "alerts 3\n"


def test_who_goes_back_needs_the_new_version_no_more(source: Path, directory: Path) -> None:
    write(source, directory)
    mine = directory / "rules/alerts.yml"
    mine.write_text("mine\n")
    write(source, directory)
    mine.write_text("alerts 1\n")
    write(source, directory)
    assert not (directory / "rules/alerts.yml.new").exists()


def test_who_wants_it_has_them_overwritten(source: Path, directory: Path) -> None:
    write(source, directory)
    (directory / "rules/alerts.yml").write_text("mine\n")
    assert write(source, directory, overwrite=True).updated == ["rules/alerts.yml"]
    assert (directory / "rules/alerts.yml").read_text() == "alerts 1\n"


def test_what_is_no_longer_part_goes_unless_changed(source: Path, directory: Path) -> None:
    """Old alert rules beside new ones of another name would fire twice."""
    (source / "rules/old.yml").write_text("old\n")
    (source / "rules/older.yml").write_text("older\n")
    write(source, directory)
    (directory / "rules/older.yml").write_text("mine\n")
    for name in ("old.yml", "older.yml"):
        (source / "rules" / name).unlink()
    written = write(source, directory)
    assert (written.removed, written.left) == (["rules/old.yml"], ["rules/older.yml"])
    assert not (directory / "rules/old.yml").exists()
    assert (directory / "rules/older.yml").read_text() == "mine\n"


def test_the_record_cannot_make_it_remove_what_is_elsewhere(source: Path, directory: Path) -> None:
    write(source, directory)
    victim = directory.parent / "victim"
    victim.write_text("alerts 1\n")
    digest = (directory / assets.RECORD).read_text().split()[0]
    (directory / assets.RECORD).write_text(f"{digest}  ../victim\n{digest}  {victim}\nnonsense\n")
    write(source, directory)
    assert victim.exists()


def test_the_record_is_for_sha256sum(source: Path, directory: Path) -> None:
    write(source, directory)
    (directory / "rules/alerts.yml").write_text("mine\n")
    checked = subprocess.run(
        ["sha256sum", "--check", assets.RECORD], cwd=directory, capture_output=True, text=True, check=False
    )
    assert "rules/alerts.yml: FAILED" in checked.stdout
    assert "install.sh: OK" in checked.stdout


def test_a_link_stays_and_what_it_leads_to_is_written(source: Path, directory: Path, tmp_path: Path) -> None:
    write(source, directory)
    moved = (directory / "rules/alerts.yml").rename(tmp_path / "moved.yml")
    (directory / "rules/alerts.yml").symlink_to(moved)
    (source / "rules/alerts.yml").write_text("alerts 2\n")
    write(source, directory)
    assert (directory / "rules/alerts.yml").is_symlink()
    assert moved.read_text() == "alerts 2\n"


def test_everything_that_the_project_ships_is_there() -> None:
    """From a wheel as from a checkout: what git knows of, less what only builds it."""
    listed = subprocess.run(
        ["git", "ls-files", "deploy", "grafana/dashboards", "grafana/provisioning"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("needs a git checkout")
    left_out = ("deploy/compose/", "deploy/debian/", "deploy/image/")
    wanted = {name for name in listed.stdout.splitlines() if not name.startswith(left_out)}
    assert wanted <= assets.assets().keys()
    assert not [name for name in assets.assets() if name.endswith(".pyc") or name.startswith(left_out)]
    for name in wanted:
        assert assets.assets()[name].read_bytes() == (ROOT / name).read_bytes()


def test_a_wheel_puts_nothing_beside_the_package() -> None:
    files = importlib.metadata.files("socket-state-exporter")
    assert files is not None
    beside = {file.parts[0] for file in files} - {"exporter", ".."}
    version = importlib.metadata.version("socket-state-exporter")
    assert beside <= {f"socket_state_exporter-{version}.dist-info", "_socket_state_exporter.pth"}


def test_the_command_writes_them_and_says_what_it_did(tmp_path: Path) -> None:
    first = run("assets", str(tmp_path))
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == f"{len(assets.assets())} written, 0 updated, 0 as they were, 0 kept\n"
    (tmp_path / "deploy/alertmanager/alertmanager.yml").write_text("mine\n")
    second = run("assets", str(tmp_path))
    assert second.returncode == 0
    assert second.stdout.startswith("kept deploy/alertmanager/alertmanager.yml: changed here;")


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = run("assets", str(tmp_path / "file"))
    assert told.returncode == 1
    assert told.stderr.startswith("socket-state-exporter: ")
    assert str(tmp_path / "file") in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs modes of POSIX")
def test_scripts_can_be_run() -> None:
    scripts = [path for name, path in assets.assets().items() if name.endswith(".sh")]
    assert all(os.access(path, os.X_OK) for path in scripts)
