# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Handmade weights for a real moshi-server: loudness becomes known words, without any training.

Kyutai's Mimi, the audio codec, becomes a loudness meter: its first code is the level of the mean |x| of each 80 ms frame.
A tiny language model says one word for each burst of sound after silence, and the level chooses the word. So a test knows
which words it must receive for the audio that it sends, and at what time:

- A burst is at least one frame of tone after at least two frames of silence. Its second frame names the word, or its first one
  if there is no second.
- `Word` comes `DELAY_STEPS` + 2 steps after the first frame of the burst, one step later for the words of two pieces, and names
  that frame as its start.
- The third pause head is near 1 after half a second of silence, and near 0 otherwise.
- A burst as loud as `POISON_LEVEL` becomes a token that the tokenizer does not have. It ends the server's model loop, as an
  error of the GPU does: the process lives, and nothing is transcribed any more.

Two further models have faults that language models have: `DEAF_MODEL_FILE` never emits a word, and
`REPEATING_MODEL_FILE` emits the first word all the time.

The network sizes in `NETWORK` replace those of the published model in the server's configuration. Tensor names and shapes are
those that the crates `moshi` and `moshi-server` 0.6.4 read. All large tensors are zero, so the files are sparse.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from deploy.moshi_config import AUDIO_TOKENIZER_FILE, DELAY_STEPS, MODEL_FILE, TEXT_TOKENIZER_FILE

Array: TypeAlias = npt.NDArray[np.float32]

#: The word of each level of loudness, the quietest first.
WORDS = (
    *("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo", "lima"),
    *("mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango", "uniform", "victor", "whiskey", "zulu"),
)
#: Words that the tokenizer splits.
TWO_PIECES = {"foxtrot": ("fox", "trot"), "november": ("novem", "ber"), "whiskey": ("whis", "key")}
#: The level that no token stands for.
POISON_LEVEL = len(WORDS) + 1

#: Steps of 80 ms that the words of Kyutai's 2.6B model for English, which has no pause heads, come behind the audio.
LATE_DELAY_STEPS = 32
LATE_MODEL_FILE = "model-late.safetensors"
DEAF_MODEL_FILE = "model-deaf.safetensors"
REPEATING_MODEL_FILE = "model-repeating.safetensors"

PAD_TOKEN = 3
START_TOKEN = 0
POISON_TOKEN = 7999
_TEXT_VOCABULARY = 8000
_AUDIO_CODES = 2048
#: Levels of loudness, silence and poison included.
_LEVELS = POISON_LEVEL + 1


@dataclass(frozen=True, slots=True)
class Network:
    """Sizes of the language model, as `[modules.asr.model]` of the configuration names them."""

    d_model: int = 160
    num_heads: int = 4
    num_layers: int = 1
    dim_feedforward: int = 128
    audio_codebooks: int = 2


NETWORK = Network()


def loudness(level: int) -> float:
    """Mean |x| of a frame that is measured as `level`; level 0 is silence."""
    if level == 0:
        return 0.0
    return 0.95 if level == POISON_LEVEL else 0.01 * 1.2 ** (level - 1)


def write_weights(directory: Path) -> None:
    """Write the tokenizer, the codec, and the models."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / TEXT_TOKENIZER_FILE).write_bytes(_tokenizer())
    _save(directory / AUDIO_TOKENIZER_FILE, _mimi(NETWORK.audio_codebooks))
    _save(directory / MODEL_FILE, _language_model(NETWORK, DELAY_STEPS))
    _save(directory / LATE_MODEL_FILE, _language_model(NETWORK, LATE_DELAY_STEPS))
    _save(directory / DEAF_MODEL_FILE, _with_points(_language_model(NETWORK, DELAY_STEPS), {(PAD_TOKEN, _ONE): 100}))
    _, first, _ = _pieces()
    always = {(START_TOKEN, _ONE): 50, (START_TOKEN, _STARTED): -100, (first[1], _STARTED): 100}
    _save(directory / REPEATING_MODEL_FILE, _with_points(_language_model(NETWORK, DELAY_STEPS), always))


@dataclass(frozen=True, slots=True)
class _Tensor:
    """`values`: None for a tensor of zeros, which takes no space on the disk."""

    shape: tuple[int, ...]
    values: Array | None = None


def _save(path: Path, tensors: dict[str, _Tensor]) -> None:
    """Write the safetensors format: the header's length (u64), a JSON header with offsets, the data."""
    header: dict[str, object] = {}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + 4 * math.prod(tensor.shape)
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        data = file.tell()
        for tensor in tensors.values():
            if tensor.values is not None:
                file.seek(data)
                file.write(tensor.values.astype("<f4").tobytes())
            data += 4 * math.prod(tensor.shape)
        file.truncate(data)
    new.replace(path)


