import type { Sample } from '../api/samples'
import { number } from '../lib/format'
import { parts, type Part } from '../lib/response'

/** One response: prompt, thinking, answer and rewards. */
export function SampleCard({ sample }: { sample: Sample }) {
  return (
    <article class="sample" aria-label={`Response at step ${sample.step}`}>
      <Heading sample={sample} />
      <div class="texts">
        <div class="prompt">
          <h3>Prompt</h3>
          <pre>{sample.prompt}</pre>
          {sample.answer !== null && (
            <>
              <h3>Reference answer</h3>
              <pre>{sample.answer}</pre>
            </>
          )}
        </div>
        <div class="response">
          {parts(sample.response).map((part, index) => (
            <PartBlock key={index} part={part} />
          ))}
          {sample.response.trim() === '' && <p class="muted">The response is empty.</p>}
        </div>
      </div>
    </article>
  )
}

function Heading({ sample }: { sample: Sample }) {
  return (
    <header>
      <span>
        step <b>{sample.step}</b>
      </span>
      <span class="split">{sample.split}</span>
      {sample.reward !== null && <span class={`reward ${tone(sample)}`}>reward {number(sample.reward)}</span>}
      {Object.entries(sample.rewards).map(([name, value]) => (
        <span key={name} class="part">
          {name} {number(value)}
        </span>
      ))}
      <span class="tokens">{sample.tokens} tokens</span>
      {sample.truncated && (
        <span class="truncated" title="stopped at max_completion_length">
          truncated
        </span>
      )}
    </header>
  )
}

/** Green only for full marks in every reward: a reward for format alone should not look like a correct answer. */
function tone({ reward, rewards }: Sample): string {
  const marks = Object.values(rewards)
  if (marks.length > 0 && marks.every((mark) => mark !== null && mark >= 1)) return 'good'
  return reward !== null && reward <= 0 ? 'bad' : ''
}

const TITLES: Record<Part['kind'], string> = { text: 'Response', think: 'Thinking', answer: 'Answer' }

function PartBlock({ part }: { part: Part }) {
  return (
    <div class={part.kind}>
      <h3>{TITLES[part.kind]}</h3>
      <pre>{part.text}</pre>
    </div>
  )
}
