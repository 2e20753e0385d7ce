# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""A stand-in for Modal's control plane for `modal deploy`: everything succeeds, and requests are recorded."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpclib.const
from grpclib.server import Server
from modal_proto import api_grpc, api_pb2


async def _unused(_self: Any, _stream: Any) -> None:
    raise NotImplementedError


class ControlPlane:
    """`functions` by name and `images` in order of building, as the client's own messages."""

    def __init__(self, workspace: str = "example") -> None:
        self._workspace = workspace
        self._serial = itertools.count(1)
        self.functions: dict[str, Any] = {}
        self.images: list[Any] = []
        self.source_files: set[str] = set()
        self.volumes: list[str] = []

    def __mapping__(self) -> dict[str, grpclib.const.Handler]:
        names = {name: _unused for name in dir(api_grpc.ModalClientBase) if not name.startswith("_")}
        abstract: Any = type("AnyModalClient", (api_grpc.ModalClientBase,), names)()
        return {
            path: grpclib.const.Handler(
                self._answer(path.rsplit("/", 1)[1], handler.reply_type),
                handler.cardinality,
                handler.request_type,
                handler.reply_type,
            )
            for path, handler in abstract.__mapping__().items()
        }

    def _answer(self, name: str, reply_type: Any) -> Callable[[Any], Awaitable[None]]:
        async def answer(stream: Any) -> None:
            request = await stream.recv_message()
            reply = reply_type()
            for field in reply.DESCRIPTOR.fields:
                if field.name.endswith("_id") and field.type == field.TYPE_STRING and name != "ClientHello":
                    kind = {"class_id": "cs"}.get(field.name, field.name[:2])
                    setattr(reply, field.name, f"{kind}-{next(self._serial)}")
            self._fill(name, request, reply)
            await stream.send_message(reply)

        return answer

    def _fill(self, name: str, request: Any, reply: Any) -> None:
        match name:
            case "EnvironmentGetOrCreate":
                reply.metadata.settings.image_builder_version = "2025.06"
            case "ImageGetOrCreate":
                self.images.append(request.image)
                reply.result.status = api_pb2.GenericResult.GENERIC_STATUS_SUCCESS
            case "VolumeGetOrCreate":
                self.volumes.append(request.deployment_name)
            case "MountGetOrCreate":
                self.source_files.update(file.filename for file in request.files)
            case "MountPutFile":
                reply.exists = True
            case "FunctionCreate":
                self.functions[request.function.function_name] = request.function
                reply.function_id = request.existing_function_id or reply.function_id
                reply.function.CopyFrom(request.function)
                reply.handle_metadata.function_name = request.function.function_name
                for method, definition in reply.function.method_definitions.items():
                    label = f"{request.function.app_name}-{definition.function_name.replace('.', '-')}".lower()
                    metadata = reply.handle_metadata.method_handle_metadata[method]
                    metadata.function_name = definition.function_name
                    metadata.web_url = definition.web_url = f"https://{self._workspace}--{label}.modal.run"
                reply.function_data.ranked_functions.add().function.CopyFrom(reply.function)


@contextlib.asynccontextmanager
async def control_plane(directory: str) -> AsyncIterator[tuple[ControlPlane, dict[str, str]]]:
    """A running one, and the environment that leads a Modal client to it (and to no real account)."""
    plane = ControlPlane()
    server = Server([plane])
    await server.start("127.0.0.1", 0)
    (socket,) = server._server.sockets  # type: ignore[union-attr]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MODAL_", "KYUTAI_"))}
    try:
        yield (
            plane,
            {
                **kept,
                "MODAL_SERVER_URL": f"http://127.0.0.1:{socket.getsockname()[1]}",
                "MODAL_TOKEN_ID": "ak-test",
                "MODAL_TOKEN_SECRET": "as-test",
                "MODAL_CONFIG_PATH": f"{directory}/modal.toml",
                "COLUMNS": "200",
            },
        )
    finally:
        server.close()
        await server.wait_closed()
