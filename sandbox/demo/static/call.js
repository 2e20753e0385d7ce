// SPDX-FileCopyrightText: 2026 Live Transcription contributors
// SPDX-License-Identifier: AGPL-3.0-or-later

'use strict';

(function () {
  const FIGURES = [
    ['wer', 'Word errors', (value) => `${(100 * value).toFixed(1)} %`],
    ['first_word_p50_s', 'First word after', (value) => `${value.toFixed(2)} s`],
    ['last_word_p50_s', 'Last word after', (value) => `${value.toFixed(2)} s`],
    ['join_to_audio_s', 'Heard after joining', (value) => `${value.toFixed(2)} s`],
  ];

  // Seconds by which the sound may differ from the call before it is moved.
  const DRIFT_S = 0.25;

  const status = document.getElementById('status');
  const calls = document.getElementById('calls');
  const renderer = document.getElementById('renderer');
  const cards = new Map();
  let latest = null;
  let receivedAt = 0;

  function clone(id) {
    return document.getElementById(id).content.firstElementChild.cloneNode(true);
  }

  function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function initials(name) {
    return name.split(/\s+/).map((word) => word[0] || '').join('').slice(0, 2).toUpperCase();
  }

  function makeCard(room) {
    const element = clone('call-template');
    const find = (selector) => element.querySelector(selector);
    element.querySelector('.call-name').id = `name-${room.token}`;
    element.setAttribute('aria-labelledby', `name-${room.token}`);
    for (const selector of ['.captions', '.announcer', '.transcript-lines', '.call-name']) find(selector).lang = room.language;
    calls.append(element);
    const card = { element, find, tiles: new Map(), voices: new Map(), lines: 0, captions: '', sound: false };
    find('.sound').addEventListener('click', () => turnSound(card, !card.sound));
    return card;
  }

  function showTiles(card, participants) {
    const known = new Set();
    participants.forEach((one, index) => {
      known.add(one.id);
      let tile = card.tiles.get(one.id);
      if (!tile) {
        tile = clone('tile-template');
        setText(tile.querySelector('.avatar'), initials(one.name));
        setText(tile.querySelector('.tile-name'), one.name);
        tile.querySelector('.avatar').dataset.tone = String(index % 2);
        card.tiles.set(one.id, tile);
        card.find('.tiles').append(tile);
      }
      tile.classList.toggle('speaking', one.speaking);
      setText(tile.querySelector('.tile-role'), one.speaking ? 'speaking' : one.role);
    });
    for (const [id, tile] of card.tiles) {
      if (!known.has(id)) {
        tile.remove();
        card.tiles.delete(id);
      }
    }
  }

  // One call at a time has its sound on; the others stay muted.
  function turnSound(card, on) {
    for (const other of cards.values()) {
      other.sound = on && other === card;
      other.find('.sound').setAttribute('aria-pressed', String(other.sound));
      setText(other.find('.sound'), other.sound ? 'Turn sound off' : 'Turn sound on');
      for (const voice of other.voices.values()) voice.muted = !other.sound;
    }
    if (latest) for (const room of latest.rooms) playSound(cards.get(room.token), room.participants);
  }

  // Each voice plays its recording at the position at which the call is, so that it fits the captions.
  function playSound(card, participants) {
    const age = (performance.now() - receivedAt) / 1000;
    const present = new Set(participants.map((one) => one.id));
    for (const [id, voice] of card.voices) {
      if (!present.has(id)) {
        voice.remove();
        voice.pause();
        card.voices.delete(id);
      }
    }
    for (const one of participants) {
      let voice = card.voices.get(one.id);
      if (!one.sound) {
        if (voice) voice.pause();
        continue;
      }
      if (!voice) {
        voice = new Audio();
        voice.muted = !card.sound;
        voice.preload = 'auto';
        card.voices.set(one.id, voice);
        card.element.append(voice);
      }
      const source = `recordings/${one.sound.recording}.ogg`;
      if (voice.getAttribute('src') !== source) voice.src = source;
      const position = one.sound.position_s + age;
      if (Math.abs(voice.currentTime - position) > DRIFT_S) voice.currentTime = position;
      // A browser that refuses to play without a click gets one by the button.
      if (voice.paused && !voice.ended) voice.play().catch(() => {});
    }
  }

  function showCaptions(card, room) {
    const screen = room.screens[renderer.value];
    const shown = JSON.stringify(screen);
    if (shown === card.captions) return;
    card.captions = shown;
    card.find('.captions-text').hidden = !screen.length;
    card.find('.captions-hint').hidden = Boolean(screen.length);
    card.find('.captions-text').replaceChildren(...screen.map((block) => {
      const element = clone('block-template');
      element.querySelector('.captions-name').textContent = block.name;
      element.querySelector('.captions-lines').textContent = block.lines.join('\n');
      return element;
    }));
  }

  function addLine(card, said) {
    const line = document.createElement('li');
    const name = document.createElement('span');
    name.className = 'transcript-name';
    name.textContent = `${said.name}: `;
    line.append(name, said.text);
    const lines = card.find('.transcript-lines');
    lines.append(line);
    lines.scrollTop = lines.scrollHeight;
    // Screen readers hear whole utterances; single words would come too often.
    const spoken = document.createElement('span');
    spoken.textContent = `${said.name}: ${said.text} `;
    const announcer = card.find('.announcer');
    announcer.append(spoken);
    while (announcer.childElementCount > 5) announcer.firstElementChild.remove();
  }

  function showTranscript(card, room) {
    if (room.spoken < card.lines) {
      // The demo was restarted while this page stayed open.
      card.find('.transcript-lines').replaceChildren();
      card.lines = 0;
    }
    const fresh = Math.min(room.spoken - card.lines, room.transcript.length);
    for (const said of room.transcript.slice(room.transcript.length - fresh)) addLine(card, said);
    card.lines = room.spoken;
  }

  function showFigures(card, figures) {
    const list = card.find('.figures');
    const wanted = FIGURES.filter(([key]) => key in figures);
    while (list.childElementCount > wanted.length) list.lastElementChild.remove();
    wanted.forEach(([key, label, format], index) => {
      let pair = list.children[index];
      if (!pair) {
        pair = document.createElement('div');
        pair.append(document.createElement('dt'), document.createElement('dd'));
        list.append(pair);
      }
      setText(pair.firstElementChild, label);
      setText(pair.lastElementChild, format(figures[key]));
    });
  }

  function show(state) {
    latest = state;
    setText(status, state.status);
    for (const room of state.rooms) {
      let card = cards.get(room.token);
      if (!card) {
        card = makeCard(room);
        cards.set(room.token, card);
      }
      setText(card.find('.call-name'), room.name);
      setText(card.find('.call-status'), room.status);
      showTiles(card, room.participants);
      playSound(card, room.participants);
      showCaptions(card, room);
      showTranscript(card, room);
      showFigures(card, room.figures);
    }
  }

  renderer.addEventListener('change', () => {
    if (latest) show(latest);
  });

  // Sound that drifts, or that the browser stopped, comes back although nothing else happens in the call.
  setInterval(() => {
    if (latest && !latest.over) for (const room of latest.rooms) playSound(cards.get(room.token), room.participants);
  }, 1000);

  const source = new EventSource('events');
  source.onmessage = (event) => {
    receivedAt = performance.now();
    const state = JSON.parse(event.data);
    show(state);
    if (state.over) source.close();
  };
  source.onerror = () => {
    setText(status, 'The demo is not running any more; this page comes back with it.');
  };
})();
