/** The only module that calls fetch, which sends the cookie: refusals and lost connections become errors. */

import createClient from 'openapi-fetch'
import { root } from '../root'
import { connection } from './connection'
import type { components, paths } from './schema'
import { end, session } from './session'

/** The server refused, and why. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly param: string | null = null,
  ) {
    super(message)
  }
}

/** No response: the server is down, restarting or out of reach. */
export class Unreachable extends Error {}

/** A response with a status of success; else Refusal, Unreachable or, when aborted, an AbortError. */
export async function ask(request: Request): Promise<Response> {
  const response = await fetched(request)
  if (response.ok) return response
  const refusal = await refusalOf(response)
  // Signing in with a wrong key ends no session that there is.
  if (refusal.status === 401 && session.value && request.url !== `${root}v1/session`) end(refusal.message)
  throw refusal
}

async function fetched(request: Request): Promise<Response> {
  try {
    const response = await fetch(request)
    // A proxy in front of the service answers with these while the service restarts.
    if (response.status === 502 || response.status === 504) throw new Unreachable(`status ${response.status}`)
    connection.value = 'up'
    return response
  } catch (error) {
    if (request.signal.aborted) throw error
    connection.value = 'lost'
    throw new Unreachable(`no response from ${new URL(request.url).host}`, { cause: error })
  }
}

async function refusalOf(response: Response): Promise<Refusal> {
  const body: unknown = await response.json().catch(() => null)
  const { error } = (body ?? {}) as Partial<components['schemas']['ErrorRead']>
  const message = error?.message ?? `the server returned ${response.status} ${response.statusText}`
  return new Refusal(response.status, message, error?.param ?? null)
}

/** Typed by the OpenAPI document: a path, parameter or field that the API no longer has does not compile. */
export const api = createClient<paths>({ baseUrl: root, fetch: ask })

/** The body of an answer. `ask` has thrown if there is none. */
export async function body<T>(call: Promise<{ data?: T }>): Promise<T> {
  return (await call).data as T
}
