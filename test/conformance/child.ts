// A program made with serveCgi, under lint on its own side of the gateway.

import { serveCgi } from '../../src/cgi/index.ts'
import { lint } from '../../src/core/index.ts'
import { answer } from './answer.ts'

await serveCgi(lint(answer))
