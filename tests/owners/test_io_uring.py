"""Sockets registered with io_uring, as /proc/PID/fdinfo lists them."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.owners.io_uring import read_registered_sockets

# Linux 6.18, shortened.
FDINFO = """\
pos:\t0
flags:\t02000002
mnt_id:\t17
ino:\t34274496
SqMask:\t0x7
SQEs:\t1
    0: opcode:READ, fd:5, flags:0, off:0, addr:0x0, rw_flags:0x0, buf_index:0 user_data:0
CQEs:\t0
UserFiles:\t5
    0: socket:[34274495]
    2: socket:[4294967295]
    3: /var/log/socket:[7]
    4: pipe:[34274497]
UserBufs:\t0
PollList:
"""


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_inodes_of_registered_sockets_are_returned(tmp_path: Path) -> None:
    assert read_registered_sockets(write(tmp_path / "5", FDINFO)) == [34274495, 4294967295]


@pytest.mark.parametrize("text", ["", "pos:\t0\n", "UserFiles:\t1\n    0: TCP\n", "    0: <none>\n"])
def test_other_content_has_no_sockets(tmp_path: Path, text: str) -> None:
    assert read_registered_sockets(write(tmp_path / "5", text)) == []


def test_a_limited_number_of_bytes_is_read(tmp_path: Path) -> None:
    text = "".join(f"{slot:5}: socket:[{slot + 1}]\n" for slot in range(100_000))
    assert 5000 < len(read_registered_sockets(write(tmp_path / "5", text))) < 20_000


def test_missing_file_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_registered_sockets(str(tmp_path / "5"))