def _pieces() -> tuple[list[str], dict[int, int], dict[int, int]]:
    """The tokenizer's pieces, and per level the token of its word's first piece and, if there is one, of the second."""
    pieces = ["<unk>", "<s>", "</s>", "<pad>"]
    first: dict[int, int] = {}
    second: dict[int, int] = {}
    for level, word in enumerate(WORDS, 1):
        begin, *rest = TWO_PIECES.get(word, (word,))
        first[level] = len(pieces)
        pieces.append("\u2581" + begin)
        for end in rest:
            second[level] = len(pieces)
            pieces.append(end)
    return pieces, first, second


def _tokenizer() -> bytes:
    """A sentencepiece model: `ModelProto` of sentencepiece_model.proto, in the wire format of protocol buffers."""
    control = {0: 2, 1: 3, 2: 3, 3: 3}  # SentencePiece.Type: 1 normal, 2 unknown, 3 control
    model = b""
    pieces = _pieces()[0]
    for number, piece in enumerate(pieces):
        fields = _bytes_field(1, piece.encode()) + b"\x15" + struct.pack("<f", -number) + _int_field(3, control.get(number, 1))
        model += _bytes_field(1, fields)
    trainer = _int_field(3, 1) + _int_field(4, len(pieces))  # model_type: unigram; vocab_size
    trainer += b"".join(_int_field(40 + place, token) for place, token in enumerate((0, 1, 2, 3)))  # unk, bos, eos, pad
    normalizer = _bytes_field(1, b"identity") + b"".join(_int_field(place, 1) for place in (3, 4, 5))
    return model + _bytes_field(2, trainer) + _bytes_field(3, normalizer)


def _varint(value: int) -> bytes:
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*octets, value])


def _int_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes_field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


#: Gain before the rectifier, so high that the curve of ELU does not show; and the scale of the codebook's entries.
_GAIN = 1e5
_SCALE = 100.0


