import { useRef } from 'preact/hooks'
import { Unreachable } from '../api/client'

type Once = <T>(ask: (key: string) => Promise<T>) => Promise<T>

/** Gives requests that make something a key: the same again only when an answer was lost, so that none is made twice. */
export function useOnce(): Once {
  const key = useRef(made())
  return async (ask) => {
    try {
      const answer = await ask(key.current)
      key.current = made()
      return answer
    } catch (error) {
      if (!(error instanceof Unreachable)) key.current = made()
      throw error
    }
  }
}

/** `crypto.randomUUID` is not there on pages without TLS. */
function made(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
