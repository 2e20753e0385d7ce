// SPDX-FileCopyrightText: 2026 Live Transcription contributors
// SPDX-License-Identifier: AGPL-3.0-or-later

// Deletes all saved settings after a confirmation, and loads the page again.
(function () {
  'use strict'

  const LT = window.LiveTranscription
  const t = LT.t
  const DONE = 'live-transcription-forgotten'
  let leaving = false

  // Registered before the form's own listener: what was entered is gone with the settings, so the browser need not ask.
  window.addEventListener('beforeunload', (event) => {
    if (leaving) {
      event.stopImmediatePropagation()
    }
  })

  function say(text, kind) {
    const target = document.getElementById('lt-forget-state')
    target.textContent = text
    target.dataset.kind = kind || ''
  }

  async function forget(button) {
    if (button.getAttribute('aria-disabled') === 'true') {
      return
    }
    button.setAttribute('aria-disabled', 'true')
    say(t('Deleting…'))
    try {
      await LT.request('POST', 'admin/forget', {})
      leaving = true
      window.sessionStorage.setItem(DONE, '1')
      window.location.reload()
    } catch (error) {
      say(t('Could not delete the settings.') + ' ' + error.message, 'failed')
    } finally {
      button.removeAttribute('aria-disabled')
    }
  }

  function bind(root) {
    const button = root.querySelector('#lt-forget')
    const dialog = root.querySelector('#lt-forget-dialog')
    button.addEventListener('click', () => dialog.showModal())
    dialog.querySelector('[data-cancel]').addEventListener('click', () => dialog.close())
    dialog.querySelector('[data-confirm]').addEventListener('click', () => {
      dialog.close()
      forget(button)
    })
    if (window.sessionStorage.getItem(DONE)) {
      window.sessionStorage.removeItem(DONE)
      say(t('All saved settings were deleted.'), 'saved')
      document.getElementById('lt-forget-state').focus()
    }
  }

  LT.forget = { bind }
})()
