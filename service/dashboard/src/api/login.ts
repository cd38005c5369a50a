/** Getting a key: from a one-time link, or typed by the user and checked. */

import { root } from '../root'
import { api, ask, body } from './client'

export interface Credential {
  secret: string
  /** null where the server does not say. */
  role: string | null
}

/** Redeem the token of a login link for a key of this browser's own. */
export async function redeem(token: string): Promise<Credential> {
  return body(api.POST('/v1/login', { body: { token } }))
}

/** Refusal if the server does not know this key. */
export async function tryKey(secret: string): Promise<Credential> {
  const headers = { authorization: `Bearer ${secret}` }
  await ask(new Request(new URL('v1/jobs?limit=1', root), { headers }))
  return { secret, role: null }
}
