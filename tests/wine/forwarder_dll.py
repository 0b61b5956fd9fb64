"""A DLL without code, whose exported functions are those of other DLLs.

Wine 8 lacks bcryptprimitives.dll, which bcrypt's extension module needs for ProcessPrng(). The function
SystemFunction036() of advapi32.dll, also known as RtlGenRandom(), has the same parameters.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

BCRYPTPRIMITIVES: Final = ("bcryptprimitives.dll", {"ProcessPrng": "ADVAPI32.SystemFunction036"})

_SECTION_ADDRESS: Final = 0x1000
_ALIGNMENT: Final = 512
_IMAGE_BASE: Final = 0x180000000
_AMD64: Final = 0x8664
# IMAGE_FILE_EXECUTABLE_IMAGE, IMAGE_FILE_LARGE_ADDRESS_AWARE and IMAGE_FILE_DLL.
_DLL: Final = 0x2022
_PE32_PLUS: Final = 0x20B
_DIRECTORIES: Final = 16
# IMAGE_SCN_CNT_INITIALIZED_DATA and IMAGE_SCN_MEM_READ.
_READ_ONLY_DATA: Final = 0x40000040


def forwarder_dll(name: str, forwards: Mapping[str, str]) -> bytes:
    """Return the content of a 64 bit DLL.

    forwards: exported name -> `DLL.function`.
    https://learn.microsoft.com/windows/win32/debug/pe-format
    """
    exports = _export_section(name, forwards)
    padded = exports.ljust(_round_up(len(exports)), b"\0")
    return _headers(len(exports)).ljust(_ALIGNMENT, b"\0") + padded


def _export_section(name: str, forwards: Mapping[str, str]) -> bytes:
    """Return the export directory: an address within the directory itself makes an export a forwarder."""
    header, count = 40, len(forwards)
    functions = header
    names = functions + 4 * count
    ordinals = names + 4 * count
    section = bytearray(ordinals + 2 * count)

    def append(text: str) -> int:
        address = _SECTION_ADDRESS + len(section)
        section.extend(text.encode("ascii") + b"\0")
        return address

    name_address = append(name)
    # The names are searched by bisection.
    for position, (exported, target) in enumerate(sorted(forwards.items())):
        struct.pack_into("<I", section, functions + 4 * position, append(target))
        struct.pack_into("<I", section, names + 4 * position, append(exported))
        struct.pack_into("<H", section, ordinals + 2 * position, position)
    tables = [_SECTION_ADDRESS + offset for offset in (functions, names, ordinals)]
    struct.pack_into("<IIHHIIIIIII", section, 0, 0, 0, 0, 0, name_address, 1, count, count, *tables)
    return bytes(section)


def _headers(section_size: int) -> bytes:
    file_size = _round_up(section_size)
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    optional = struct.pack("<HBBIIIII", _PE32_PLUS, 14, 0, 0, file_size, 0, 0, _SECTION_ADDRESS)
    optional += struct.pack("<QII6HIIIIHH", _IMAGE_BASE, _SECTION_ADDRESS, _ALIGNMENT, 6, 0, 0, 0, 6, 0, 0,
                            2 * _SECTION_ADDRESS, _ALIGNMENT, 0, 2, 0x160)  # fmt: skip
    optional += struct.pack("<QQQQII", 0x100000, 0x1000, 0x100000, 0x1000, 0, _DIRECTORIES)
    optional += struct.pack("<II", _SECTION_ADDRESS, section_size).ljust(8 * _DIRECTORIES, b"\0")
    coff = struct.pack("<4sHHIIIHH", b"PE", _AMD64, 1, 0, 0, 0, len(optional), _DLL)
    section = struct.pack("<8sIIIIIIHHI", b".edata", section_size, _SECTION_ADDRESS, file_size, _ALIGNMENT,
                          0, 0, 0, 0, _READ_ONLY_DATA)  # fmt: skip
    return dos + coff + optional + section


def _round_up(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
