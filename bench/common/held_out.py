# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Speech and sounds that the sandbox does not use, from Debian packages: prompts of Asterisk, hold music, a keyboard.

`apt-get download` gets the packages into `build/held-out`; their sha256 is checked before they are unpacked.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from live_transcription.types import SAMPLE_RATE, Frame
from sandbox.recording import Recording, Utterance
from scripts import make_recordings

DIRECTORY = Path("build/held-out")
#: sha256 of the packages, as in Debian 12 and 13.
PACKAGES = {
    "asterisk-core-sounds-en": "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50",
    "asterisk-core-sounds-en-g722": "38c5261820b406dcb0ecb37675720da2b0864850690690352ca52707eb623806",
    "asterisk-core-sounds-es": "9afdab7f559f036649fb406e625899306ca1004df8ebe39c30bfbd5912d66f74",
    "asterisk-core-sounds-es-g722": "e4e3b4281057d3b81b779298fd6be705f57411513955c518eed1bcaabbd615b8",
    "asterisk-core-sounds-it": "3884d9457e12f21caa018c18f0d587df5d53ebea14b673d8453a134c5941ab3b",
    "asterisk-core-sounds-it-g722": "46b4cf7afc508a5fcfc051b7ea233251c0d195dd4ef83cc4b7facb4c6429b016",
    "asterisk-core-sounds-ru": "28a61616bb0cd3345a7ea532dec4df9f071e5d0fa9f8c1a563ea9669002f39ab",
    "asterisk-core-sounds-ru-g722": "673b4238a6b8269960f055d868c6a11083f7a0d00979167cb01554046b48ed9b",
    "asterisk-moh-opsound-g722": "8d6b39d6f2e8feff54a042c4a25e1b72f3e2478d05ee372c92f77446fa0b1671",
    "bucklespring-data": "2add9f5583b3afc9c0b528066f4578baff930b74d4a94c8a25d103ef79a444e5",
}
#: Texts of prompts whose recordings say something else than the package's list. Each was decoded alone, without other audio.
_CORRECTED = {
    ("it", "conf-adminmenu-18"): "Prego premere 1 per disattivare o riattivare la propria voce, 2 per bloccare o sbloccare la "
    "conferenza, 3 per espellere l'ultimo utente, 4 o 6 per ridurre o aumentare il volume della conferenza, 5 per prolungare "
    "la conferenza, 7 o 9 per diminuire o aumentare il proprio volume o 8 per maggiori opzioni.",
    ("it", "confbridge-mute-in"): "Per disattivare o riattivare la propria voce.",
}
_PROMPT = re.compile(r"^(?P<clip>[\w/-]+): *(?P<text>[^\[\];]+)$")


@dataclass(frozen=True, slots=True)
class HeldOut(Recording):
    """A recording outside the sandbox."""

    file: Path = Path()

    @property
    def path(self) -> Path:
        return self.file


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of one voice of Asterisk. `clips`: names of the files in `directory`, and their texts."""

    language: str
    directory: Path
    clips: Sequence[tuple[str, str]]


def fetch(*packages: str) -> None:
    """Download, check and unpack packages, unless that is done. Raises SystemExit if one differs from what is expected."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for package in packages:
        done = DIRECTORY / f"{package}.unpacked"
        if done.exists():
            continue
        subprocess.run(["apt-get", "download", package], cwd=DIRECTORY, check=True, stdout=subprocess.DEVNULL)
        [path] = DIRECTORY.glob(f"{package}_*.deb")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != PACKAGES[package]:
            raise SystemExit(f"{path.name} has the sha256 {found}, not {PACKAGES[package]}. Is it of another release?")
        subprocess.run(["dpkg-deb", "-x", path.name, "."], cwd=DIRECTORY, check=True)
        path.unlink()
        done.touch()


def prompts(language: str, least_chars: int) -> Prompts:
    """The prompts of a language (en, es, it, ru) that the sandbox does not use, each text once, from `least_chars` on."""
    package = f"asterisk-core-sounds-{language}"
    fetch(package, f"{package}-g722")
    directory = next((DIRECTORY / "usr/share/asterisk/sounds").glob(f"{language}_*"))
    used = set(re.findall(r'clip = "([^"]+)"', make_recordings.PLAN.read_text(encoding="utf-8"))) if language == "en" else set()
    lines = gzip.decompress((DIRECTORY / f"usr/share/doc/{package}/core-sounds-{language}.txt.gz").read_bytes())
    found: dict[str, str] = {}
    for line in lines.decode("utf-8", errors="replace").splitlines():
        match = _PROMPT.match(line)
        if match is None or match["clip"] in used or match["text"].startswith(".") or len(match["text"]) < least_chars:
            continue
        if (directory / f"{match['clip']}.g722").exists():
            text = _CORRECTED.get((language, match["clip"]), match["text"].strip())
            found.setdefault(text, match["clip"])
    return Prompts(language, directory, [(clip, text) for text, clip in found.items()])


def recording(name: str, voice: Prompts, clips: Sequence[tuple[str, str]], seconds: float) -> Recording:
    """A recording of prompts with pauses between them, cut after the last one that ends within `seconds`."""
    speaker = make_recordings.Speaker(voice.language, str(voice.directory), ".g722", "CC-BY-SA-3.0", "Asterisk", "")
    samples, utterances = make_recordings.build(Path(), speaker, [{"clip": clip, "text": text} for clip, text in clips])
    kept = [each for each in utterances if each["end_s"] <= seconds]
    end_s = kept[-1]["end_s"] + 1.0
    file = DIRECTORY / f"{name}.ogg"
    make_recordings.encode(file, samples[: round(end_s * make_recordings.RATE)])
    said = tuple(Utterance(each["start_s"], each["end_s"], each["text"], tuple(each["speech"])) for each in kept)
    return HeldOut(f"held-out-{name}", voice.language, "CC-BY-SA-3.0", "Asterisk", "", end_s, said, file)


def hold_music(seconds: float) -> Frame:
    """The beginnings of five pieces of hold music, one after another; 24 kHz mono."""
    fetch("asterisk-moh-opsound-g722")
    paths = sorted((DIRECTORY / "usr/share/asterisk/moh").glob("*.g722"))
    each = round(seconds / len(paths) * make_recordings.RATE)
    return _level(np.concatenate([make_recordings.decode(path)[:each] for path in paths]), 0.3)


def keyboard(seconds: float) -> Frame:
    """Somebody types: keys of a real keyboard, five to ten per second with breaks; 24 kHz mono."""
    fetch("bucklespring-data")
    random = np.random.default_rng(8)
    keys = [make_recordings.decode(path) for path in sorted((DIRECTORY / "usr/share/buckle/wav").glob("*.wav"))]
    whole = np.zeros(round(seconds * make_recordings.RATE), np.float32)
    at = 0.5
    while (start := round(at * make_recordings.RATE)) < len(whole):
        key = keys[random.integers(len(keys))][: len(whole) - start]
        whole[start : start + len(key)] += key
        at += random.uniform(0.1, 0.2) if random.random() > 0.05 else random.uniform(0.5, 2.0)
    return _level(whole, 0.3)


def _level(samples: Frame, peak: float) -> Frame:
    scaled = samples * (peak / float(np.abs(samples).max()))
    return soxr.resample(scaled, make_recordings.RATE, SAMPLE_RATE).astype(np.float32)  # type: ignore[no-any-return]
