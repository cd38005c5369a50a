/** Who is signed in. The key itself is in a cookie that no script can read. */

import { computed, signal } from '@preact/signals'

export interface Session {
  owner: string
  role: string
}

/** null: nobody; undefined: the server has not been asked yet. */
export const session = signal<Session | null | undefined>(undefined)

/** What the key of this session may do; null where nobody is signed in. */
export const role = computed(() => session.value?.role ?? null)

/** Why the session ended, in the server's words. */
export const notice = signal('')

export function begin(started: Session | null): void {
  notice.value = ''
  session.value = started
}

export function end(reason = ''): void {
  notice.value = reason
  session.value = null
}
