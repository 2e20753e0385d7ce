# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""The alert rules and the dashboard use metrics, labels and codes that the app has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ex_app.responses import render_metrics
from live_transcription import errors
from live_transcription.observability.conditions import RULES
from live_transcription.observability.metrics import render

NAME = re.compile(r"\b(live_transcription_\w+)")
PROMTOOL = shutil.which("promtool")


@pytest.fixture(scope="module")
def exposed() -> set[str]:
    """The names of all samples that a scrape can have."""
    names: set[str] = set()
    for family in text_string_to_metric_families((render() + render_metrics()).decode()):
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {family.name + suffix for suffix in suffixes}
    return names


@pytest.fixture
def rules(root: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load((root / "docs/monitoring/alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions(root: Path) -> Iterator[str]:
    dashboard = json.loads((root / "docs/monitoring/dashboard.json").read_text(encoding="utf-8"))
    yield from (target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    yield from (variable["query"]["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query")


def test_each_alert_names_its_cause_and_existing_metrics(rules: list[dict[str, Any]], exposed: set[str]) -> None:
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert set(NAME.findall(rule["expr"])) <= exposed | {"live_transcription"}, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["description"].endswith(".")


def test_the_page_on_health_names_every_reason_and_every_code_of_an_engine(root: Path) -> None:
    page = (root / "docs/health.md").read_text(encoding="utf-8")
    # Expired audio is no state of an engine.
    engines = {error.code for error in vars(errors).values() if isinstance(error, type) and issubclass(error, errors.SttError)}
    codes = {*RULES, *engines} - {errors.SttError.code, errors.SttUnhealthy.code, errors.SttExpired.code}
    assert {code for code in codes if f"`{code}`" not in page} == set()


def test_every_condition_has_an_alert(rules: list[dict[str, Any]]) -> None:
    codes = [code for rule in rules for group in re.findall(r'code=~"([^"]+)"', rule["expr"]) for code in group.split("|")]
    assert sorted(codes) == sorted(RULES)


def test_the_dashboard_shows_existing_metrics(root: Path, exposed: set[str]) -> None:
    shown = {name for expression in expressions(root) for name in NAME.findall(expression)}
    assert len(shown) > 15
    assert shown <= exposed


def test_the_page_on_monitoring_names_existing_metrics(root: Path, exposed: set[str]) -> None:
    text = (root / "docs/monitoring.md").read_text(encoding="utf-8")
    table = text[text.index("| question | metric |") : text.index("## In Nextcloud")]
    written = [name for cell in re.findall(r"`([a-z_]+)`", table) if (name := cell).startswith(("live_transcription_", "_"))]
    names = {name if name.startswith("live") else f"live_transcription{name}" for name in written}
    histograms = {name.removesuffix("_bucket") for name in exposed if name.endswith("_bucket")}
    assert names <= exposed | histograms


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: apt-get install prometheus)")
def test_prometheus_accepts_the_rules_and_the_expressions(root: Path, tmp_path: Path) -> None:
    written = tmp_path / "dashboard.yml"
    expanded = [each.replace("$__rate_interval", "5m").replace("$instance", ".*") for each in expressions(root)]
    recorded = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(expanded)
        if "label_values" not in expression
    ]
    written.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": recorded}]}), encoding="utf-8")
    for file in (root / "docs/monitoring/alerts.yml", written):
        checked = subprocess.run([str(PROMTOOL), "check", "rules", str(file)], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr
