/** What surrounds every view: the name, the service's health, the banner of a lost connection. */

import type { ComponentChildren } from 'preact'
import { route } from './address'
import { connection } from './api/connection'
import { signOut } from './api/login'
import { href } from './lib/route'
import { Health } from './health'
import { root } from './root'

export function Frame({ children }: { children: ComponentChildren }) {
  return (
    <>
      <header class="top">
        <a class="brand" href={href(['jobs'])} aria-label="Hone, all jobs">
          <svg viewBox="0 0 16 16" aria-hidden="true">
            <rect width="16" height="16" rx="4" />
            <path d="M5 3.5v9M11 3.5v9M5 8h6" />
          </svg>
          Hone
        </a>
        <Views />
        <Health />
        <nav class="service" aria-label="Service">
          <a href={`${root}docs`}>API</a>
          <button type="button" class="plain" onClick={() => void signOut().catch(() => {})}>
            Sign out
          </button>
        </nav>
      </header>
      <Banner />
      {children}
    </>
  )
}

const VIEWS = ['jobs', 'queue', 'workers', 'webhooks']

function Views() {
  const [here = 'jobs'] = route.value.path
  return (
    <nav class="views" aria-label="Views">
      {VIEWS.map((name) => (
        <a key={name} href={href([name])} aria-current={name === here ? 'page' : undefined}>
          {name}
        </a>
      ))}
    </nav>
  )
}

function Banner() {
  if (connection.value === 'up') return null
  return (
    <p class="banner" role="alert">
      Connection to the server lost. The data shown may be out of date. Reconnecting…
    </p>
  )
}
