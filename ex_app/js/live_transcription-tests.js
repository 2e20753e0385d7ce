// SPDX-FileCopyrightText: 2026 Live Transcription contributors
// SPDX-License-Identifier: AGPL-3.0-or-later

// The tests of the hops: started here, run by the app, followed by asking again and again.
(function () {
  'use strict'

  const LT = window.LiveTranscription
  const t = LT.t
  const ASK_AGAIN_MS = 700
  const MARKS = { ok: '✓', warning: '!', failed: '✗', running: '…' }

  const state = (name) => ({ ok: t('Fine'), warning: t('Warning'), failed: t('Failed'), running: t('Running') })[name]
  const hop = (name) => ({ nextcloud: 'Nextcloud', hpb: t('High-performance backend'), ice: t('STUN and TURN'), stt: t('Speech-to-text') })[name] || name
  const engine = (name) => ({ modal: 'Modal', moshi: 'moshi-server', embedded: t('This machine') })[name] || name

  function title(step) {
    if (step.id === 'stt.open') {
      return t('{engine}: the engine starts', { engine: engine(step.title) })
    }
    if (step.id === 'stt.hear') {
      return t('{engine}: a sentence is transcribed', { engine: engine(step.title) })
    }
    return t(step.title)
  }

  const cause = (code) => ({
    configuration: t('A setting is missing or invalid.'),
    nextcloud: t('Nextcloud gave the app an unexpected answer.'),
    nextcloud_redirected: t('Nextcloud answers with a redirect to another address.'),
    signaling_redirected: t('The address of the high-performance backend redirects to another one.'),
    signaling_unreachable: t('The high-performance backend cannot be reached.'),
    signaling_refused: t('The high-performance backend refuses the app.'),
    signaling_protocol: t('The server at this address does not behave like a high-performance backend.'),
    stt_redirected: t('The address of the speech-to-text engine redirects to another one.'),
    stt_untrusted: t('The certificate of the speech-to-text engine is not trusted.'),
    stt_unavailable: t('The speech-to-text engine cannot be reached, or gives no text.'),
    stt_at_capacity: t('The speech-to-text engine is busy.'),
    stt_refused: t('The speech-to-text engine refuses the credentials or the address.'),
    stt_model: t('The model on this machine is missing or damaged.'),
  })[code] || ''

  function bar(step) {
    const share = Math.min(0.97, step.seconds / step.expected_s)
    const fill = LT.el('span', { class: 'lt-bar-fill' })
    fill.style.width = (100 * share).toFixed(1) + '%'
    return LT.el('span', {
      class: 'lt-bar', role: 'progressbar', 'aria-label': t('Starting'), 'aria-valuemin': 0, 'aria-valuemax': Math.round(step.expected_s),
      'aria-valuenow': Math.round(Math.min(step.seconds, step.expected_s)),
    }, fill)
  }

  function line(step) {
    const slow = step.state === 'running' && step.expected_s > 0
    const plain = step.state === 'failed' ? cause(step.code) : ''
    return LT.el('li', { class: 'lt-step lt-step--' + step.state },
      LT.el('span', { class: 'lt-mark', 'aria-hidden': 'true' }, MARKS[step.state]),
      LT.el('div', { class: 'lt-step-text' },
        LT.el('span', { class: 'lt-step-title' }, LT.el('span', { class: 'lt-sr' }, state(step.state) + ': '), title(step)),
        step.seconds < 0.1 ? null : LT.el('span', { class: 'lt-step-time' }, ' ' + t('{seconds} s', { seconds: LT.number(step.seconds, 1) })),
        step.detail ? LT.el('div', { class: 'lt-step-detail' }, step.id === 'stt.hear' ? '“' + step.detail + '”' : step.detail) : null,
        slow ? bar(step) : null,
        slow && step.seconds > 5 ? LT.el('div', { class: 'lt-hint' }, t('A cold start may take a minute or two.')) : null,
        plain ? LT.el('div', { class: 'lt-step-cause' }, plain) : null,
        step.message ? LT.el('div', { class: 'lt-step-message' }, t(step.message)) : null,
        step.fix ? LT.el('div', { class: 'lt-step-fix' }, LT.el('strong', {}, t('What to do:')), ' ' + t(step.fix)) : null))
  }

  function verdict(trial) {
    if (!trial.done) {
      return t('The test is running…')
    }
    if (trial.state === 'failed') {
      return t('Failed at: {hop}', { hop: hop(trial.failing) })
    }
    return trial.state === 'warning' ? t('It works, with a warning.') : t('All checks passed.')
  }

  function show(target, trial) {
    const parts = [LT.el('p', { class: 'lt-verdict lt-verdict--' + (trial.done ? trial.state : 'running') }, verdict(trial))]
    let list = null
    let last = null
    for (const step of trial.steps) {
      if (step.hop !== last) {
        last = step.hop
        list = LT.el('ul', { class: 'lt-steps', 'aria-label': hop(step.hop) })
        if (trial.kind === 'selftest') {
          parts.push(LT.el('h3', {}, hop(step.hop)))
        }
        parts.push(list)
      }
      list.append(line(step))
    }
    target.replaceChildren(...parts)
  }

  async function follow(target, trial) {
    let failures = 0
    show(target, trial)
    while (!trial.done) {
      await LT.wait(ASK_AGAIN_MS)
      try {
        trial = await LT.request('GET', 'admin/test/' + encodeURIComponent(trial.id))
        failures = 0
        show(target, trial)
      } catch (error) {
        failures += 1
        if (failures > 5 || error.status === 404) {
          throw error
        }
      }
    }
  }

  async function run(button, kind) {
    const target = document.querySelector('[data-result="' + kind + '"]')
    if (button.getAttribute('aria-disabled') === 'true') {
      return
    }
    button.setAttribute('aria-disabled', 'true')
    target.setAttribute('aria-busy', 'true')
    try {
      // The tests use the saved settings, so changes are saved first.
      if (!await LT.form.save()) {
        return
      }
      await follow(target, await LT.request('POST', kind === 'selftest' ? 'admin/selftest' : 'admin/test/' + kind, {}))
    } catch (error) {
      target.replaceChildren(LT.el('p', { class: 'lt-verdict lt-verdict--failed' }, t('The test could not be run.') + ' ' + error.message))
    } finally {
      button.removeAttribute('aria-disabled')
      target.removeAttribute('aria-busy')
    }
  }

  function bind(root) {
    for (const button of root.querySelectorAll('[data-test]')) {
      button.addEventListener('click', () => run(button, button.dataset.test))
    }
  }

  LT.tests = { bind, engine }
})()
