/** The key that this browser uses, kept between visits. */

import { signal } from '@preact/signals'

const PLACE = 'hone.key'

export const key = signal<string | null>(localStorage.getItem(PLACE))

/** Why there is no key any more, in the server's words. */
export const notice = signal('')

export function signIn(secret: string): void {
  localStorage.setItem(PLACE, secret)
  notice.value = ''
  key.value = secret
}

export function signOut(reason = ''): void {
  localStorage.removeItem(PLACE)
  notice.value = reason
  key.value = null
}
