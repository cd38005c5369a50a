/** Getting in: a one-time link signs in by itself, anyone else types a key. */

import { useEffect, useState } from 'preact/hooks'
import { replace, route } from './address'
import { connection } from './api/connection'
import { spend, tryKey, type Pass } from './api/login'
import { key, notice, signIn } from './api/session'
import { useTitle } from './hooks/useTitle'
import { href } from './lib/route'

export function LoginPage({ token }: { token: string | null }) {
  useTitle('Sign in')
  const [problem, setProblem] = useState('')
  const [busy, setBusy] = useState(token !== null)
  const attempt = async (pass: Promise<Pass>) => {
    setBusy(true)
    setProblem('')
    try {
      enter(await pass)
    } catch (error) {
      setBusy(false)
      setProblem(connection.value === 'lost' ? 'The server does not answer. Is it running?' : (error as Error).message)
    }
  }
  useEffect(() => {
    if (token !== null) void attempt(spend(token))
  }, [token])
  return (
    <main class="login">
      <h1>Hone</h1>
      {busy ? <p role="status">Signing in…</p> : <KeyForm problem={problem || notice.value} attempt={attempt} />}
      {!busy && key.value !== null && <a href={href(['jobs'])}>Go on with the key that this browser has</a>}
    </main>
  )
}

/** Remember the key and show what was asked for; the login address leaves the history with its token. */
function enter(pass: Pass): void {
  signIn(pass.secret, pass.role)
  if (route.value.path[0] === 'login') replace(href(['jobs']))
}

interface FormProps {
  problem: string
  attempt: (pass: Promise<Pass>) => Promise<void>
}

function KeyForm({ problem, attempt }: FormProps) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    const secret = String(new FormData(event.currentTarget as HTMLFormElement).get('key')).trim()
    void attempt(tryKey(secret))
  }
  return (
    <form onSubmit={submit}>
      <label for="key">API key</label>
      <input id="key" name="key" type="password" required autofocus autocomplete="current-password" spellcheck={false} />
      {problem && <p role="alert" class="problem">{problem}</p>}
      <button class="primary">Sign in</button>
      <p class="muted">
        The server's operator gives out keys. On the machine that runs it, <code>hone up</code> prints a link that signs
        you in once.
      </p>
    </form>
  )
}
