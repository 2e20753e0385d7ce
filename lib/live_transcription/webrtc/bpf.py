# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A classic BPF program that drops RTP packets of digital silence in the kernel. Pure.

The program recognises one source's packets of digital silence by header fields that SRTP leaves in the clear, among them the
audio level (RFC 6464). One packet in `ONE_IN` passes, and so does every packet that differs in any way.
"""

from __future__ import annotations

import struct

from live_transcription.types import DIGITAL_SILENCE

#: One sequence number in so many passes. A power of two, so that a bit mask finds it.
ONE_IN = 16
#: How much longer a packet of digital silence may be than the one that the program is made from, in octets.
LENGTH_TOLERANCE = 4

# Instructions (linux/bpf_common.h), for which Python has no names.
_LOAD_WORD, _LOAD_HALF, _LOAD_OCTET, _LOAD_LENGTH = 0x20, 0x28, 0x30, 0x80
_AND, _JUMP_EQUAL, _JUMP_GREATER, _RETURN = 0x54, 0x15, 0x25, 0x06
_INSTRUCTION = struct.Struct("HBBI")
INSTRUCTION_OCTETS = _INSTRUCTION.size
_PASS = 0xFFFF_FFFF
_DROP = 0

#: The filter of a UDP socket sees a datagram from its UDP header on.
_RTP = 8
#: RTP version 2 with a header extension, but without padding and contributing sources.
_FIRST_OCTET = 0x90
_ONE_BYTE_PROFILE = 0xBEDE
#: Offset of the first element of the header extension in such a packet.
_ELEMENTS = 16
_MAX_ELEMENTS = 8


def digital_silence_program(datagram: bytes | memoryview, octets: int, level_id: int, phase: int) -> bytes | None:
    """Build the program that drops packets of digital silence like this one, as an array of `struct sock_filter`.

    `datagram` begins with the RTP header and was `octets` long on the wire. `level_id` is the id of the audio level extension.
    Sequence numbers that equal `phase` modulo `ONE_IN` pass.

    Returns None unless the RTP header is a plain one, with an extension in the one-byte form (RFC 8285) whose audio level is
    digital silence.
    """
    if len(datagram) < _ELEMENTS or datagram[0] != _FIRST_OCTET or 192 <= datagram[1] <= 223:
        return None
    first_two, ssrc, profile, words = struct.unpack_from("!H6xIHH", datagram)
    end = _ELEMENTS + 4 * words
    if profile != _ONE_BYTE_PROFILE or end > min(octets, len(datagram)):
        return None
    # Find the element with the audio level. Each element's first octet (id and length) is compared, too: together they prove
    # that the level is at the same offset.
    position = _ELEMENTS
    element_heads: list[tuple[int, int]] = []
    while position + 1 < end:
        octet = datagram[position]
        element_heads.append((position, octet))
        if octet >> 4 == level_id:
            break
        if len(element_heads) > _MAX_ELEMENTS or octet >> 4 == 15 or 0 < octet < 16:
            return None
        position += 2 + (octet & 0x0F) if octet else 1
    else:
        return None
    level = datagram[position + 1]
    if datagram[position] & 0x0F or level & 0x7F != DIGITAL_SILENCE:
        return None
    # Each test is: instructions that load a value, a comparison, its operand, and the result that a packet of digital silence
    # has. Any other result lets the packet pass. Loading beyond the end would drop it, so the length is tested first.
    length = _instruction(_LOAD_LENGTH)
    sequence_number = _instruction(_LOAD_HALF, _RTP + 2) + _instruction(_AND, ONE_IN - 1)
    tests = [
        (length, _JUMP_GREATER, _RTP + end - 1, True),
        (length, _JUMP_GREATER, _RTP + octets + LENGTH_TOLERANCE, False),
        (_instruction(_LOAD_HALF, _RTP), _JUMP_EQUAL, first_two, True),
        (sequence_number, _JUMP_EQUAL, phase % ONE_IN, False),
        (_instruction(_LOAD_WORD, _RTP + 8), _JUMP_EQUAL, ssrc, True),
        (_instruction(_LOAD_WORD, _RTP + 12), _JUMP_EQUAL, profile << 16 | words, True),
    ]
    for offset, octet in (*element_heads, (position + 1, level)):
        tests.append((_instruction(_LOAD_OCTET, _RTP + offset), _JUMP_EQUAL, octet, True))
    # Built from the end: jumps lead forward to the last instruction, which lets the packet pass.
    program = _instruction(_RETURN, _DROP) + _instruction(_RETURN, _PASS)
    for load, jump, operand, expected in reversed(tests):
        to_pass = len(program) // INSTRUCTION_OCTETS - 1
        program = load + _instruction(jump, operand, *((0, to_pass) if expected else (to_pass, 0))) + program
    return program


def _instruction(code: int, operand: int = 0, if_true: int = 0, if_false: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, if_true, if_false, operand)
