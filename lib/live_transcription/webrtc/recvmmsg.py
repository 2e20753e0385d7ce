# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Read several datagrams per recvmmsg(2) call into preallocated buffers (Linux, cffi in ABI mode).

The only file that handles C structures: `Datagram` hides them from the rest of the receive path.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from cffi import FFI

#: Size of a buffer in octets, more than any datagram for this app has. The rest of a longer datagram is cut off.
MAX_OCTETS = 2_048
#: Maximum number of datagrams per call: twice what arrives in 40 ms. So a backlog of one socket does not delay the others.
MAX_DATAGRAMS = 4

_ffi = FFI()
_ffi.cdef(
    """
    struct iovec { void *iov_base; size_t iov_len; };
    struct msghdr {
        void *msg_name; uint32_t msg_namelen; struct iovec *msg_iov; size_t msg_iovlen;
        void *msg_control; size_t msg_controllen; int msg_flags;
    };
    struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
    int recvmmsg(int descriptor, struct mmsghdr *messages, unsigned int count, int flags, void *timeout);
    """
)
#: Octets of sockaddr_in and sockaddr_in6. Each family has its own batch, so that the kernel never changes these lengths.
_ADDRESS_OCTETS = {socket.AF_INET: 16, socket.AF_INET6: 28}


class Datagram:
    """A reusable buffer that contains one datagram. Copy the datagram to keep it."""

    __slots__ = ("_buffer", "_length", "_octets")

    def __init__(self, octets: Any = None, length: Any = None) -> None:
        """`octets` and `length` are C memory of `MAX_OCTETS` and of an int, allocated by default."""
        self._octets: Any = _ffi.new("unsigned char[]", MAX_OCTETS) if octets is None else octets
        self._length: Any = _ffi.new("int *") if length is None else length
        self._buffer: Any = _ffi.buffer(self._octets)

    @property
    def size(self) -> int:
        """Length of the datagram in octets."""
        size: int = self._length[0]
        return size

    def octet(self, index: int) -> int:
        """Return one octet. `index` must be less than `MAX_OCTETS`; beyond `size`, the value is undefined."""
        value: int = self._octets[index]
        return value

    def load(self, data: bytes) -> None:
        """Replace the content with a datagram that was not read by recvmmsg(2)."""
        self._length[0] = length = min(len(data), MAX_OCTETS)
        self._buffer[:length] = data[:length]

    def copy(self) -> bytes:
        """Return the datagram."""
        data: bytes = self._buffer[: self._length[0]]
        return data

    def decrypt(self, unprotect: Callable[[Any, Any, Any], int], context: Any) -> bool:
        """Decrypt in place with a function of libsrtp (`srtp_unprotect`, `srtp_unprotect_rtcp`) and its `srtp_t`.

        Returns False if the datagram is not authentic or was received before. Its content is undefined then.
        """
        return unprotect(context, self._octets, self._length) == 0


class Batch:
    """The buffers for all sockets of one address family. They contain what was read last. Not thread-safe."""

    def __init__(self, library: Any, family: socket.AddressFamily) -> None:
        self._recvmmsg = library.recvmmsg
        self._family = family
        self._addresses = [_ffi.new("unsigned char[]", _ADDRESS_OCTETS[family]) for _ in range(MAX_DATAGRAMS)]
        self._vectors = _ffi.new("struct iovec[]", MAX_DATAGRAMS)
        self._messages: Any = _ffi.new("struct mmsghdr[]", MAX_DATAGRAMS)
        datagrams = []
        for index in range(MAX_DATAGRAMS):
            vector, header = self._vectors[index], self._messages[index].msg_hdr
            octets = _ffi.new("unsigned char[]", MAX_OCTETS)
            length = _ffi.cast("int *", _ffi.addressof(self._messages[index], "msg_len"))
            vector.iov_base, vector.iov_len = octets, MAX_OCTETS
            header.msg_iov, header.msg_iovlen = _ffi.addressof(vector), 1
            header.msg_name, header.msg_namelen = self._addresses[index], len(self._addresses[index])
            datagrams.append(Datagram(octets, length))
        self.datagrams = tuple(datagrams)

    def receive(self, descriptor: int) -> int:
        """Read into `datagrams` without blocking. Return how many were filled, 0 if none is waiting. Raises OSError."""
        count: int = self._recvmmsg(descriptor, self._messages, MAX_DATAGRAMS, socket.MSG_DONTWAIT, _ffi.NULL)
        if count >= 0:
            return count
        code = _ffi.errno
        if code in (errno.EAGAIN, errno.EINTR):
            return 0
        raise OSError(code, os.strerror(code))

    def source(self, index: int) -> tuple[str, int]:
        """Return the address and port that a datagram came from."""
        octets = bytes(_ffi.buffer(self._addresses[index]))
        host = octets[4:8] if self._family == socket.AF_INET else octets[8:24]
        return socket.inet_ntop(self._family, host), int.from_bytes(octets[2:4])


@functools.cache
def batch(family: socket.AddressFamily) -> Batch | None:
    """Return this process's batch for an address family, None if the system has no recvmmsg(2)."""
    if sys.platform != "linux":
        return None
    try:
        return Batch(_ffi.dlopen(None), family)
    except (OSError, AttributeError):
        return None
