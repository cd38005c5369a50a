/** Signing in: by a one-time link, or with a key that is typed. */

import { useEffect, useState } from 'preact/hooks'
import { replace, route } from './address'
import { connection } from './api/connection'
import { signIn, type Credential } from './api/login'
import { notice, session } from './api/session'
import { useTitle } from './hooks/useTitle'
import { href } from './lib/route'

export function LoginPage({ token }: { token: string | null }) {
  useTitle('Sign in')
  const [problem, setProblem] = useState('')
  const [busy, setBusy] = useState(token !== null)
  const attempt = async (credential: Credential) => {
    setBusy(true)
    setProblem('')
    try {
      await signIn(credential)
      if (route.value.path[0] === 'login') replace(href(['jobs'])) // the token leaves the history
    } catch (error) {
      setBusy(false)
      setProblem(connection.value === 'lost' ? 'The server does not answer. Is it running?' : (error as Error).message)
    }
  }
  useEffect(() => {
    if (token !== null) void attempt({ token })
  }, [token])
  return (
    <main class="login">
      <h1>Hone</h1>
      {busy ? <p role="status">Signing in…</p> : <KeyForm problem={problem || notice.value} attempt={attempt} />}
      {!busy && session.value && <a href={href(['jobs'])}>Continue as {session.value.owner}</a>}
    </main>
  )
}

/** Until the server has said who is signed in. */
export function Waiting() {
  return (
    <main class="login">
      <h1>Hone</h1>
      {connection.value === 'lost' && <p role="alert">The server does not answer. Is it running?</p>}
    </main>
  )
}

interface FormProps {
  problem: string
  attempt: (credential: Credential) => Promise<void>
}

function KeyForm({ problem, attempt }: FormProps) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    const key = String(new FormData(event.currentTarget as HTMLFormElement).get('key')).trim()
    void attempt({ key })
  }
  return (
    <form onSubmit={submit}>
      <label for="key">API key</label>
      <input id="key" name="key" type="password" required autofocus autocomplete="current-password" spellcheck={false} />
      {problem && <p role="alert" class="problem">{problem}</p>}
      <button class="primary">Sign in</button>
      <p class="muted">
        Ask the operator of this server for a key. <code>hone up</code> prints a one-time sign-in link on its terminal.
      </p>
    </form>
  )
}
