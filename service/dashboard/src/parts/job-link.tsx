import { href } from '../lib/route'

/** A link to a job's page. */
export function JobLink({ id }: { id: string }) {
  return (
    <a class="id" href={href(['jobs', id])}>
      {id}
    </a>
  )
}
