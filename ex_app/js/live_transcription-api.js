// SPDX-FileCopyrightText: 2026 Live Transcription contributors
// SPDX-License-Identifier: AGPL-3.0-or-later

// Shared by the page's other scripts: translations, requests through AppAPI's proxy, and elements made of text, never of HTML.
(function () {
  'use strict'

  const LT = window.LiveTranscription = window.LiveTranscription || {}
  const ROOT = '/apps/app_api/proxy/live_transcription/'

  // No answer of the app takes longer, and AppAPI waits for about as long.
  const LONGEST_MS = 60000

  /** The page's language, which may differ from the browser's. */
  LT.language = () => (document.documentElement.lang || 'en').slice(0, 10)

  // Until the page has loaded, only the texts that Nextcloud stores for the app are known: those for an app that does not answer.
  function storedWords() {
    try {
      const bytes = Uint8Array.from(atob(document.getElementById('initial-state-app_api-app').value), (letter) => letter.charCodeAt(0))
      let state = JSON.parse(new TextDecoder().decode(bytes))
      state = typeof state === 'string' ? JSON.parse(state) : state
      return state.words[LT.language().slice(0, 2).toLowerCase()] || {}
    } catch (error) {
      return {}
    }
  }

  LT.words = storedWords()

  /** The translation of an English text; {name} is replaced by values.name. */
  LT.t = function (text, values) {
    let translated = Object.prototype.hasOwnProperty.call(LT.words, text) ? LT.words[text] : text
    for (const [name, value] of Object.entries(values || {})) {
      translated = translated.split('{' + name + '}').join(String(value))
    }
    return translated
  }

  LT.url = function (path) {
    return window.OC && window.OC.generateUrl ? window.OC.generateUrl(ROOT + path) : '/index.php' + ROOT + path
  }

  class RequestFailed extends Error {
    constructor(status, message, fields) {
      super(message)
      this.status = status
      this.fields = fields || {}
    }
  }
  LT.RequestFailed = RequestFailed

  async function ask(method, path, body) {
    const headers = { Accept: 'application/json, text/html', 'X-Live-Transcription': '1', 'Accept-Language': LT.language() }
    if (window.OC && window.OC.requestToken) {
      headers.requesttoken = window.OC.requestToken
    }
    if (body !== undefined) {
      headers['Content-Type'] = 'application/json'
    }
    try {
      return await fetch(LT.url(path), {
        method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: 'same-origin', cache: 'no-store',
        signal: AbortSignal.timeout(LONGEST_MS),
      })
    } catch (error) {
      throw new RequestFailed(0, error.name === 'TimeoutError' ? LT.t('The app did not answer in time.') : LT.t('Nextcloud cannot be reached.'))
    }
  }

  async function failure(answer) {
    let body = {}
    try {
      body = await answer.json()
    } catch (error) {
      body = {}
    }
    if (typeof body.error === 'string' && body.error) {
      return new RequestFailed(answer.status, body.error, body.fields)
    }
    // Not an answer of the app: AppAPI could not reach it, or does not pass the request on.
    const refused = [401, 403, 404].includes(answer.status)
    return new RequestFailed(answer.status, refused
      ? LT.t('Nextcloud refuses this request (status {status}). Log in as an administrator, and check that the app is enabled.', { status: answer.status })
      : LT.t('The app does not answer (status {status}). Is its container running?', { status: answer.status }))
  }

  LT.request = async function (method, path, body) {
    const answer = await ask(method, path, body)
    if (!answer.ok) {
      throw await failure(answer)
    }
    return answer.json()
  }

  LT.page = async function (path) {
    const answer = await ask('GET', path)
    if (!answer.ok) {
      throw await failure(answer)
    }
    return answer.text()
  }

  /** An element; children are elements or text. */
  LT.el = function (tag, attributes, ...children) {
    const element = document.createElement(tag)
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== null && value !== undefined && value !== false) {
        element.setAttribute(name, value === true ? '' : String(value))
      }
    }
    element.append(...children.filter((child) => child !== null && child !== undefined && child !== ''))
    return element
  }

  LT.wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

  /** A number in the format of the page's language. */
  LT.number = (value, digits) => Number(value).toLocaleString(document.documentElement.lang || undefined,
    { minimumFractionDigits: digits || 0, maximumFractionDigits: digits || 0 })
})()
