import type { History } from '../job/history'

/** Asks for what happened before, while there is anything. */
export function Earlier({ history }: { history: History }) {
  if (history.loading) return <p class="muted">Loading…</p>
  if (history.from === 0) return null
  return (
    <button type="button" onClick={history.earlier}>
      Show earlier
    </button>
  )
}
