import { Refusal } from '../api/client'

/** What went wrong, in the server's words; and where, unless they say that themselves. */
export function Problem({ error }: { error: Error | null }) {
  if (error === null) return null
  const param = error instanceof Refusal ? error.param : null
  const untold = param !== null && !error.message.startsWith(`${param}: `)
  return (
    <p class="problem" role="alert">
      {error.message}
      {untold && ` (${param})`}
    </p>
  )
}
