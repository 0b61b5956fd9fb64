"""The configuration of the Windows service, checked without Windows."""

from __future__ import annotations

import re
from pathlib import PureWindowsPath
from typing import Final
from xml.etree import ElementTree as ET

from exporter import __version__
from exporter.flags import NAME, build_parser
from exporter.http.limits import ServerLimits

from .rules import DEPLOY

SERVICE: Final = DEPLOY / "windows" / f"{NAME}.xml"

WINSW: Final = {
    *("id", "name", "description", "executable", "argument", "startmode", "onfailure", "resetfailure"),
    *("stoptimeout", "log"),
}
"""Elements of https://github.com/winsw/winsw/blob/v3/docs/xml-config-file.md that version 2 also knows."""


def service() -> ET.Element:
    return ET.fromstring(SERVICE.read_text(encoding="utf-8"))  # noqa: S314  # our own file


def text(name: str) -> str:
    return service().findtext(name, default="")


def seconds(name: str) -> float:
    (number,) = re.findall(r"^(\d+) sec$", text(name))
    return float(number)


def test_elements_are_known_to_winsw() -> None:
    assert service().tag == "service"
    assert {element.tag for element in service()} <= WINSW


def test_service_starts_the_command_that_pip_installs() -> None:
    started = PureWindowsPath(text("executable"))
    assert started.parts == ("%BASE%", "venv", "Scripts", f"{NAME}.exe")
    assert text("id") == NAME == SERVICE.stem
    assert f"{NAME.replace('-', '_')}-{__version__}-py3-none-any.whl" in SERVICE.read_text()


def test_exporter_accepts_the_flags_of_the_compose_file() -> None:
    flags = build_parser().parse_args([element.text or "" for element in service().iter("argument")])
    assert flags.addresses == [":10066"]


def test_stop_timeout_exceeds_shutdown_timeout() -> None:
    assert seconds("stoptimeout") > ServerLimits().shutdown_timeout
