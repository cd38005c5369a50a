/** The parts of a response: thinking, answer and other text. Plain text, never markup. */

export interface Part {
  kind: 'text' | 'think' | 'answer'
  text: string
}

const TAG = /<(\/?)(think|answer)>/g

/** The parts in order. An unclosed part reaches to the end; an unopened one begins at the start. */
export function parts(response: string): Part[] {
  const collected: Part[] = []
  let open: Part['kind'] = opensWithoutTag(response) ? 'think' : 'text'
  let place = 0
  for (const tag of response.matchAll(TAG)) {
    add(collected, open, response.slice(place, tag.index))
    open = tag[1] ? 'text' : (tag[2] as Part['kind'])
    place = tag.index + tag[0].length
  }
  add(collected, open, response.slice(place))
  return collected
}

/** Some prompts end in `<think>`, so that the response begins inside it. */
function opensWithoutTag(response: string): boolean {
  const close = response.indexOf('</think>')
  const first = response.search(/<(think|answer)>/)
  return close >= 0 && (first < 0 || close < first)
}

function add(parts: Part[], kind: Part['kind'], text: string): void {
  if (text.trim()) parts.push({ kind, text: text.replace(/^\n+|\n+$/g, '') })
}
