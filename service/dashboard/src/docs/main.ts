/** The API's documentation: Swagger UI, served from here with everything that it needs. */

import 'swagger-ui-dist/swagger-ui.css'
import SwaggerUI from 'swagger-ui-dist/swagger-ui-es-bundle'

SwaggerUI({
  dom_id: '#docs',
  url: new URL('openapi.json', location.href).href,
  deepLinking: true,
  validatorUrl: null, // a badge of a public service, which would be sent the address of this one
})
