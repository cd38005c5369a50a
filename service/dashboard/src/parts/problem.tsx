import { Refusal } from '../api/client'

/** The error in the server's words, with the field unless they name it. */
export function Problem({ error }: { error: Error | null }) {
  if (error === null) return null
  const param = error instanceof Refusal ? error.param : null
  const addsParam = param !== null && !error.message.startsWith(`${param}: `)
  return (
    <p class="problem" role="alert">
      {error.message}
      {addsParam && ` (${param})`}
    </p>
  )
}
