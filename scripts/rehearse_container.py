# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Run the built image's command as AppAPI would, and check what AppAPI and administrators rely on. Called by rehearse_image.sh.

Each container gets namespaces of its own for processes and mounts, so that its command is process 1, and the capabilities of
Docker's default. The network is this machine's: Nextcloud and HaRP's side of the tunnel (frps) are stand-ins on loopback.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from rehearsal_peers import Nextcloud, free_port, frps, harp_certificates, head, request

UID = 10001
STORAGE = "/nc_app_live_transcription_data"
SECRET = "rehearsal-secret"  # noqa: S105  of an app that lives for seconds
#: HaRP's limit for a container to become healthy, in seconds.
HEALTHY_WITHIN_S = 90.0
#: Docker kills after ten seconds; the app promises two.
STOPPED_WITHIN_S = 5.0
DOCKER_CAPABILITIES = [
    "chown",
    "dac_override",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "net_bind_service",
    "net_raw",
    "sys_chroot",
    "mknod",
    "audit_write",
    "setfcap",
]

Facts = dict[str, float | int | str]


class RehearsalError(Exception):
    """The image does not do what it should."""


def check(condition: bool, wording: str) -> None:
    if not condition:
        raise RehearsalError(wording)


def wait_until(condition: Callable[[], bool], seconds: float, wording: str) -> float:
    """Returns the seconds it took."""
    started = time.monotonic()
    while not condition():
        check(time.monotonic() - started < seconds, f"{wording} (waited {seconds:.0f} s)")
        time.sleep(0.1)
    return time.monotonic() - started


