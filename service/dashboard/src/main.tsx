import 'uplot/dist/uPlot.min.css'
import './styles/tokens.css'
import './styles/base.css'
import './styles/frame.css'
import './styles/jobs.css'
import './styles/job.css'
import './styles/service.css'
import './styles/charts.css'
import './styles/samples.css'
import './styles/events.css'
import { render } from 'preact'
import { resume } from './api/login'
import { App } from './app'

void resume()
render(<App />, document.getElementById('app')!)
