"""Protocols of real sockets, by descriptor."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Protocol

import pytest

from exporter.procfs.socket_protocol import read_socket_protocol

from ..children import drop_privileges, in_child

if sys.platform != "linux":
    pytest.skip("needs Linux", allow_module_level=True)


class Opened(Protocol):
    def fileno(self) -> int: ...


def path_of(opened: Opened) -> str:
    return f"/proc/{os.getpid()}/fd/{opened.fileno()}"


@pytest.mark.parametrize(
    ("family", "kind", "protocol"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, "TCP"),
        (socket.AF_INET6, socket.SOCK_STREAM, "TCPv6"),
        (socket.AF_INET, socket.SOCK_DGRAM, "UDP"),
        (socket.AF_UNIX, socket.SOCK_DGRAM, "UNIX"),
    ],
)
def test_protocol_of_a_socket(family: int, kind: int, protocol: str) -> None:
    with socket.socket(family, kind) as sock:
        assert read_socket_protocol(path_of(sock)) == protocol


def test_protocol_of_an_accepted_connection_that_was_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        client.close()
        accepted.shutdown(socket.SHUT_RDWR)
        assert read_socket_protocol(path_of(accepted)) == "TCP"
        accepted.close()


def test_other_files_have_none() -> None:
    read_end, write_end = os.pipe()
    with Path("/dev/null").open() as file, os.fdopen(read_end) as reader, os.fdopen(write_end, "w"):
        assert read_socket_protocol(path_of(file)) == ""
        assert read_socket_protocol(path_of(reader)) == ""


def test_closed_descriptor_raises() -> None:
    with pytest.raises(FileNotFoundError):
        read_socket_protocol("/proc/self/fd/9999")


def read_as_other_user(path: str) -> str:
    drop_privileges()
    return read_socket_protocol(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_process_of_another_user_raises() -> None:
    with socket.socket() as sock, pytest.raises(PermissionError):
        in_child(read_as_other_user, path_of(sock))
