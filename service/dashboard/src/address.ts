/** The address bar as a signal: all that a view shows is in it. */

import { signal } from '@preact/signals'
import { href, parseRoute } from './lib/route'

export const route = signal(parseRoute(location.hash))

window.addEventListener('hashchange', () => {
  route.value = parseRoute(location.hash)
})

/** Go to a view, as a link would. */
export function go(address: string): void {
  location.hash = address
}

/** Go to a view without leaving a trace in the history. */
export function replace(address: string): void {
  history.replaceState(null, '', address)
  route.value = parseRoute(address)
}

/** The address of this view with some parameters changed; an empty one goes back to its default. */
export function withParams(changes: Record<string, string>): string {
  const { path, params } = route.value
  return href(path, { ...params, ...changes })
}
