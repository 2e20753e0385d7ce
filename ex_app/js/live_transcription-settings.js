// SPDX-FileCopyrightText: 2026 Live Transcription contributors
// SPDX-License-Identifier: AGPL-3.0-or-later

// Entry point: loads the page's HTML through AppAPI's proxy, puts it into Nextcloud's empty page, and starts the other scripts.
(function () {
  'use strict'

  // Absent if the first script did not load; then only plain English is left.
  const LT = window.LiveTranscription || { t: (text) => text }
  const HASH = /^#guide-([a-z-]+)/
  const PARTS = ['request', 'form', 'tests', 'status', 'forget']

  function showFailure(content, reason, action, retry) {
    const alert = document.createElement('div')
    alert.id = 'live-transcription'
    alert.setAttribute('role', 'alert')
    const heading = document.createElement('h1')
    heading.textContent = LT.t('Live transcription')
    const text = document.createElement('p')
    text.textContent = reason
    const button = document.createElement('button')
    button.type = 'button'
    button.className = 'primary'
    button.textContent = action
    button.addEventListener('click', () => {
      button.disabled = true
      button.textContent = LT.t('Loading…')
      retry()
    })
    alert.append(heading, text, button)
    content.replaceChildren(alert)
  }

  // Links to guides begin with the page's address: a link of a fragment only would be one to an element of this page.
  function completeLinks(root) {
    for (const link of root.querySelectorAll('a[href^="#"]')) {
      link.setAttribute('href', window.location.pathname + window.location.search + link.getAttribute('href').replace(/^#$/, ''))
    }
  }

  // Links lead to `#guide-NAME/HEADING`. The name is in the address of the guide, the heading is an element of it.
  async function showGuide(content, name) {
    if (content.dataset.guide !== name) {
      content.innerHTML = await LT.page('admin/docs/' + encodeURIComponent(name))
      content.dataset.guide = name
      const root = document.getElementById('live-transcription')
      LT.words = JSON.parse(root.dataset.words)
      completeLinks(root)
      content.scrollTop = 0
    }
    const heading = document.getElementById(decodeURIComponent(window.location.hash.slice(1)))
    if (heading) {
      heading.scrollIntoView()
    }
  }

  async function showSettings(content) {
    delete content.dataset.guide
    content.innerHTML = await LT.page('admin/page?lang=' + encodeURIComponent(LT.language()))
    const root = document.getElementById('live-transcription')
    LT.words = JSON.parse(root.dataset.words)
    completeLinks(root)
    LT.form.bind(root)
    LT.tests.bind(root)
    LT.forget.bind(root)
    LT.status.run()
  }

  async function start() {
    const content = document.getElementById('content')
    if (!content) {
      return
    }
    content.classList.add('lt-content')
    try {
      const missing = PARTS.filter((part) => !LT[part])
      if (missing.length) {
        throw new Error('missing scripts: ' + missing.join(', '))
      }
      // The app's own templates escape all values; inserted markup never runs scripts.
      const guide = window.location.hash.match(HASH)
      await (guide ? showGuide(content, guide[1]) : showSettings(content))
    } catch (error) {
      if (LT.RequestFailed && error instanceof LT.RequestFailed) {
        showFailure(content, error.message, LT.t('Try again'), start)
        return
      }
      // A script is missing, or older than the page: browsers keep scripts, so that this text is shown without the app, too.
      console.error(error)
      showFailure(content, LT.t('The page could not be set up. Reload it. If this does not help, see the browser\'s console.'),
        LT.t('Reload the page'), () => window.location.reload())
    }
  }

  window.addEventListener('hashchange', () => {
    // Between guides, and between a guide and the settings; not for a link within the settings.
    if (HASH.test(window.location.hash) || document.getElementById('content').dataset.guide) {
      start()
    }
  })

  if (document.readyState === 'loading') {
    document.addEventListener('DOMContentLoaded', start)
  } else {
    start()
  }
})()
