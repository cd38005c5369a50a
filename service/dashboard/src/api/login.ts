/** Signing in and out: the server keeps the key in a cookie. */

import { backoff } from '../lib/backoff'
import { pause } from '../lib/pause'
import { api, body, Refusal } from './client'
import type { components } from './schema'
import { begin, end, session, type Session } from './session'

/** The token of a login link, or a key that was typed. */
export type Credential = { token: string } | { key: string }

/** Where the page kept the key, and its role, in earlier versions. */
const OLD_KEY = 'hone.key'
const OLD_ROLE = 'hone.role'

export async function signIn(credential: Credential): Promise<void> {
  begin(known(await body(api.POST('/v1/session', { body: credential }))))
}

/** Ends the session on the server too, so that a copy of its cookie is worth nothing. */
export async function signOut(): Promise<void> {
  await api.DELETE('/v1/session')
  end()
}

/** Find out who is signed in, however long the server takes to answer. A key of an earlier version moves to the cookie. */
export async function resume(): Promise<void> {
  const never = new AbortController().signal
  for (let failures = 0; session.value === undefined; failures++) {
    try {
      return await (localStorage.getItem(OLD_KEY) === null ? whoAmI() : moveOldKey(localStorage.getItem(OLD_KEY)!))
    } catch (error) {
      if (error instanceof Refusal && error.status < 500) return end(error.message)
      await pause(backoff(failures, Math.random()), never)
    }
  }
}

async function whoAmI(): Promise<void> {
  const found = known(await body(api.GET('/v1/session')))
  if (session.value === undefined) begin(found)
}

/** A key that the server refuses is of no use to anybody and goes too. */
async function moveOldKey(key: string): Promise<void> {
  try {
    await signIn({ key })
  } catch (error) {
    if (!(error instanceof Refusal) || error.status >= 500) throw error
    end(error.message)
  }
  localStorage.removeItem(OLD_KEY)
  localStorage.removeItem(OLD_ROLE)
}

function known({ owner, role }: components['schemas']['SessionRead']): Session | null {
  return owner && role ? { owner, role } : null
}
