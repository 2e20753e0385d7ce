// SPDX-FileCopyrightText: 2026 Live Transcription contributors
// SPDX-License-Identifier: AGPL-3.0-or-later

// The status, polled every few seconds while the page is visible.
(function () {
  'use strict'

  const LT = window.LiveTranscription
  const t = LT.t
  const ASK_AGAIN_MS = 5000
  const SVG = 'http://www.w3.org/2000/svg'
  const WIDTH = 600
  const HEIGHT = 80

  const seconds = (value) => value === null || value === undefined ? '–' : t('{seconds} s', { seconds: LT.number(value, 2) })

  function tile(label, value) {
    return LT.el('div', { class: 'lt-tile' }, LT.el('dt', {}, label), LT.el('dd', {}, value))
  }

  const megabytes = (bytes) => LT.number(bytes / 1048576)

  function memory(status) {
    if (!status.memory_limit_bytes) {
      return t('{count} MB', { count: megabytes(status.memory_bytes) })
    }
    return t('{used} of {limit} MB', { used: megabytes(status.memory_used_bytes), limit: megabytes(status.memory_limit_bytes) })
  }

  function speakers(status) {
    const present = LT.number(status.speakers)
    return status.speakers_waiting
      ? t('{count} ({waiting} waiting)', { count: present, waiting: LT.number(status.speakers_waiting) }) : present
  }

  function tiles(status) {
    const found = [
      tile(t('Calls'), LT.number(status.calls)),
      tile(t('Speakers'), speakers(status)),
      tile(t('Readers'), LT.number(status.targets)),
      tile(t('Words per minute'), LT.number(status.words_per_minute, status.words_per_minute < 10 ? 1 : 0)),
      tile(t('Time to first words'), seconds(status.latency.first.p50)),
      tile(t('Time to final caption'), seconds(status.latency.last.p50)),
      tile(t('Time to final caption, 95th percentile'), seconds(status.latency.last.p95)),
      tile(t('Memory'), memory(status)),
    ]
    if (status.gpu_minutes !== null) {
      found.push(tile(t('GPU connection minutes'), LT.number(status.gpu_minutes, 1)))
      found.push(tile(t('Minutes saved by silence'), LT.number(status.saved_minutes, 1)))
    }
    return found
  }

  function path(values, most, name) {
    const step = WIDTH / Math.max(1, values.length - 1)
    let text = ''
    let drawing = false
    values.forEach((value, index) => {
      if (value === null) {
        drawing = false
        return
      }
      const y = HEIGHT - 4 - (HEIGHT - 8) * Math.min(1, value / most)
      text += (drawing ? 'L' : 'M') + (index * step).toFixed(1) + ' ' + y.toFixed(1)
      drawing = true
    })
    const line = document.createElementNS(SVG, 'path')
    line.setAttribute('d', text)
    line.setAttribute('class', 'lt-line lt-line--' + name)
    return line
  }

  function spark(history) {
    const known = history.last_p95.concat(history.last_p50).filter((value) => value !== null)
    if (!known.length) {
      return LT.el('p', { class: 'lt-empty' }, t('Nobody has spoken in a captioned call in the last ten minutes.'))
    }
    const most = Math.max(1, ...known)
    const svg = document.createElementNS(SVG, 'svg')
    svg.setAttribute('viewBox', '0 0 ' + WIDTH + ' ' + HEIGHT)
    svg.setAttribute('preserveAspectRatio', 'none')
    svg.setAttribute('role', 'img')
    svg.setAttribute('aria-label', t('Between {least} and {most} seconds', { least: LT.number(Math.min(...known), 1), most: LT.number(Math.max(...known), 1) }))
    svg.append(path(history.last_p95, most, 'p95'), path(history.last_p50, most, 'p50'))
    return LT.el('div', { class: 'lt-plot' }, LT.el('span', { class: 'lt-axis' }, t('{seconds} s', { seconds: LT.number(most, 1) })), svg)
  }

  function engines(list) {
    const states = {
      unknown: t('not used yet'), up: t('works'), starting: t('is starting'), full: t('is full'), down: t('does not work'),
      refused: t('refuses the app: check the settings'),
    }
    const names = { whisper: t('This machine (Whisper)') }
    if (!list.length) {
      return [LT.el('li', {}, t('None is configured or installed.'))]
    }
    return list.map((engine) => LT.el('li', {},
      LT.el('strong', {}, names[engine.name] || LT.tests.engine(engine.name)), ' ' + (states[engine.state] || engine.state),
      engine.problem ? LT.el('div', { class: 'lt-step-message' }, engine.problem) : null))
  }

  function errors(list) {
    if (!list.length) {
      return [LT.el('li', { class: 'lt-empty' }, t('None.'))]
    }
    return list.slice(0, 8).map((error) => LT.el('li', {},
      LT.el('time', { datetime: new Date(error.at * 1000).toISOString() }, new Date(error.at * 1000).toLocaleString(document.documentElement.lang || undefined)),
      ' ' + error.message))
  }

  function summary(status) {
    if (status.problem) {
      return ['failed', t('Calls cannot be joined')]
    }
    if (status.enabled === false || status.initialising) {
      return ['warning', status.initialising ? t('Setting up') : t('Disabled')]
    }
    if (status.conditions.length) {
      const limits = status.conditions.every((condition) => condition.template && condition.code !== 'encrypted')
      return ['warning', limits ? t('At its limit') : t('Not everything works')]
    }
    return status.calls ? ['ok', t('Captions are running')] : ['ok', t('Ready')]
  }

  // What is wrong, what the app does about it, and what an administrator can do.
  function condition(found) {
    if (found.template) {
      // A value is a number, or a text that has a translation of its own.
      const shown = (value) => /^\d+(\.\d+)?$/.test(value) ? LT.number(value, (value.split('.')[1] || '').length) : t(value)
      const values = Object.fromEntries(found.values.map(([name, value]) => [name, shown(value)]))
      return t(found.template, values) + ' ' + t(found.fix)
    }
    const texts = {
      'hpb-unreachable': t('The high-performance backend cannot be reached: calls get no captions. The app tries again every few seconds. Check that the backend is running and that this machine can reach it.'),
      'hpb-refused': t('The high-performance backend refuses the app: calls get no captions. The app tries again every five minutes, and at once when you change the settings. Test the backend below to see why.'),
      'media-path': t('Some speakers are not being transcribed, because no audio arrives from the media server. Allow UDP between this machine and the media server, or set up a TURN server in the Talk settings.'),
      'turn-refused': t('A TURN server refuses the app. Check the TURN servers and their secret in the Talk settings.'),
    }
    return texts[found.code] || found.message + ' ' + found.fix
  }

  function untranscribed(count) {
    if (!count) {
      return ''
    }
    return count === 1 ? t('1 speaker is not being transcribed.') : t('{count} speakers are not being transcribed.', { count: LT.number(count) })
  }

  function banner(status) {
    const target = document.getElementById('lt-banner')
    const unread = status.settings_error
      ? t('Could not read the saved settings. The last known ones apply.') + ' ' + status.settings_error : ''
    const text = status.problem
      || [unread, untranscribed(status.speakers_waiting)].concat(status.conditions.map(condition)).filter(Boolean).join(' ')
    if (target.textContent !== text) {
      target.textContent = text
    }
    target.hidden = !text
    target.dataset.kind = status.problem ? 'failed' : 'warning'
  }

  function chip(kind, text) {
    const target = document.getElementById('lt-status-state')
    if (target.textContent !== text) {
      target.textContent = text
    }
    target.dataset.kind = kind
  }

  async function refresh() {
    try {
      const status = await LT.request('GET', 'admin/status')
      document.getElementById('lt-tiles').replaceChildren(...tiles(status))
      document.getElementById('lt-spark').replaceChildren(spark(status.history))
      document.getElementById('lt-engines').replaceChildren(...engines(status.engines))
      document.getElementById('lt-errors').replaceChildren(...errors(status.last_errors))
      banner(status)
      chip(...summary(status))
    } catch (error) {
      chip('failed', error.message)
    }
  }

  async function run() {
    while (document.getElementById('live-transcription')) {
      if (!document.hidden) {
        await refresh()
      }
      await LT.wait(ASK_AGAIN_MS)
    }
  }

  LT.status = { run, refresh }
})()
