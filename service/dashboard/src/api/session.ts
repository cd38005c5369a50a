/** The key that this browser uses, stored between visits. */

import { signal } from '@preact/signals'

const KEY = 'hone.key'
const ROLE = 'hone.role'

export const key = signal<string | null>(localStorage.getItem(KEY))

/** The role of the key; unknown (null) for a key that was typed. */
export const role = signal<string | null>(localStorage.getItem(ROLE))

/** Why the key was removed, in the server's words. */
export const notice = signal('')

export function signIn(secret: string, newRole: string | null): void {
  localStorage.setItem(KEY, secret)
  if (newRole === null) localStorage.removeItem(ROLE)
  else localStorage.setItem(ROLE, newRole)
  notice.value = ''
  role.value = newRole
  key.value = secret
}

export function signOut(reason = ''): void {
  localStorage.removeItem(KEY)
  localStorage.removeItem(ROLE)
  notice.value = reason
  key.value = null
  role.value = null
}
