"""The profile of ``sandbox.seccomp`` as a program for ``bwrap --seccomp``, made by the system's libseccomp.

It means what it means under Docker. A call that is not allowed fails with EPERM. A call that is newer than all calls
of the profile fails with ENOSYS, as runc does it: programs then take an older one, which they do not after EPERM. Names
that this libseccomp does not know are skipped. A 32-bit program is killed at its first call.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from fastflow_runner.sandbox.seccomp import ENOSYS, profile

UNFILTERED: Final = (
    "System calls are not filtered: this machine has no libseccomp. Install it (Debian, Ubuntu: libseccomp2; Fedora, "
    "RHEL, Alpine: libseccomp)."
)
"""What the operator must know where ``program`` returns None."""

_LIBRARY: Final = "libseccomp.so.2"
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_EPERM: Final = 1
_OPERATORS: Final = {"SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}
_ATTRIBUTE_OPTIMIZE: Final = 8
_BINARY_TREE: Final = 2
_X32: Final = 0x40000000
"""The bit of calls of the x32 ABI. They look like the newest of all and stay with libseccomp's own rule."""
_LOAD_WORD: Final = 0x20
_JUMP_IF_EQUAL, _JUMP_IF_GREATER, _JUMP_IF_AT_LEAST, _RETURN = 0x15, 0x25, 0x35, 0x06
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE = 0, 4


class _Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp``."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("value_two", ctypes.c_uint64),
    )


@cache
def program() -> bytes | None:
    """Return the BPF program of the profile for this machine's processor, or None without a usable libseccomp."""
    try:
        library = ctypes.CDLL(_LIBRARY)
        library.seccomp_init.restype = ctypes.c_void_p
        library.seccomp_arch_native.restype = ctypes.c_uint32
    except (OSError, AttributeError):
        return None
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ERRNO | _EPERM)))
    if not context:
        return None
    try:
        # As a tree, a call costs some ten instructions. Older libraries have a list only.
        library.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, ctypes.c_uint32(_BINARY_TREE))
        newest = 0
        for rule in profile()["syscalls"]:
            for number in _numbers(library, rule["names"]):
                newest = max(newest, number)
                if not _add(library, context, number, rule):
                    return None
        rest = _exported(library, context)
    finally:
        library.seccomp_release(context)
    return None if rest is None else _unknown_calls(library.seccomp_arch_native(), newest) + rest


def _numbers(library: ctypes.CDLL, names: list[str]) -> Iterator[int]:
    """Yield the numbers of those calls that this library knows and this processor has."""
    for name in names:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            yield number


def _add(library: ctypes.CDLL, context: ctypes.c_void_p, number: int, rule: Mapping[str, Any]) -> bool:
    """Add *rule* for the call *number*, and return whether the library took it."""
    action = _ALLOW if rule["action"] == "SCMP_ACT_ALLOW" else _ERRNO | rule["errnoRet"]
    arguments = rule.get("args", ())
    comparisons = (_Comparison * len(arguments))(
        *(_Comparison(each["index"], _OPERATORS[each["op"]], each["value"], each["valueTwo"]) for each in arguments)
    )
    taken = library.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, len(arguments), comparisons)
    return bool(taken == 0)


def _exported(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes | None:
    with open(os.memfd_create("seccomp"), "w+b") as file:
        if library.seccomp_export_bpf(context, file.fileno()) != 0:
            return None
        file.seek(0)
        return file.read()


def _unknown_calls(architecture: int, newest: int) -> bytes:
    """Return the instructions that answer ENOSYS to calls above *newest*, and leave all others to what follows."""
    instructions = (
        (_LOAD_WORD, 0, 0, _OFFSET_ARCHITECTURE),
        (_JUMP_IF_EQUAL, 0, 4, architecture),
        (_LOAD_WORD, 0, 0, _OFFSET_NUMBER),
        (_JUMP_IF_AT_LEAST, 2, 0, _X32),
        (_JUMP_IF_GREATER, 0, 1, newest),
        (_RETURN, 0, 0, _ERRNO | ENOSYS),
    )
    return b"".join(struct.pack("=HBBI", *each) for each in instructions)
