"""The man page and the completions match the flags, and real shells complete with them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from ..tools import require
from . import completions
from .commands import Command, commands
from .man_page import man_page

MANUAL: Final = Path(__file__).parents[2] / "deploy/manual"
NAME: Final = "socket-state-exporter"

WRITERS: Final[dict[str, Callable[[tuple[Command, ...]], str]]] = {
    f"{NAME}.1": man_page,
    f"{NAME}.bash": completions.bash,
    f"_{NAME}": completions.zsh,
    f"{NAME}.fish": completions.fish,
}


@pytest.mark.parametrize("name", WRITERS)
def test_golden_files_match_the_flags(name: str, update_golden: bool) -> None:
    expected = WRITERS[name](commands())
    if update_golden:
        (MANUAL / name).write_text(expected)
    assert expected == (MANUAL / name).read_text()


@pytest.mark.skipif(not shutil.which("man"), reason="needs man (Debian package man-db)")
def test_man_page_has_every_flag_and_no_warnings() -> None:
    shown = subprocess.run(
        ["man", "--warnings", "--local-file", MANUAL / f"{NAME}.1"],
        env={"MANWIDTH": "1000", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "MANPAGER": "cat"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stderr == ""
    for command in commands():
        for flag in command.options:
            assert all(name in shown.stdout for name in flag.names)


COMPLETIONS: Final = [
    ("--web.t", {"--web.telemetry-path"}),
    ("--no-collector.o", {"--no-collector.owners"}),
    ("--source ", {"auto", "iphlpapi", "netlink", "psutil"}),
    ("--source=n", {"netlink"}),
    ("--log.format=json --source=p", {"psutil"}),
    ("expl", {"explain"}),
    ("explain --j", {"--json"}),
    ("explain --web", set()),
    ("explain --source=n", {"netlink"}),
    ("--config.file ", {"file.yml", "folder"}),
    ("--config.file=fi", {"file.yml"}),
    ("--path.procfs ", {"folder"}),
    ("--web.listen-address ", set()),
    ("assets ", {"folder"}),
    ("assets --o", {"--overwrite"}),
    ("--once expl", set()),
]
"""Text typed after the command -> completions offered."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The working directory of the shell."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.yml").touch()
    return tmp_path


BASH: Final = """
source "$1"
COMP_WORDS=(socket-state-exporter)
# As readline does: = is a word of its own.
read -r -a typed <<<"${2//=/ = }"
COMP_WORDS+=("${typed[@]}")
[[ $2 != *[\\ ] ]] || COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
_socket_state_exporter
[[ ${#COMPREPLY[@]} -eq 0 ]] || printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(("typed", "offered"), COMPLETIONS)
def test_bash_completes(typed: str, offered: set[str], folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", BASH, "bash", MANUAL / f"{NAME}.bash", typed],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert offered == set(done.stdout.splitlines())


@require("fish")
@pytest.mark.parametrize(("typed", "offered"), COMPLETIONS)
def test_fish_completes(typed: str, offered: set[str], folder: Path) -> None:
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {MANUAL / NAME}.fish; complete -C '{NAME} {typed}'"],
        cwd=folder, env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    answers = (line.split("\t")[0].rstrip("/") for line in done.stdout.splitlines())
    assert offered == {answer.rpartition("=")[2] if "=" in typed else answer for answer in answers}


@require("zsh")
@pytest.mark.parametrize(("typed", "offered"), COMPLETIONS)
def test_zsh_completes(typed: str, offered: set[str], folder: Path) -> None:
    done = subprocess.run(
        ["zsh", "-f", Path(__file__).parent / "complete.zsh", MANUAL, typed],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert offered == set(filter(None, done.stdout.splitlines()))
