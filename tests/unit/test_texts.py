# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Texts with values, and the errors that are made of them."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable

import pytest

from ex_app.errors import BodyError, NextcloudRefused
from live_transcription.errors import ConfigurationError, LiveTranscriptionError, SignalingRefused, SttUnavailable
from live_transcription.texts import Text, join, setting_name

HOSTILE = "{LT_HPB_URL} {a} {} {0.__class__} %s"
UPPER = {"{a} of {b} at {LT_HPB_URL}.": "{LT_HPB_URL}: {b}, {a}.", "inner {n}": "INNER {n}"}


def render(text: Text) -> str:
    return text.render(lambda template: UPPER.get(template, template), lambda name: f"<{name}>", lambda number: f"#{number}")


def test_a_text_is_rendered_and_remembers_its_template_and_values() -> None:
    text = Text("{a} of {b} at {LT_HPB_URL}.", a=3, b="x")
    assert text == "3 of x at LT_HPB_URL."
    assert (text.template, dict(text.values)) == ("{a} of {b} at {LT_HPB_URL}.", {"a": 3, "b": "x"})
    assert render(text) == "<LT_HPB_URL>: x, #3."
    assert json.dumps({"text": text}) == '{"text": "3 of x at LT_HPB_URL."}'


def test_a_value_is_never_read_as_a_template() -> None:
    text = Text("{a} of {b} at {LT_HPB_URL}.", a=HOSTILE, b=Text("inner {n}", n=HOSTILE))
    assert text == f"{HOSTILE} of inner {HOSTILE} at LT_HPB_URL."
    assert render(text) == f"<LT_HPB_URL>: INNER {HOSTILE}, {HOSTILE}."
    assert join("{LT_HPB_URL}", "{a}") == "{LT_HPB_URL} {a}"
    assert render(join("{LT_HPB_URL}")) == "{LT_HPB_URL}"


def test_joined_texts_are_translated_one_by_one() -> None:
    joined = join(Text("inner {n}", n=1), "", "plain", setting_name("MODAL_KEY"))
    assert joined == "inner 1 plain MODAL_KEY"
    assert render(joined) == "INNER #1 plain <MODAL_KEY>"
    assert join() == ""
    single = Text("inner {n}", n=1)
    assert join("", single) is single


def test_a_missing_value_is_no_error() -> None:
    assert Text("{a} of {b}", a=1) == "1 of {b}"


def test_an_error_has_templates_and_rendered_texts() -> None:
    error = SttUnavailable("{service} failed ({reason}).", fix="Check {LT_MOSHI_URL}.", service="It", reason=HOSTILE)
    assert (error.template, error.fix_template) == ("{service} failed ({reason}).", "Check {LT_MOSHI_URL}.")
    assert dict(error.values) == {"service": "It", "reason": HOSTILE}
    assert (error.message, error.fix) == (f"It failed ({HOSTILE}).", "Check LT_MOSHI_URL.")
    assert str(error) == f"It failed ({HOSTILE}). Check LT_MOSHI_URL."
    again = LiveTranscriptionError(error.message, fix=error.fix)
    assert (again.template, again.values, str(again)) == (error.template, error.values, str(error))


def test_a_configuration_error_names_its_setting() -> None:
    error = ConfigurationError("LT_HPB_URL", "{setting} is not set.", fix="Enter it.")
    assert str(error) == "LT_HPB_URL is not set. Enter it."
    assert render(error.text) == "<LT_HPB_URL> is not set. Enter it."


@pytest.mark.parametrize("copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize(
    "error",
    [
        SttUnavailable("{service} failed.", fix="Check {LT_MOSHI_URL}.", service=HOSTILE),
        ConfigurationError("MODAL_KEY", "{setting} is {what}.", what="wrong"),
        SignalingRefused("Refused.", reason="auth_failed"),
        NextcloudRefused("Refused.", 60.0, fix="Wait."),
        BodyError(413, "Too long."),
    ],
)
def test_errors_survive_a_copy(
    error: LiveTranscriptionError, copied: Callable[[LiveTranscriptionError], LiveTranscriptionError]
) -> None:
    again = copied(error)
    assert type(again) is type(error)
    assert (str(again), again.args, again.template, again.values) == (str(error), error.args, error.template, error.values)
    assert vars(again) == vars(error)
    assert isinstance(again.message, Text)
