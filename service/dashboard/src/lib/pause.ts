/** Wait, or stop waiting because nobody needs it any more. */
export function pause(seconds: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000)
    stop.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true })
  })
}
