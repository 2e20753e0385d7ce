// SPDX-FileCopyrightText: 2026 Live Transcription contributors
// SPDX-License-Identifier: AGPL-3.0-or-later

// The checks: started here, run by the app, and polled until they are done.
(function () {
  'use strict'

  const LT = window.LiveTranscription
  const t = LT.t
  const ASK_AGAIN_MS = 700
  const MARKS = { ok: '✓', warning: '!', failed: '✗', running: '…' }

  const state = (name) => ({ ok: t('OK'), warning: t('Warning'), failed: t('Failed'), running: t('Running') })[name]
  const checkName = (name) => ({ nextcloud: 'Nextcloud', hpb: t('High-performance backend'), ice: t('STUN and TURN'), stt: t('Speech-to-text'), calls: t('Calls') })[name] || name
  const engine = (name) => ({ modal: 'Modal', moshi: 'moshi-server', embedded: t('This machine') })[name] || name

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
    return LT.el('li', { class: 'lt-step lt-step--' + step.state },
      LT.el('span', { class: 'lt-mark', 'aria-hidden': 'true' }, MARKS[step.state]),
      LT.el('div', { class: 'lt-step-text' },
        LT.el('span', { class: 'lt-step-title' }, LT.el('span', { class: 'lt-sr' }, state(step.state) + ': '), step.title),
        step.seconds < 0.1 ? null : LT.el('span', { class: 'lt-step-time' }, ' ' + t('{seconds} s', { seconds: LT.number(step.seconds, 1) })),
        step.detail ? LT.el('div', { class: 'lt-step-detail' }, step.id === 'stt.transcribe' ? '“' + step.detail + '”' : step.detail) : null,
        slow ? bar(step) : null,
        slow && step.seconds > 5 ? LT.el('div', { class: 'lt-hint' }, t('A cold start may take a minute or two.')) : null,
        step.message ? LT.el('div', { class: 'lt-step-message' }, step.message) : null,
        step.fix ? LT.el('div', { class: 'lt-step-fix' }, LT.el('strong', {}, t('What to do:')), ' ' + step.fix) : null))
  }

  function verdict(run) {
    if (!run.done) {
      return t('Running the checks…')
    }
    if (run.state === 'failed') {
      return t('Failed at: {step}', { step: checkName(run.failing) })
    }
    return run.state === 'warning' ? t('All checks passed, with warnings.') : t('All checks passed.')
  }

  function show(target, run) {
    const parts = [LT.el('p', { class: 'lt-verdict lt-verdict--' + (run.done ? run.state : 'running') }, verdict(run))]
    let list = null
    let last = null
    for (const step of run.steps) {
      if (step.check !== last) {
        last = step.check
        list = LT.el('ul', { class: 'lt-steps', 'aria-label': checkName(step.check) })
        if (run.kind === 'selftest') {
          parts.push(LT.el('h3', {}, checkName(step.check)))
        }
        parts.push(list)
      }
      list.append(line(step))
    }
    target.replaceChildren(...parts)
  }

  async function follow(target, run) {
    let failures = 0
    show(target, run)
    while (!run.done) {
      await LT.wait(ASK_AGAIN_MS)
      try {
        run = await LT.request('GET', 'admin/test/' + encodeURIComponent(run.id))
        failures = 0
        show(target, run)
      } catch (error) {
        failures += 1
        if (failures > 5 || error.status === 404) {
          throw error
        }
      }
    }
  }

  async function start(button, kind) {
    const target = document.querySelector('[data-result="' + kind + '"]')
    if (button.getAttribute('aria-disabled') === 'true') {
      return
    }
    button.setAttribute('aria-disabled', 'true')
    target.setAttribute('aria-busy', 'true')
    const failed = (reason) => target.replaceChildren(
      LT.el('p', { class: 'lt-verdict lt-verdict--failed' }, t('Could not run the checks.') + ' ' + reason))
    target.replaceChildren(LT.el('p', { class: 'lt-verdict lt-verdict--running' }, t('Running the checks…')))
    try {
      // The checks use the saved settings, so save changes first.
      const unsaved = await LT.form.save()
      if (unsaved) {
        failed(unsaved)
        return
      }
      await follow(target, await LT.request('POST', kind === 'selftest' ? 'admin/selftest' : 'admin/test/' + kind, {}))
    } catch (error) {
      failed(error.message)
    } finally {
      button.removeAttribute('aria-disabled')
      target.removeAttribute('aria-busy')
    }
  }

  function bind(root) {
    for (const button of root.querySelectorAll('[data-test]')) {
      button.addEventListener('click', () => start(button, button.dataset.test))
    }
  }

  LT.tests = { bind, engine }
})()
