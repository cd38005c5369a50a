import type { History } from './history'

/** The button that loads earlier events, while there are any. */
export function Earlier({ history }: { history: History }) {
  if (history.loading) return <p class="muted">Loading…</p>
  if (history.from === 0) return null
  return (
    <button type="button" onClick={history.earlier}>
      Show earlier
    </button>
  )
}
