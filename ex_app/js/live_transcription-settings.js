// SPDX-FileCopyrightText: 2026 Live Transcription contributors
// SPDX-License-Identifier: AGPL-3.0-or-later

// Entry point: loads the page's HTML through AppAPI's proxy, puts it into Nextcloud's empty page, and starts the other scripts.
(function () {
  'use strict'

  const LT = window.LiveTranscription

  async function start() {
    const content = document.getElementById('content')
    if (!content) {
      return
    }
    content.classList.add('lt-content')
    try {
      // The app's own template escapes all values; inserted markup never runs scripts.
      content.innerHTML = await LT.page('admin/page?lang=' + encodeURIComponent(LT.language()))
    } catch (error) {
      const retry = LT.el('button', { type: 'button', class: 'primary' }, 'Try again')
      retry.addEventListener('click', start)
      content.replaceChildren(LT.el('div', { id: 'live-transcription', role: 'alert' },
        LT.el('h1', {}, 'Live transcription'), LT.el('p', {}, error.message), retry))
      return
    }
    const root = document.getElementById('live-transcription')
    LT.words = JSON.parse(root.dataset.words)
    root.querySelector('[data-docs]').href = LT.url('admin/docs')
    LT.form.bind(root)
    LT.tests.bind(root)
    LT.forget.bind(root)
    LT.status.run()
  }

  if (document.readyState === 'loading') {
    document.addEventListener('DOMContentLoaded', start)
  } else {
    start()
  }
})()
