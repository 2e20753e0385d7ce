# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The definition of plain values, and a codec that checks it: it converts values to JSON and back by their annotations."""

from __future__ import annotations

import base64
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from live_transcription.errors import LiveTranscriptionError
from live_transcription.texts import Text
from live_transcription.types import Secret

_SCALARS = (str, int, float, bool, bytes, type(None), Secret, Path)
_LISTS = (tuple, Sequence, frozenset)


def not_plain(annotation: Any, *, events: bool = False) -> str:
    """Why values of this annotation could not go to another process; empty if they can.

    `events`: a callable that takes plain values and gives nothing is allowed: a message back.
    """
    origin, args = _parts(annotation)
    if annotation is None or annotation in _SCALARS or origin is Literal:
        return ""
    if origin in (Union, types.UnionType):
        return _first(args)
    if origin in _LISTS or origin is Mapping:
        return _first(arg for arg in args if arg is not Ellipsis) if args else f"{annotation}: of what?"
    if origin is np.ndarray:
        return "" if args[1] == np.dtype[np.float32] else f"{annotation}: only frames are plain"
    if origin is Callable:
        parameters, result = args
        if events and result in (None, type(None)) and isinstance(parameters, list):
            return _first(parameters)
        return f"{annotation}: a callable stays in its process"
    if isinstance(annotation, type):
        if issubclass(annotation, (Enum, LiveTranscriptionError)):
            return ""
        if is_dataclass(annotation):
            if not annotation.__dataclass_params__.frozen:  # type: ignore[attr-defined]
                return f"{annotation.__name__} can be changed"
            hints = get_type_hints(annotation)
            return _first(hints[each.name] for each in fields(annotation))
    return f"{annotation} is no plain value"


def to_json(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, np.ndarray):
        return base64.b64encode(value.astype("<f4").tobytes()).decode()
    if isinstance(value, float) and value == float("inf"):
        return "inf"
    if isinstance(value, LiveTranscriptionError):
        return {"error": type(value).__name__, "args": to_json(value.args), **to_json(vars(value))}
    if isinstance(value, Text):
        return {"template": value.template, "values": to_json(value.values)}
    if is_dataclass(value):
        return {"type": type(value).__name__, **{field.name: to_json(getattr(value, field.name)) for field in fields(value)}}
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (tuple, list, frozenset)):
        return [to_json(item) for item in value]
    return value


def from_json(annotation: Any, data: Any) -> Any:
    origin, args = _parts(annotation)
    if origin in (Union, types.UnionType):
        return from_json(next(arg for arg in args if _fits(arg, data)), data)
    if origin in _LISTS:
        if origin is tuple and Ellipsis not in args:
            return tuple(from_json(arg, item) for arg, item in zip(args, data, strict=True))
        return (frozenset if origin is frozenset else tuple)(from_json(args[0], item) for item in data)
    if origin is Mapping:
        return {key: from_json(args[1], item) for key, item in data.items()}
    if origin is np.ndarray:
        return np.frombuffer(base64.b64decode(data), "<f4")
    if annotation in (Secret, Path, float):
        return annotation(data)
    if annotation is bytes:
        return base64.b64decode(data)
    if isinstance(annotation, type) and issubclass(annotation, LiveTranscriptionError):
        error = annotation.__new__(annotation, *map(_text, data["args"]))
        vars(error).update({name: _text(item) for name, item in data.items() if name not in ("error", "args")})
        return error
    if isinstance(annotation, type) and is_dataclass(annotation):
        hints = get_type_hints(annotation)
        return annotation(**{name: from_json(hints[name], item) for name, item in data.items() if name != "type"})
    return _text(data)


def _text(data: Any) -> Any:
    """A text is a template and its values; any other value is returned as it is."""
    if isinstance(data, dict) and data.keys() == {"template", "values"}:
        return Text(data["template"], **{name: _text(value) for name, value in data["values"].items()})
    return data


def _parts(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Origin and arguments. Looks through generic type aliases, such as `NDArray` of numpy 2.5 and later."""
    origin, args = get_origin(annotation), get_args(annotation)
    if hasattr(origin, "__value__"):
        return _parts(origin.__value__[args])
    return origin, args


def _fits(annotation: Any, data: Any) -> bool:
    if data is None:
        return annotation is type(None)
    if isinstance(data, dict) and "template" in data and annotation is str:
        return True
    if isinstance(data, dict) and isinstance(annotation, type):
        return annotation.__name__ in (data.get("type"), data.get("error"))
    return annotation is not type(None)


def _first(annotations: Any) -> str:
    return next((reason for annotation in annotations if (reason := not_plain(annotation))), "")
