// SPDX-FileCopyrightText: 2026 Live Transcription contributors
// SPDX-License-Identifier: AGPL-3.0-or-later

// The settings form: finds what has changed, saves it, and shows the result next to each field.
(function () {
  'use strict'

  const LT = window.LiveTranscription
  const t = LT.t
  const fields = new Map()

  /** The field's value as it would be saved; for a secret, what was typed. */
  function value(field) {
    const control = field.querySelector('select, input:not([type=checkbox])')
    switch (field.dataset.kind) {
    case 'switch':
      return field.querySelector('input').checked ? 'true' : 'false'
    case 'languages':
    case 'order':
      return Array.from(field.querySelectorAll('input:checked'), (box) => box.value).join(',')
    default:
      return control.value.trim()
    }
  }

  /** What to save: a text, null to remove the saved value, or undefined for no change. */
  function change(field) {
    const state = fields.get(field.dataset.key)
    if (state.reset) {
      return null
    }
    const now = value(field)
    if (field.dataset.kind === 'secret') {
      return now === '' ? undefined : now
    }
    if (now === state.value) {
      return undefined
    }
    return now === '' ? null : now
  }

  function changes() {
    const found = {}
    for (const [key, state] of fields) {
      const changed = change(state.field)
      if (changed !== undefined) {
        found[key] = changed
      }
    }
    return found
  }

  function note(field, text, kind) {
    const target = field.querySelector('.lt-note')
    target.textContent = text
    target.dataset.kind = kind || ''
  }

  function fail(field, text) {
    const wrong = Boolean(text)
    field.querySelector('.lt-error').textContent = text || ''
    field.classList.toggle('lt-field--wrong', wrong)
    for (const control of field.querySelectorAll('input, select')) {
      if (wrong) {
        control.setAttribute('aria-invalid', 'true')
      } else {
        control.removeAttribute('aria-invalid')
      }
    }
  }

  function describe(field) {
    const state = fields.get(field.dataset.key)
    if (state.reset) {
      note(field, t('Removed when you save.'), 'unsaved')
    } else if (change(field) !== undefined) {
      note(field, t('Not saved yet.'), 'unsaved')
    } else if (state.fresh) {
      note(field, t('Saved.'), 'saved')
    } else if (field.dataset.source === 'environment') {
      note(field, t('Set in the environment of the container. A value saved here takes precedence.'), '')
    } else {
      note(field, '', '')
    }
    const reset = field.querySelector('[data-reset]')
    if (reset) {
      reset.hidden = field.dataset.source !== 'saved' || state.reset
    }
  }

  function say(text, kind) {
    const target = document.getElementById('lt-save-state')
    target.textContent = text
    target.dataset.kind = kind || ''
  }

  function refresh() {
    for (const state of fields.values()) {
      describe(state.field)
    }
    const count = Object.keys(changes()).length
    if (count) {
      say(count === 1 ? t('One change is not saved.') : t('{count} changes are not saved.', { count }), 'unsaved')
    } else {
      say(t('All changes are saved.'), '')
    }
  }

  function take(described, saved) {
    for (const [key, state] of fields) {
      const news = described[key]
      const field = state.field
      if (!news || (!(key in saved) && change(field) !== undefined)) {
        continue
      }
      field.dataset.source = news.source
      state.reset = false
      state.fresh = key in saved
      if (field.dataset.kind === 'secret') {
        const input = field.querySelector('input')
        input.value = ''
        input.placeholder = news.set ? t('Set. Leave empty to keep the current value.') : ''
        field.dataset.set = String(news.set)
        field.querySelector('[data-clear]').hidden = news.source !== 'saved'
      } else {
        show(field, news.value)
        state.value = value(field)
      }
      fail(field, news.problem)
    }
  }

  function show(field, text) {
    switch (field.dataset.kind) {
    case 'switch':
      field.querySelector('input').checked = text === 'true'
      break
    case 'languages':
    case 'order': {
      const chosen = text.split(',')
      for (const box of field.querySelectorAll('input')) {
        box.checked = chosen.includes(box.value)
      }
      const list = field.querySelector('ol')
      if (list) {
        for (const code of chosen.slice().reverse()) {
          const item = list.querySelector('[data-code="' + CSS.escape(code) + '"]')
          if (item) {
            list.prepend(item)
          }
        }
      }
      break
    }
    default:
      field.querySelector('select, input').value = text
    }
  }

  /** The sections of the engines: open one that has an error; show whether it is configured. */
  function engines() {
    for (const section of document.querySelectorAll('[data-engine]')) {
      const own = Array.from(section.querySelectorAll('.lt-field'))
      section.open = section.open || own.some((field) => field.classList.contains('lt-field--wrong'))
      const given = own.some((field) => field.dataset.source !== 'default')
      section.querySelector('.lt-engine-state').hidden = given || section.dataset.engine === 'embedded'
    }
  }

  /** Saves all changes. Returns "", or why they are not saved; then the first invalid field has the focus. */
  async function save() {
    const changed = changes()
    for (const state of fields.values()) {
      state.fresh = false
    }
    if (!Object.keys(changed).length) {
      refresh()
      return ''
    }
    const button = document.getElementById('lt-save')
    button.disabled = true
    say(t('Saving…'), '')
    try {
      const answer = await LT.request('PUT', 'admin/settings', { settings: changed })
      take(answer.settings, changed)
      refresh()
      engines()
      say(t('Saved.'), 'saved')
      return ''
    } catch (error) {
      let first = null
      for (const [key, text] of Object.entries(error.fields || {})) {
        const state = fields.get(key)
        if (state) {
          fail(state.field, text)
          first = first || state.field.querySelector('input, select')
        }
      }
      refresh()
      const reason = first ? t('Nothing was saved. Correct the marked fields.') : t('Nothing was saved.') + ' ' + error.message
      say(reason, 'failed')
      engines()
      if (first) {
        const folded = first.closest('details')
        if (folded) {
          folded.open = true
        }
        first.focus({ preventScroll: true })
        first.scrollIntoView({ block: 'center' })
      }
      return reason
    } finally {
      button.disabled = false
    }
  }

  function changedByHand(field) {
    const state = fields.get(field.dataset.key)
    state.reset = false
    state.fresh = false
    fail(field, '')
    refresh()
  }

  function move(button) {
    const item = button.closest('li')
    const other = button.dataset.move === '-1' ? item.previousElementSibling : item.nextElementSibling
    if (other) {
      button.dataset.move === '-1' ? other.before(item) : other.after(item)
      button.focus()
    }
  }

  function addReset(field) {
    const button = LT.el('button', { type: 'button', 'data-reset': true, class: 'lt-link', hidden: true }, t('Use the default'))
    button.addEventListener('click', () => {
      fields.get(field.dataset.key).reset = true
      refresh()
    })
    field.querySelector('.lt-hint').after(button)
  }

  function bind(root) {
    for (const field of root.querySelectorAll('.lt-field')) {
      fields.set(field.dataset.key, { field, value: value(field), reset: false, fresh: false })
      field.addEventListener('input', () => changedByHand(field))
      for (const button of field.querySelectorAll('[data-move]')) {
        button.addEventListener('click', () => {
          move(button)
          changedByHand(field)
        })
      }
      const clear = field.querySelector('[data-clear]')
      if (clear) {
        clear.addEventListener('click', () => {
          field.querySelector('input').value = ''
          fields.get(field.dataset.key).reset = true
          refresh()
        })
      } else if (['choice', 'number', 'switch', 'languages', 'order'].includes(field.dataset.kind)) {
        addReset(field)
      }
      fail(field, field.querySelector('.lt-error').textContent)
    }
    for (const box of root.querySelectorAll('.lt-order input')) {
      box.addEventListener('change', () => {
        const section = root.querySelector('[data-engine="' + CSS.escape(box.value) + '"]')
        section.open = section.open || box.checked
      })
    }
    root.querySelector('#lt-form').addEventListener('submit', (event) => {
      event.preventDefault()
      save()
    })
    window.addEventListener('beforeunload', (event) => {
      if (Object.keys(changes()).length) {
        event.preventDefault()
      }
    })
    refresh()
  }

  LT.form = { bind, save, changes }
})()
