/** The key that this browser uses, kept between visits. */

import { signal } from '@preact/signals'

const PLACE = 'hone.key'
const ROLE = 'hone.role'

export const key = signal<string | null>(localStorage.getItem(PLACE))

/** What the key may do, where the server has said so: it does for a login link, not for a key that was typed. */
export const role = signal<string | null>(localStorage.getItem(ROLE))

/** Why there is no key any more, in the server's words. */
export const notice = signal('')

export function signIn(secret: string, its: string | null): void {
  localStorage.setItem(PLACE, secret)
  if (its === null) localStorage.removeItem(ROLE)
  else localStorage.setItem(ROLE, its)
  notice.value = ''
  role.value = its
  key.value = secret
}

export function signOut(reason = ''): void {
  localStorage.removeItem(PLACE)
  localStorage.removeItem(ROLE)
  notice.value = reason
  key.value = null
  role.value = null
}
