# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

"""Our moshi engine, one connection at a time."""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np
import pytest

from live_transcription.config import MoshiConfig
from live_transcription.errors import SttAtCapacity, SttError, SttRefused, SttUnavailable, SttWrongModel
from live_transcription.stt.base import Flushed, Pause
from live_transcription.stt.kyutai.moshi.backend import MoshiBackend
from live_transcription.types import Secret
from sandbox.moshi_server import MoshiServer
from sandbox.moshi_server.speech import POISON, TAIL_FRAMES, say, silence
from sandbox.moshi_server.weights import WORDS
from tests.moshi.conftest import Servers
from tests.moshi.listener import PATIENCE_S, listening


def backend(server: MoshiServer, key: str = "public_token") -> MoshiBackend:
    return MoshiBackend(MoshiConfig(url=server.stream_url, key=Secret(key)))


async def test_each_level_of_loudness_is_its_word_at_its_time(real: MoshiServer) -> None:
    async with listening(backend(real)) as listener:
        await listener.say(np.concatenate([silence(2), say(*WORDS), silence(TAIL_FRAMES)]))
        await listener.finish(after=len(WORDS))
    assert listener.words == list(WORDS)
    times = [token.start_s for token in listener.tokens]
    assert times == pytest.approx([0.16 + 0.4 * place for place in range(len(WORDS))], abs=1e-3)


async def test_two_speakers_at_once_are_not_mixed_up(real: MoshiServer) -> None:
    async with listening(backend(real)) as one, listening(backend(real)) as other:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one.say(np.concatenate([say(*WORDS[:6]), silence(TAIL_FRAMES)]), speed=1.0))
            tasks.create_task(other.say(np.concatenate([say(*WORDS[6:12]), silence(TAIL_FRAMES)]), speed=1.0))
        await one.finish(after=6)
        await other.finish(after=6)
    assert (one.words, other.words) == ([*WORDS[:6]], [*WORDS[6:12]])


async def test_silence_is_a_pause_after_the_words_before_it(real: MoshiServer) -> None:
    async with listening(backend(real)) as listener:
        await listener.say(np.concatenate([silence(12), say("alpha", "foxtrot"), silence(24), say("golf"), silence(16)]))
        await listener.until_words(3)
    events = [
        event.text if not isinstance(event, Pause) else "pause" for event in listener.events if not isinstance(event, Flushed)
    ]
    assert events[:4] == ["alpha", "foxtrot", "pause", "golf"]


async def test_a_flush_brings_the_words_so_far_and_times_go_on_without_its_silence(real: MoshiServer) -> None:
    async with listening(backend(real)) as listener:
        for place, word in enumerate(("alpha", "november", "whiskey"), 1):
            await listener.say(say(word, gap=0.5))
            await listener.stream.flush()
            await listener.until(lambda place=place: listener.count(Flushed) == place)
            assert len(listener.words) == place
        await listener.finish()
    assert listener.words == ["alpha", "november", "whiskey"]
    assert [token.start_s for token in listener.tokens] == pytest.approx([0.0, 0.28, 0.56], abs=0.081)


async def test_a_word_of_the_flushs_last_step_is_not_lost(real: MoshiServer) -> None:
    async with listening(backend(real)) as listener:
        # A word of two pieces that begins in the last frame comes with the eighth step of silence.
        await listener.say(np.concatenate([say("alpha"), say("november", frames=1, gap=0)]))
        await listener.finish()
    assert listener.words == ["alpha", "november"]


async def test_a_wrong_key_is_refused_for_good(real: MoshiServer) -> None:
    with pytest.raises(SttRefused) as refused:
        async with listening(backend(real, key="guess")):
            pass
    assert not refused.value.retryable


async def test_the_probe_sees_a_wrong_key(real: MoshiServer) -> None:
    with pytest.raises(SttRefused):
        await backend(real, key="guess").warm()


async def test_a_full_server_is_at_capacity_until_somebody_leaves(real: MoshiServer) -> None:
    async with listening(backend(real)) as listener:
        async with listening(backend(real)):
            with pytest.raises(SttAtCapacity):
                async with listening(backend(real)):
                    pass
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(SttAtCapacity):
                    async with listening(backend(real)) as another:
                        await another.say(np.concatenate([say("oscar"), silence(TAIL_FRAMES)]))
                        await another.finish(after=1)
                        break
                await asyncio.sleep(0.05)
        assert another.words == ["oscar"]
        await listener.say(np.concatenate([say("papa"), silence(TAIL_FRAMES)]))
        await listener.finish(after=1)
    assert listener.words == ["papa"]


async def test_the_probe_sees_a_full_server(real: MoshiServer) -> None:
    async with listening(backend(real)), listening(backend(real)):
        with pytest.raises(SttAtCapacity):
            await backend(real).warm()


async def dead(server: MoshiServer) -> None:
    """End the server's model loop."""
    async with listening(backend(server)) as killer:
        await killer.say(np.concatenate([say(POISON), silence(TAIL_FRAMES)]))
        async with asyncio.timeout(PATIENCE_S):
            while not server.logged("model_loop"):  # noqa: ASYNC110  another process sets no event
                await asyncio.sleep(0.02)


async def test_a_model_that_dies_is_noticed_by_those_who_speak_and_those_who_come(servers: Servers) -> None:
    async with servers() as server, listening(backend(server)) as listener:
        await listener.say(say("alpha"))
        await listener.say(silence(TAIL_FRAMES))
        await listener.until_words(1)
        await dead(server)
        await listener.say(say("bravo"))
        # The dead session occupies one slot permanently, the listener the other; a third client gets none.
        with pytest.raises(SttUnavailable):
            await listener.until(lambda: False)
        with pytest.raises(SttError):
            async with listening(backend(server)):
                pass


async def test_the_probe_sees_a_dead_model(servers: Servers) -> None:
    async with servers() as server:
        await dead(server)
        with pytest.raises(SttError):
            await backend(server).warm()


async def test_the_probe_refuses_a_model_without_pause_heads_and_names_the_one_to_run(servers: Servers) -> None:
    async with servers(batch_size=1, pause_heads=False) as server:
        with pytest.raises(SttWrongModel, match="stt-1b-en_fr"):
            await backend(server).warm()


async def test_a_hung_server_is_left_within_a_second_or_two(servers: Servers) -> None:
    async with servers(batch_size=1) as server:
        stream = backend(server).open_stream("en")
        entered = await stream.__aenter__()
        server.pause()
        sending = asyncio.create_task(entered.send(np.zeros(60 * 24_000, np.float32)))
        await asyncio.sleep(1.0)
        sending.cancel()
        await asyncio.wait([sending])
        async with asyncio.timeout(5.0):
            await stream.__aexit__(None, None, None)
