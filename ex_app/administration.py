# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""What administrators see of the app outside its own page: a form in Talk's settings, setup checks and an `occ` command. Pure.

Nextcloud stores one version of their texts for all users, so they are English.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ex_app.identity import APP_ID
from ex_app.settings.table import BY_VARIABLE, Setting
from ex_app.translation import translated
from live_transcription.observability.health import ENGINE, FAILED, WARNING
from live_transcription.runtime.hosts import is_loopback

#: The page in Nextcloud, below its base address.
PAGE_PATH = f"/index.php/apps/app_api/embedded/{APP_ID}/settings"
#: AppAPI's limits: what it shows of an app, and what it takes for an address.
MAX_CHECKS, MAX_TEXT, MAX_ADDRESS = 16, 4096, 2048
_ADDRESS = re.compile(r"https?://[^\x00-\x20\x7f\"'<>]+", re.IGNORECASE)
#: The settings that the form contains; a secret never does, since an app receives only its cipher text.
_IN_FORM = ("LT_HPB_URL", "LT_DEFAULT_LANGUAGE")

_DESCRIPTION = (
    "Captions for calls. The app reads these values once a minute. The secrets, the speech-to-text engines, the self-test and "
    "the status are on the app's own page: choose Live transcription in the top menu."
)

#: Where AppAPI sends the command's arguments and options.
SELFTEST_ROUTE = "/occ/selftest"
EXIT_CODE_OPTION = "exit-code"
SELFTEST_COMMAND: dict[str, Any] = {
    "name": f"{APP_ID}:selftest",
    "description": "Check every step from Nextcloud to a transcribed sentence",
    "execute_handler": SELFTEST_ROUTE.removeprefix("/"),
    "hidden": 0,
    "arguments": [],
    "options": [
        {
            "name": EXIT_CODE_OPTION,
            "shortcut": None,
            "mode": "none",
            "description": "End with exit code 1 if a check fails. AppAPI then hides the report.",
            "default": None,
        }
    ],
    "usages": [],
}

#: How severe a state of a dependency is for AppAPI; other states are not shown.
_SEVERITY = {WARNING: "warning", FAILED: "error"}


def talk_form(nextcloud_url: str, unsaved: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The form under *Administration settings > Talk*: two of the app's settings, and the way to the others.

    Its fields have the keys of the app's settings, so that the form and the app's page change the same values. `unsaved`: the
    values without any saved one (`SavedSettings.describe`), which Nextcloud shows until a value is saved.
    """
    return {
        "id": "talk",
        "priority": 10,
        "section_type": "admin",
        "section_id": "talk",
        "title": "Live transcription",
        "description": _DESCRIPTION,
        # Nextcloud shows it as a link beside the title. A path also works where the app uses an internal address of Nextcloud.
        "doc_url": urlsplit(nextcloud_url).path.rstrip("/") + PAGE_PATH,
        "fields": [_field(BY_VARIABLE[name], str(unsaved[BY_VARIABLE[name].key]["value"])) for name in _IN_FORM],
    }


def _field(setting: Setting, unsaved: str) -> dict[str, Any]:
    field: dict[str, Any] = {
        "id": setting.key,
        "title": setting.label,
        "description": setting.hint,
        "type": "url" if setting.kind == "url" else "radio",
        "placeholder": setting.placeholder,
        "default": unsaved,
    }
    if setting.kind == "choice":
        # A select would save the chosen object instead of its value.
        field["options"] = [{"name": name, "value": code} for code, name in setting.choices]
    return field


def page_link(public_url: str) -> str:
    """The address of the app's page for a browser, or "" if it is not known or AppAPI would refuse it."""
    link = public_url.rstrip("/") + PAGE_PATH
    known = _ADDRESS.fullmatch(link) and len(link) <= MAX_ADDRESS and not is_loopback(public_url)
    return link if known else ""


def setup_checks(health: Mapping[str, Any], link: str) -> dict[str, dict[str, str]]:
    """AppAPI's setup checks, by name: what prevents captions or may do so. `link`: the app's page, or "".

    `health` comes from `AppHealth.describe`. Shortages are left out, since they are over before an administrator reads them.
    """
    described = translated(health, "en")
    explanations = described["explanations"]
    found: dict[str, tuple[str, str]] = {}
    if text := explanations.get("configuration"):
        found["configuration"] = ("error" if described["status"] == FAILED else "warning", text)
    for each in described["dependencies"]:
        if severity := _SEVERITY.get(each["state"]):
            if each["name"].startswith(ENGINE) and "speech-to-text" in explanations:
                severity = _SEVERITY[FAILED]  # no engine works, so this one's problem prevents captions
            found[each["name"]] = (severity, f"{each['cause']} {each['fix']}".strip() or f"{each['name']} does not work.")
    if (text := explanations.get("speech-to-text")) and not any(name.startswith(ENGINE) for name in found):
        found["speech-to-text"] = ("error", text)
    more = {"link_url": link, "link_label": "Live transcription"} if link else {}
    return {
        name: {"status": severity, "text": text[:MAX_TEXT], **more}
        for name, (severity, text) in itertools.islice(found.items(), MAX_CHECKS)
    }
