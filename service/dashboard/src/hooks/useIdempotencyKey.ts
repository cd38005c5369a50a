import { useRef } from 'preact/hooks'
import { Unreachable } from '../api/client'

type WithIdempotencyKey = <T>(ask: (key: string) => Promise<T>) => Promise<T>

/** Gives requests that create something a key, the same again only after a lost answer: nothing is created twice. */
export function useIdempotencyKey(): WithIdempotencyKey {
  const key = useRef(randomKey())
  return async (ask) => {
    try {
      const answer = await ask(key.current)
      key.current = randomKey()
      return answer
    } catch (error) {
      if (!(error instanceof Unreachable)) key.current = randomKey()
      throw error
    }
  }
}

/** `crypto.randomUUID` is not there on pages without TLS. */
function randomKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
