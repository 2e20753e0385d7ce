# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Many datagrams of a socket by one call, into buffers that stay: Linux's recvmmsg(2) by cffi in ABI mode."""

from __future__ import annotations

import errno
import functools
import os
import socket
import sys
from typing import Any

from cffi import FFI

#: Octets of a datagram that are read, more than any for us has; the rest of a longer one is lost.
MAX_OCTETS = 2_048
#: Datagrams taken by one call at most: twice what 40 ms bring, so that after a delay nobody's backlog keeps others waiting.
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
#: Octets of sockaddr_in and sockaddr_in6. Each family has a batch of its own, in which these lengths need no renewing.
_ADDRESS_OCTETS = {socket.AF_INET: 16, socket.AF_INET6: 28}


class Datagram:
    """A buffer that holds one datagram at a time; who wants to keep it takes a copy.

    `octets` (unsigned char *) and `length` (int *) are what libsrtp decrypts in place.
    """

    __slots__ = ("_buffer", "length", "octets")

    def __init__(self, length: Any = None) -> None:
        self.octets: Any = _ffi.new("unsigned char[]", MAX_OCTETS)
        self.length: Any = _ffi.new("int *") if length is None else length
        self._buffer: Any = _ffi.buffer(self.octets)

    def load(self, data: bytes) -> None:
        """Put a datagram in that was read elsewhere."""
        self.length[0] = length = min(len(data), MAX_OCTETS)
        self._buffer[:length] = data[:length]

    def copy(self) -> bytes:
        data: bytes = self._buffer[: self.length[0]]
        return data


class Batch:
    """The buffers for all sockets of an address family, used by one thread: they hold what was read last."""

    def __init__(self, library: Any, family: socket.AddressFamily) -> None:
        self._recvmmsg = library.recvmmsg
        self._family = family
        self._addresses = [_ffi.new("unsigned char[]", _ADDRESS_OCTETS[family]) for _ in range(MAX_DATAGRAMS)]
        self._vectors = _ffi.new("struct iovec[]", MAX_DATAGRAMS)
        self._messages: Any = _ffi.new("struct mmsghdr[]", MAX_DATAGRAMS)
        lengths = [_ffi.addressof(self._messages[index], "msg_len") for index in range(MAX_DATAGRAMS)]
        self.datagrams = tuple(Datagram(_ffi.cast("int *", length)) for length in lengths)
        for index, datagram in enumerate(self.datagrams):
            vector, header = self._vectors[index], self._messages[index].msg_hdr
            vector.iov_base, vector.iov_len = datagram.octets, MAX_OCTETS
            header.msg_iov, header.msg_iovlen = _ffi.addressof(vector), 1
            header.msg_name, header.msg_namelen = self._addresses[index], len(self._addresses[index])

    def receive(self, descriptor: int) -> int:
        """How many of `datagrams` were filled; 0 where none waits. Raises OSError."""
        count: int = self._recvmmsg(descriptor, self._messages, MAX_DATAGRAMS, socket.MSG_DONTWAIT, _ffi.NULL)
        if count >= 0:
            return count
        code = _ffi.errno
        if code in (errno.EAGAIN, errno.EINTR):
            return 0
        raise OSError(code, os.strerror(code))

    def source(self, index: int) -> tuple[str, int]:
        """Address and port that a datagram came from."""
        octets = bytes(_ffi.buffer(self._addresses[index]))
        host = octets[4:8] if self._family == socket.AF_INET else octets[8:24]
        return socket.inet_ntop(self._family, host), int.from_bytes(octets[2:4])


@functools.cache
def batch(family: socket.AddressFamily) -> Batch | None:
    """Those of this process, or None where the system has no recvmmsg(2)."""
    if sys.platform != "linux":
        return None
    try:
        return Batch(_ffi.dlopen(None), family)
    except (OSError, AttributeError):
        return None
