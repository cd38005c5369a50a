/** A response in its parts: what the model thought, what it answered, and the rest. Only text, never markup. */

export interface Part {
  kind: 'text' | 'think' | 'answer'
  text: string
}

const TAG = /<(\/?)(think|answer)>/g

/** The parts in order. A part that was never closed reaches to the end; one never opened began with the text. */
export function parts(response: string): Part[] {
  const found: Part[] = []
  let open: Part['kind'] = opensWithoutTag(response) ? 'think' : 'text'
  let place = 0
  for (const tag of response.matchAll(TAG)) {
    add(found, open, response.slice(place, tag.index))
    open = tag[1] ? 'text' : (tag[2] as Part['kind'])
    place = tag.index + tag[0].length
  }
  add(found, open, response.slice(place))
  return found
}

/** Some prompts end in `<think>`, so that the response begins inside it. */
function opensWithoutTag(response: string): boolean {
  const close = response.indexOf('</think>')
  const first = response.search(/<(think|answer)>/)
  return close >= 0 && (first < 0 || close < first)
}

function add(found: Part[], kind: Part['kind'], text: string): void {
  if (text.trim()) found.push({ kind, text: text.replace(/^\n+|\n+$/g, '') })
}