class Image:
    """The mounted file system and what the image says about itself."""

    def __init__(self, root: pathlib.Path, description: dict[str, object], work: pathlib.Path) -> None:
        self.root = root
        self.work = work
        config = description["Docker"]["config"]  # type: ignore[index]
        self.environment: dict[str, str] = dict(pair.split("=", 1) for pair in config["Env"])
        self.command: list[str] = config["Cmd"]
        self.healthcheck: list[str] = config["Healthcheck"]["Test"][1:]
        self.interval_s: float = config["Healthcheck"]["Interval"] / 1e9
        check(not config.get("User"), "the image's user must be root: AppAPI runs update-ca-certificates as that user")
        check(config["Healthcheck"]["Test"][0] == "CMD", "HEALTHCHECK must be a command, without a shell between")
        check(self.interval_s <= 5, "HEALTHCHECK must ask every 5 s, or HaRP's 90 s go by in waiting")

    def run(self, *command: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """As `docker exec` does: as root, next to the command."""
        variables = [f"{name}={value}" for name, value in (self.environment | (environment or {})).items()]
        return subprocess.run(
            ["chroot", str(self.root), "env", "-i", *variables, *command], capture_output=True, text=True, check=False
        )

    def bytes(self) -> int:
        return int(subprocess.run(["du", "-sxb", str(self.root)], capture_output=True, text=True, check=True).stdout.split()[0])


class Container:
    """The image's command as process 1."""

    def __init__(self, image: Image, environment: dict[str, str], log: pathlib.Path, *, unprivileged: bool = False) -> None:
        self.image = image
        self.environment = image.environment | environment
        rights = ["--bounding-set", "-all," + ",".join(f"+{name}" for name in DOCKER_CAPABILITIES)]
        if unprivileged:
            rights = ["--reuid", str(UID), "--regid", str(UID), "--clear-groups", "--bounding-set", "-all"]
        root = str(image.root)
        mounts = f"mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev && mount --bind /etc/hosts {root}/etc/hosts"
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        self.log = log
        self.started = time.monotonic()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                ["unshare", "--fork", "--pid", "--mount", "--kill-child", "sh", "-c", f'{mounts} && exec "$@"', "sh",
                 "chroot", root, "setpriv", *rights, "--", "env", "-i", *variables, *image.command],
                stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    @property
    def first(self) -> int:
        """Process 1, by its number outside."""
        children = (
            pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii").split()
        )
        check(bool(children), "the container has ended")
        return int(children[0])

    def processes(self) -> dict[int, dict[str, str]]:
        """/proc/*/status of all that runs in it, by number outside."""
        mine = os.readlink(f"/proc/{self.first}/ns/pid")
        found = {}
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.readlink(entry / "ns/pid") == mine:
                    lines = (entry / "status").read_text(encoding="utf-8").splitlines()
                    found[int(entry.name)] = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        return found

    def find(self, name: str) -> int:
        """The youngest process of that name; 0: none."""
        return max((pid for pid, status in self.processes().items() if status["Name"].startswith(name)), default=0)

    def healthy(self) -> bool:
        check(self.process.poll() is None, f"the container ended with code {self.process.returncode}")
        return self.image.run(*self.image.healthcheck, environment=self.environment).returncode == 0

    def wait_healthy(self) -> float:
        """Seconds from its start."""
        wait_until(self.healthy, HEALTHY_WITHIN_S, "the container does not become healthy")
        return time.monotonic() - self.started

    def check_rights(self) -> None:
        # The healthcheck's own processes run as root, as they do with Docker, but outside of this namespace.
        for pid, status in self.processes().items():
            who = f"process {pid} ({status['Name']})"
            check(set(status["Uid"].split()) == {str(UID)}, f"{who} runs as uid {status['Uid'].split()[0]}")
            check(int(status["CapEff"], 16) == 0 and int(status["CapBnd"], 16) == 0, f"{who} has capabilities")
            check(status["NoNewPrivs"] == "1" or not self.environment, f"{who} may gain rights")

    def stop(self) -> float:
        """As `docker stop`. Seconds it took; it must end with code 0."""
        started = time.monotonic()
        os.kill(self.first, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOPPED_WITHIN_S)
        check(self.process.poll() is not None, f"the container does not stop within {STOPPED_WITHIN_S:.0f} s of SIGTERM")
        check(self.process.returncode == 0, f"stopped, the container ended with code {self.process.returncode}")
        return time.monotonic() - started


@contextlib.contextmanager
def running(image: Image, name: str, environment: dict[str, str], *, unprivileged: bool = False) -> Iterator[Container]:
    """A container that is gone afterwards; its log is shown where a check fails."""
    container = Container(image, environment, image.work / f"{name}.log", unprivileged=unprivileged)
    try:
        yield container
        log = container.log.read_text(encoding="utf-8")
        for secret in (SECRET, environment.get("HP_SHARED_KEY", SECRET)):
            check(secret not in log, f"a secret is in the log of {name}")
        check("Traceback" not in log, f"an exception is in the log of {name}:\n{log}")
    except RehearsalError:
        print(container.log.read_text(encoding="utf-8", errors="replace")[-4000:], file=sys.stderr)
        raise
    finally:
        container.process.kill()
        container.process.wait()


def app_environment(nextcloud: Nextcloud, port: int) -> dict[str, str]:
    """What AppAPI gives a container."""
    return {
        "AA_VERSION": "32.0.0", "APP_SECRET": SECRET, "APP_ID": "live_transcription", "APP_DISPLAY_NAME": "Live Transcription",
        "APP_VERSION": "10.0.0", "APP_HOST": "0.0.0.0", "APP_PORT": str(port), "APP_PERSISTENT_STORAGE": STORAGE,
        "NEXTCLOUD_URL": nextcloud.url, "COMPUTE_DEVICE": os.environ.get("COMPUTE_DEVICE", "CPU"),
    }  # fmt: skip


def on_a_port(image: Image, nextcloud: Nextcloud) -> Facts:
    """Docker socket proxy, Kubernetes: plain TCP. Also the whole initialisation, which loads the model."""
    port = free_port()
    storage = image.root / STORAGE.lstrip("/")
    storage.mkdir(exist_ok=True)  # a new volume: root's
    address = f"http://127.0.0.1:{port}"
    with running(image, "port", app_environment(nextcloud, port)) as container:
        healthy_s = container.wait_healthy()
        container.check_rights()
        check(storage.stat().st_uid == UID, f"the app may not write to its storage, {STORAGE}")
        check(request("POST", f"{address}/init", head("wrong"))[0] == 401, "a wrong secret is let in")
        check(request("POST", f"{address}/init", head(SECRET))[0] == 200, "AppAPI's /init is refused")
        wait_until(
            lambda: bool(nextcloud.progress) and nextcloud.progress[-1] in (100, -1), 120, "the initialisation does not end"
        )
        check(nextcloud.progress[-1] == 100, f"the initialisation failed: {nextcloud.error}")
        stop_s = container.stop()
        check("No libopus" not in container.log.read_text(encoding="utf-8"), "the image lacks libopus")
    return {"port_healthy_s": healthy_s, "port_stop_s": stop_s}


def crashed(image: Image, nextcloud: Nextcloud) -> Facts:
    """An app that dies takes the container with it, so that the restart policy acts."""
    with running(image, "crash", app_environment(nextcloud, free_port())) as container:
        container.wait_healthy()
        os.kill(container.find("python3"), signal.SIGKILL)
        wait_until(lambda: container.process.poll() is not None, 5, "the app is dead, and the container lives on")
        check(container.process.returncode != 0, "the app died, but the container exited with code 0")
    return {}


def unprivileged(image: Image, nextcloud: Nextcloud) -> Facts:
    """`--user 10001`, or Kubernetes with runAsNonRoot and no capabilities."""
    with running(image, "unprivileged", app_environment(nextcloud, free_port()), unprivileged=True) as container:
        container.wait_healthy()
        return {"unprivileged_stop_s": container.stop()}


def behind_harp(image: Image, nextcloud: Nextcloud, program: pathlib.Path) -> Facts:
    """As HaRP installs: start without certificates, bring them, stop, start again; then through the tunnel."""
    key = "rehearsal key {{ .Envs.HOME }} €"
    certificates = harp_certificates(image.work / "certificates")
    inside = image.root / "certs" / "frp"
    with frps(program, certificates, key, image.work) as peer:
        port = free_port(23000)
        environment = app_environment(nextcloud, port) | {
            "APP_HOST": "127.0.0.1", "HP_SHARED_KEY": key, "HP_FRP_ADDRESS": "127.0.0.1", "HP_FRP_PORT": str(peer.port),
        }  # fmt: skip
        with running(image, "harp-first", environment) as container:
            container.wait_healthy()
            # HaRP works here with `docker exec` and copies files, as root.
            authority = image.root / "usr/local/share/ca-certificates/custom_ca_cert_0.crt"
            shutil.copy(certificates / "ca.crt", authority)
            check(image.run("update-ca-certificates").returncode == 0, "update-ca-certificates failed")
            bundle = (image.root / "etc/ssl/certs/ca-certificates.crt").read_text(encoding="ascii")
            check(
                authority.read_text(encoding="ascii").strip() in bundle, "update-ca-certificates did not add HaRP's certificate"
            )
            inside.mkdir(parents=True, exist_ok=True)
            for name in ("ca.crt", "client.crt", "client.key"):
                shutil.copyfile(certificates / name, inside / name)
            check(not peer.logins, "the tunnel came up without certificates")
            first_stop_s = container.stop()
        with running(image, "harp", environment) as container:
            healthy_s = container.wait_healthy()
            container.check_rights()
            tunnel = f"http://127.0.0.1:{port}/heartbeat"
            wait_until(lambda: request("GET", tunnel)[0] == 200, 30, "the heartbeat does not come through HaRP's tunnel")
            tunnel_s = time.monotonic() - container.started
            check(request("POST", f"http://127.0.0.1:{port}/init", head("wrong"))[0] == 401, "a wrong secret is let in")
            os.kill(container.find("frpc"), signal.SIGKILL)
            wait_until(lambda: request("GET", tunnel)[0] != 200, 10, "the tunnel lives without frpc")
            again_s = wait_until(lambda: request("GET", tunnel)[0] == 200, 30, "a tunnel that died does not come back")
            stop_s = container.stop()
        check(set(peer.logins) == {key}, "frpc did not send HaRP's shared key as it is")
    return {
        "harp_first_stop_s": first_stop_s,
        "harp_healthy_s": healthy_s,
        "harp_tunnel_s": tunnel_s,
        "harp_tunnel_again_s": again_s,
        "harp_stop_s": stop_s,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, required=True, help="the image's mounted file system; it is changed")
    parser.add_argument("--image-json", type=pathlib.Path, required=True, help="what `buildah inspect --type image` says")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="an empty directory")
    parser.add_argument("--report", type=pathlib.Path, required=True)
    parser.add_argument("--build-seconds", type=int, default=0)
    parser.add_argument("--frp", default="", help="where frpc in the image comes from")
    parser.add_argument("--frps", type=pathlib.Path, help="frp's server; without it the tunnel is not tried")
    options = parser.parse_args()
    facts: Facts = {"build_s": options.build_seconds, "frp": options.frp}
    try:
        image = Image(options.root, json.loads(options.image_json.read_text(encoding="utf-8")), options.work)
        facts["image_mb"] = round(image.bytes() / 1e6)
        with Nextcloud() as nextcloud:
            rehearsals: list[tuple[str, Callable[[], Facts]]] = [
                ("on a port, with the whole initialisation", lambda: on_a_port(image, nextcloud)),
                ("an app that dies", lambda: crashed(image, nextcloud)),
                ("started as an unprivileged user", lambda: unprivileged(image, nextcloud)),
            ]
            if options.frps:
                rehearsals.append(("behind HaRP", lambda: behind_harp(image, nextcloud, options.frps)))
            for name, rehearse in rehearsals:
                found = rehearse()
                facts |= found
                print(
                    f"rehearsal: {name}: " + (", ".join(f"{key} {value:.1f}" for key, value in found.items()) or "as it should")
                )
    except RehearsalError as error:
        print(f"rehearsal: FAILED: {error}", file=sys.stderr)
        return 1
    rounded = {key: round(value, 2) if isinstance(value, float) else value for key, value in facts.items()}
    options.report.write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")
    print(f"rehearsal: the image takes {facts['image_mb']} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
