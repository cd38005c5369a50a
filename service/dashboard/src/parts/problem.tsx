import { Refusal } from '../api/client'

/** What went wrong, in the server's words. */
export function Problem({ error }: { error: Error | null }) {
  if (error === null) return null
  const field = error instanceof Refusal && error.param ? ` (${error.param})` : ''
  return (
    <p class="problem" role="alert">
      {error.message}
      {field}
    </p>
  )
}
