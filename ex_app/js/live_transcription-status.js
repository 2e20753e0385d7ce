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
    if (status.translation) {
      found.push(tile(t('Translations in progress'), LT.number(status.translation.in_flight)))
      found.push(tile(t('Time to a translation'), seconds(status.translation.p50)))
      found.push(tile(t('Captions without a translation in time'), LT.number(status.translation.untranslated)))
    }
    if (status.gpu_minutes !== null) {
      found.push(tile(t('GPU connection minutes'), LT.number(status.gpu_minutes, 1)))
      found.push(tile(t('Minutes saved by silence'), LT.number(status.saved_minutes, 1)))
    }
    if (status.modal) {
      const of = (value, limit) => limit ? t('{value} of {limit}', { value, limit: LT.number(limit) }) : value
      found.push(tile(t('GPU minutes on Modal today'), of(LT.number(status.modal.minutes_today, 1), status.modal.minutes_limit)))
      found.push(tile(t('Connections to Modal'), of(LT.number(status.modal.sockets), status.modal.sockets_limit)))
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

  // A value is a number, or a text that has a translation of its own.
  function inserted(values) {
    const shown = (value) => /^\d+(\.\d+)?$/.test(value) ? LT.number(value, (value.split('.')[1] || '').length) : t(value)
    return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, shown(value)]))
  }

  const MARKS = { ok: '✓', warning: '!', failed: '✗', unknown: '–' }

  function dependencyName(name) {
    const names = {
      nextcloud: 'Nextcloud', hpb: t('High-performance backend'), media: t('Audio from the media server'), turn: t('STUN and TURN'),
      'engine:whisper': t('This machine (Whisper)'),
    }
    return names[name] || LT.tests.engine(name.replace(/^engine:/, ''))
  }

  function dependencyState(found) {
    const codes = { stt_starting: t('is starting'), stt_at_capacity: t('is full') }
    const states = { ok: t('works'), warning: t('needs attention'), failed: t('does not work'), unknown: t('not tested yet') }
    return (found.state === 'warning' && codes[found.code]) || states[found.state] || found.state
  }

  const hasEngine = (list) => list.some((found) => found.name.startsWith('engine:'))
  const cause = (found) => [found.cause, found.fix].filter(Boolean).join(' ')

  function dependencies(list) {
    const items = list.map((found) => LT.el('li', { class: 'lt-step lt-step--' + found.state, 'data-dependency': found.name },
      LT.el('span', { class: 'lt-mark', 'aria-hidden': 'true' }, MARKS[found.state]),
      LT.el('div', { class: 'lt-step-text' },
        LT.el('strong', {}, dependencyName(found.name)), ' ' + dependencyState(found) + ' ',
        found.at ? moment(found.at) : null,
        found.state === 'failed' || found.state === 'warning' ? LT.el('div', { class: 'lt-step-message' }, cause(found)) : null)))
    if (!hasEngine(list)) {
      items.push(LT.el('li', { class: 'lt-step lt-step--failed' }, LT.el('span', { class: 'lt-mark', 'aria-hidden': 'true' }, MARKS.failed),
        LT.el('div', { class: 'lt-step-text' }, LT.el('strong', {}, t('Speech-to-text')), ' ' + t('None is configured or installed.'))))
    }
    return items
  }

  function moment(at) {
    const date = new Date(at * 1000)
    return LT.el('time', { datetime: date.toISOString() }, date.toLocaleString(document.documentElement.lang || undefined))
  }

  function errors(list) {
    if (!list.length) {
      return [LT.el('li', { class: 'lt-empty' }, t('None.'))]
    }
    return list.slice(0, 8).map((error) => LT.el('li', {},
      moment(error.at),
      ' ' + error.message))
  }

  // The chip: the status that the server reports, in the page's words.
  function summary(status) {
    const limited = status.dependencies.every((found) => found.state === 'ok' || found.state === 'unknown')
      && status.conditions.every((found) => found.code !== 'encrypted')
    return {
      ok: ['ok', status.calls ? t('Captions are running') : t('Ready')],
      untested: ['unknown', t('Not tested yet')],
      degraded: ['warning', limited && status.conditions.length ? t('At its limit') : t('Not everything works')],
      failed: ['failed', status.problem ? t('Calls cannot be joined') : t('Captions do not work')],
      starting: ['warning', t('Setting up')],
      disabled: ['warning', t('Disabled')],
    }[status.status] || ['warning', status.status]
  }

  function untranscribed(count) {
    if (!count) {
      return ''
    }
    return count === 1 ? t('1 speaker is not being transcribed.') : t('{count} speakers are not being transcribed.', { count: LT.number(count) })
  }

  // What is wrong, and what an administrator can do.
  function problems(status) {
    const known = new Set(['warning', 'failed'])
    const failing = status.dependencies.filter((found) => known.has(found.state) && !(found.name === 'nextcloud' && status.settings_error))
    const limits = status.conditions.filter((found) => found.template && status.reasons.includes(found.code))
    const shown = (found) => t(found.template, inserted(Object.fromEntries(found.values))) + ' ' + found.fix
    return [
      status.problem || (status.reasons.includes('configuration') ? status.explanations.configuration : ''),
      status.settings_error ? t('Could not read the saved settings. The last known ones apply.') + ' ' + status.settings_error : '',
      untranscribed(status.speakers_waiting),
      hasEngine(status.dependencies) ? '' : status.explanations['speech-to-text'],
      ...failing.map((found) => dependencyName(found.name) + ': ' + cause(found)),
      ...limits.map(shown),
    ].filter(Boolean)
  }

  function banner(texts, kind) {
    const target = document.getElementById('lt-banner')
    const text = texts.join(' ')
    if (target.textContent !== text) {
      target.textContent = text
    }
    target.hidden = !text
    target.dataset.kind = kind
  }

  function chip(kind, text) {
    const target = document.getElementById('lt-status-state')
    if (target.textContent !== text) {
      target.textContent = text
    }
    target.dataset.kind = kind
  }

  let shownAt = ''

  async function refresh() {
    let status
    try {
      status = await LT.request('GET', 'admin/status')
    } catch (error) {
      // The old figures stay, and say how old they are.
      chip('failed', t('No status'))
      banner([t('The app does not report its status.'), error.message, shownAt ? t('The status below is from {time}.', { time: shownAt }) : ''].filter(Boolean), 'failed')
      return
    }
    document.getElementById('lt-tiles').replaceChildren(...tiles(status))
    document.getElementById('lt-spark').replaceChildren(spark(status.history))
    document.getElementById('lt-engines').replaceChildren(...dependencies(status.dependencies))
    document.getElementById('lt-errors').replaceChildren(...errors(status.last_errors))
    const [kind, text] = summary(status)
    chip(kind, text)
    banner(problems(status), kind === 'failed' ? 'failed' : 'warning')
    shownAt = new Date().toLocaleTimeString(document.documentElement.lang || undefined)
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
