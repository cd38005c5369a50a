/** Getting a key: from a one-time link, or typed and tried. */

import { api, ask, body } from './client'

/** Spend the token of a login link; the answer is this browser's own key. */
export async function spend(token: string): Promise<string> {
  return (await body(api.POST('/v1/login', { body: { token } }))).secret
}

/** Refusal if the server does not know this key. */
export async function tryKey(secret: string): Promise<void> {
  const headers = { authorization: `Bearer ${secret}` }
  await ask(new Request(new URL('/v1/jobs?limit=1', location.origin), { headers }))
}