def _mimi(codebooks: int) -> dict[str, _Tensor]:
    """The codec at its full size. Channel 0 carries the mean |x| from block to block; all else is zero."""
    tensors: dict[str, _Tensor] = {}

    def convolution(
        name: str, outputs: int, inputs: int, kernel: int, taps: Iterable[tuple[int, int, int, float]] = ()
    ) -> None:
        """`taps`: output channel, input channel, place and value of each weight that is not zero."""
        weight = np.zeros((outputs, inputs, kernel), np.float32)
        for output, source, place, value in taps:
            weight[output, source, place] = value
        tensors[f"{name}.weight"] = _Tensor(weight.shape, weight if any(weight.flat) else None)
        tensors[f"{name}.bias"] = _Tensor((outputs,))

    def residual(name: str, size: int) -> None:
        """Zero: what comes in goes out by the skip connection."""
        convolution(f"{name}.block.1.conv.conv", size // 2, size, 3)
        convolution(f"{name}.block.3.conv.conv", size, size // 2, 1)

    # ELU of gain * x plus ELU of -gain * x is gain * |x|. A kernel of twice its stride sees the block before, too: only the
    # second half has weights, so that each frame is measured by itself.
    ratios = (4, 5, 6, 8)
    convolution("encoder.model.0.conv.conv", 64, 1, 7, [(0, 0, 6, _GAIN), (1, 0, 6, -_GAIN)])
    place, size = 1, 64
    for ratio in ratios:
        residual(f"encoder.model.{place}", size)
        sources = (0, 1) if place == 1 else (0,)
        mean = [(0, source, tap, 1 / ratio) for source in sources for tap in range(ratio, 2 * ratio)]
        convolution(f"encoder.model.{place + 2}.conv.conv", 2 * size, size, 2 * ratio, mean)
        place, size = place + 3, 2 * size
    convolution(f"encoder.model.{place + 1}.conv.conv", 512, size, 3, [(0, 0, 2, 1.0)])
    half = np.zeros((512, 512, 4), np.float32)
    half[0, 0, 2:] = 0.5
    tensors["downsample.conv.conv.conv.weight"] = _Tensor(half.shape, half)

    # The decoder is loaded, but speech-to-text never runs it.
    convolution("decoder.model.0.conv.conv", 1024, 512, 7)
    place, size = 1, 1024
    for ratio in reversed(ratios):
        tensors[f"decoder.model.{place + 1}.convtr.convtr.weight"] = _Tensor((size, size // 2, 2 * ratio))
        tensors[f"decoder.model.{place + 1}.convtr.convtr.bias"] = _Tensor((size // 2,))
        place, size = place + 2, size // 2
        residual(f"decoder.model.{place}", size)
        place += 1
    convolution(f"decoder.model.{place + 1}.conv.conv", 1, size, 3)
    tensors["upsample.convtr.convtr.convtr.weight"] = _Tensor((512, 1, 4))

    # Both transformers add nothing to what passes through.
    for side in ("encoder", "decoder"):
        for layer in range(8):
            name = f"{side}_transformer.transformer.layers.{layer}"
            tensors[f"{name}.self_attn.in_proj_weight"] = _Tensor((1536, 512))
            tensors[f"{name}.self_attn.out_proj.weight"] = _Tensor((512, 512))
            tensors[f"{name}.linear1.weight"] = _Tensor((2048, 512))
            tensors[f"{name}.linear2.weight"] = _Tensor((512, 2048))
            for norm in ("norm1", "norm2"):
                tensors[f"{name}.{norm}.weight"] = _Tensor((512,), np.ones(512, np.float32))
                tensors[f"{name}.{norm}.bias"] = _Tensor((512,))
            for scale in ("layer_scale_1", "layer_scale_2"):
                tensors[f"{name}.{scale}.scale"] = _Tensor((512,))

    # The first codebook has an entry for each level, and the nearest one is the code. Its other entries are out of reach.
    entries = np.zeros((_AUDIO_CODES, 256), np.float32)
    entries[:, 0] = -1e4
    entries[:_LEVELS, 0] = [_SCALE * loudness(level) for level in range(_LEVELS)]
    projection = np.zeros((256, 512, 1), np.float32)
    projection[0, 0, 0] = _SCALE / _GAIN
    for name, count in (("rvq_first", 1), ("rvq_rest", codebooks - 1)):
        first = name == "rvq_first"
        tensors[f"quantizer.{name}.input_proj.weight"] = _Tensor((256, 512, 1), projection if first else None)
        tensors[f"quantizer.{name}.output_proj.weight"] = _Tensor((512, 256, 1))
        for number in range(count):
            codebook = f"quantizer.{name}.vq.layers.{number}._codebook"
            tensors[f"{codebook}._initialized"] = _Tensor((1,), np.ones(1, np.float32))
            tensors[f"{codebook}.cluster_usage"] = _Tensor((_AUDIO_CODES,), np.ones(_AUDIO_CODES, np.float32))
            tensors[f"{codebook}.embedding_sum"] = _Tensor((_AUDIO_CODES, 256), entries if first else None)
    return tensors


# The features that the language model works with, each a coordinate of its residual stream. The last token is a pause
# (`_QUIET`), starts a word (`_STARTED`), or is the last or only piece of one (`_SAID`). One coordinate is always 1. From
# `_FIRST_PIECES` on: the last token is the first piece of the n-th word of two. Then follows a coordinate per level, of the
# frame at hand and of each frame that an attention head looks back at.
_QUIET, _STARTED, _SAID, _ONE, _FIRST_PIECES = range(5)
_NOW = _FIRST_PIECES + len(TWO_PIECES)
#: Steps that the two heads for pauses look back.
_PAUSE_STEPS = (2, 5)


def _language_model(network: Network, delay: int) -> dict[str, _Tensor]:
    """One layer. Its attention fetches the levels of four earlier frames, and the output layer is an automaton over them."""
    d, heads = network.d_model, network.num_heads
    head_size = d // heads
    _, first, second = _pieces()
    first[POISON_LEVEL] = POISON_TOKEN
    first_piece = {level: _FIRST_PIECES + place for place, level in enumerate(second)}
    # A code reaches the model one step late, and `Word` names the step of the start token: the head that finds the starts looks
    # back two steps less than the delay. The other one sees the frame before.
    look_back = (delay - 2, delay - 1, *_PAUSE_STEPS)
    past = [_NOW + _LEVELS * (head + 1) for head in range(heads)]
    at, before = past[0], past[1]
    if past[-1] + _LEVELS > d or heads != len(look_back) or head_size < _LEVELS:
        raise ValueError("the network is too small for its features")

    tensors: dict[str, _Tensor] = {}

    def put(name: str, values: Array) -> None:
        tensors[name] = _Tensor(values.shape, values)

    text = np.zeros((_TEXT_VOCABULARY + 1, d), np.float32)
    text[:, _ONE] = 1
    kinds = {START_TOKEN: _STARTED, **dict.fromkeys((*first.values(), *second.values()), _SAID)}
    kinds |= {first[level]: kind for level, kind in first_piece.items()}
    for token in range(_TEXT_VOCABULARY + 1):
        text[token, kinds.get(token, _QUIET)] = 1
    put("text_emb.weight", text)
    codes = np.zeros((_AUDIO_CODES + 1, d), np.float32)
    for code in range(_AUDIO_CODES + 1):
        codes[code, _NOW + (code if code < _LEVELS else 0)] = 1
    put("emb.0.weight", codes)
    for number in range(1, network.audio_codebooks):
        tensors[f"emb.{number}.weight"] = _Tensor((_AUDIO_CODES + 1, d))

    # RMS norm makes a 1 among n ones that large. Before the attention there are 3 ones, behind it one more per head.
    one_before, one_behind = math.sqrt(d / 3), math.sqrt(d / (3 + heads))
    attention = np.zeros((3 * d, d), np.float32)
    output = np.zeros((d, d), np.float32)
    for head, steps in enumerate(look_back):
        _look_back(attention, head * head_size, head_size, steps, one_before)
        for level in range(_LEVELS):
            attention[2 * d + head * head_size + level, _NOW + level] = 1 / one_before
            output[past[head] + level, head * head_size + level] = 1
    layer = "transformer.layers.0"
    put(f"{layer}.self_attn.in_proj_weight", attention)
    put(f"{layer}.self_attn.out_proj.weight", output)
    hidden = 2 * network.dim_feedforward // 3
    tensors[f"{layer}.gating.linear_in.weight"] = _Tensor((2 * hidden, d))
    tensors[f"{layer}.gating.linear_out.weight"] = _Tensor((d, hidden))
    for name in (f"{layer}.norm1", f"{layer}.norm2", "out_norm"):
        put(f"{name}.alpha", np.ones((1, 1, d), np.float32))

    # The token with the most points is next. A start: sound now and silence before, 2 points against the pause's 1.5. After a
    # start: the word of the level now (2 points), or else of the level before (1). After a first piece: the second.
    points = np.zeros((_TEXT_VOCABULARY, d), np.float32)
    points[PAD_TOKEN, _ONE] = 1.5
    points[PAD_TOKEN, _STARTED] = -5
    points[START_TOKEN, at + 1 : at + _LEVELS] = 1
    points[START_TOKEN, before] = 1
    points[START_TOKEN, [_STARTED, *first_piece.values()]] = -5
    for level, token in first.items():
        points[token, [_STARTED, _ONE]] = 3, -3
        points[token, [at + level, before + level]] = 2, 1
    for level, token in second.items():
        points[token, first_piece[level]] = 10
    put("text_linear.weight", points)
    for head in range(4):
        pause = np.zeros((6, d), np.float32)
        if head == 2:
            quiet = [_NOW, past[2], past[3]]
            pause[0, quiet] = 14 / one_behind
            pause[0, _ONE] = -14 * 2.5 / one_behind
        put(f"extra_heads.{head}.weight", pause)
    return tensors


def _with_points(tensors: dict[str, _Tensor], points: dict[tuple[int, int], float]) -> dict[str, _Tensor]:
    """A language model whose tokens get more or fewer points by a feature, both as in `_language_model`."""
    values = tensors["text_linear.weight"].values
    assert values is not None
    for (token, feature), change in points.items():
        values[token, feature] += change
    return tensors


#: Base of the rotary embedding's frequencies, `max_period` of the configuration; and steps that the model remembers, `context`.
_MAX_PERIOD = 100_000
_CONTEXT = 750


def _look_back(attention: Array, row: int, size: int, steps: int, one: float) -> None:
    """Let a head attend to the position `steps` before the present: query and key are constants that differ by a rotation."""
    d = attention.shape[1]
    frequencies = _MAX_PERIOD ** (-np.arange(0, size, 2) / size)
    distance = np.arange(_CONTEXT)
    match = np.cos(frequencies[:, None] * (distance - steps)).sum(axis=0)
    rival = np.delete(match, steps).max()
    strength = math.sqrt(25 / (match[steps] - rival) * math.sqrt(size))
    for place, frequency in enumerate(frequencies):
        attention[row + 2 * place, _ONE] = strength * math.cos(steps * frequency) / one
        attention[row + 2 * place + 1, _ONE] = -strength * math.sin(steps * frequency) / one
        attention[d + row + 2 * place, _ONE] = strength / one
