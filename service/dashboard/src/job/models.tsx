/** The models that the job has read, each as a table that opens. */

import { facts, latestModels, summary } from '../lib/loaded'
import { Problem } from '../parts/problem'
import { useHistory } from './history'
import type { JobProps } from './props'

export function Models({ live }: Pick<JobProps, 'live'>) {
  const history = useHistory(live, ['loaded'])
  return (
    <div class="models">
      <Problem error={history.problem} />
      {latestModels(history.events).map((report) => (
        <details key={report.role}>
          <summary>{summary(report)}</summary>
          <table>
            <tbody>
              {facts(report).map(([name, value], index) => (
                <tr key={index}>
                  <th scope="row">{name}</th>
                  <td>{value}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </details>
      ))}
    </div>
  )
}
