# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Write the image's bill of materials (CycloneDX 1.6, JSON): `make sbom`.

    sbom.py [--architecture amd64|arm64] [--cuda] [--debian FILE] [--output FILE]

It lists the locked Python packages of this architecture, each with its sha256 sums, the weights of Whisper, and frpc.
`--debian`: the image's Debian packages, one "NAME VERSION ARCHITECTURE" per line, as this command prints them:

    docker run --rm --entrypoint dpkg-query IMAGE -W -f '${Package} ${Version} ${Architecture}\\n'

The same commit and the same list give the same bytes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import pathlib
import re
import sys
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from appstore import timestamp
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement

ROOT = pathlib.Path(__file__).resolve().parent.parent
#: The image's Python, and machine names of Python by those of Debian.
PYTHON, MACHINES = "3.13", {"amd64": "x86_64", "arm64": "aarch64"}
_REQUIREMENT = re.compile(r"^(?P<requirement>[^\s#-][^\\]*?)(?P<hashes>(?:\s*--hash=sha256:[0-9a-f]{64})+)", re.MULTILINE)


def requirements(lock: str, architecture: str, python: str = PYTHON) -> Iterator[tuple[Requirement, list[str]]]:
    """The requirements of a lock file that apply to this Python and architecture, each with its sha256 sums."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.4",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": MACHINES[architecture],
        "extra": "",
    }
    for found in _REQUIREMENT.finditer(lock.replace("\\\n", " ")):
        requirement = Requirement(found["requirement"].strip())
        if requirement.marker is None or requirement.marker.evaluate(environment):
            yield requirement, re.findall(r"sha256:(\w+)", found["hashes"])


def locked(lock: str, architecture: str) -> Iterator[Component]:
    """The packages of a lock file that the image installs on this architecture."""
    for requirement, sums in requirements(lock, architecture):
        version = str(requirement.specifier).removeprefix("==")
        yield Component(
            name=requirement.name,
            version=version,
            type=ComponentType.LIBRARY,
            bom_ref=f"pypi:{requirement.name}@{version}",
            purl=PackageURL("pypi", name=requirement.name.lower().replace("_", "-"), version=version),
            licenses=_licences(requirement.name, version),
            # One of these sums, depending on the wheel that fits the machine.
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sum_) for sum_ in sums],
        )


def _licences(name: str, version: str) -> list[License]:
    """The licence that the installed package declares, if that is the locked version."""
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return []
    expression = metadata.get("License-Expression", "")
    return [LicenseFactory().make_from_string(expression)] if expression and metadata["Version"] == version else []


def frpc(dockerfile: str, architecture: str) -> Component:
    """frp's release that the Dockerfile pins."""
    arguments = dict(re.findall(r"^ARG (FRP_\w+)=(\S+)$", dockerfile, re.MULTILINE))
    version = arguments["FRP_VERSION"]
    return Component(
        name="frpc",
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref=f"frpc@{version}",
        purl=PackageURL("github", "fatedier", "frp", f"v{version}"),
        licenses=[LicenseFactory().make_from_string("Apache-2.0")],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=arguments[f"FRP_SHA256_{architecture.upper()}"])],
    )


def debian(lines: Iterable[str]) -> Iterator[Component]:
    """Debian packages, each given as "NAME VERSION ARCHITECTURE". Raises ValueError for another line."""
    for line in filter(str.strip, lines):
        name, version, architecture = line.split()
        yield Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            bom_ref=f"deb:{name}@{version}",
            purl=PackageURL("deb", "debian", name, version, {"arch": architecture, "distro": "trixie"}),
        )


def bill(root: pathlib.Path, architecture: str, *, cuda: bool = False, debian_lines: Iterable[str] = ()) -> str:
    """The bill of materials of the image that is built from this tree, as JSON."""
    info = ET.fromstring((root / "appinfo" / "info.xml").read_text(encoding="utf-8"))  # noqa: S314  our own file
    install = "external-app/docker-install/"
    name, version = f"{info.findtext(install + 'registry')}/{info.findtext(install + 'image')}", info.findtext("version") or ""
    image = Component(
        name=name,
        version=f"{version}{'-cuda' if cuda else ''}",
        type=ComponentType.CONTAINER,
        bom_ref="image",
        licenses=[LicenseFactory().make_from_string("AGPL-3.0-or-later")],
        external_references=[ExternalReference(type=ExternalReferenceType.VCS, url=XsUri(info.findtext("repository") or ""))],
    )
    locks = ["runtime.txt", "weights.txt", *(["cuda.txt"] if cuda else [])]
    texts = [(root / "requirements" / lock).read_text(encoding="utf-8") for lock in locks]
    components = [component for text in texts for component in locked(text, architecture)]
    components += [frpc((root / "Dockerfile").read_text(encoding="utf-8"), architecture), *debian(debian_lines)]
    bom = Bom(components=components)
    bom.metadata.component = image
    bom.register_dependency(image, components)
    # Neither the clock nor chance: the same commit gives the same bytes.
    bom.metadata.timestamp = datetime.fromtimestamp(timestamp(root), UTC)
    content = "\n".join([name, architecture, *sorted(str(component.bom_ref) for component in components)])
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, content)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--architecture", choices=sorted(MACHINES), default="amd64")
    parser.add_argument("--cuda", action="store_true", help="of the -cuda variant")
    parser.add_argument("--debian", type=pathlib.Path, help="list of the image's Debian packages")
    parser.add_argument("--output", type=pathlib.Path, help="default: build/sbom/live_transcription-ARCHITECTURE.cdx.json")
    options = parser.parse_args()
    if options.cuda and options.architecture != "amd64":
        parser.error("the CUDA variant is for amd64 only")
    name = f"live_transcription-{options.architecture}{'-cuda' if options.cuda else ''}.cdx.json"
    output = options.output or ROOT / "build" / "sbom" / name
    try:
        lines = options.debian.read_text(encoding="utf-8").splitlines() if options.debian else []
        text = bill(ROOT, options.architecture, cuda=options.cuda, debian_lines=lines)
    except (OSError, ValueError) as error:
        print(f"sbom: {options.debian} is not a list of NAME VERSION ARCHITECTURE: {error}", file=sys.stderr)
        return 2
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    count = len(json.loads(text)["components"])
    print(f"{output}: {count} components" + ("" if lines else ", without Debian's packages (--debian)"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
