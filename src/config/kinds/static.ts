// `static`: files, and nothing that runs.

import { hasDotSegment, isHidden, staticFiles } from '../../static/index.ts'
import { group, list, may, must, text, yes, zod } from '../values.ts'
import type { Kind } from './kind.ts'

interface StaticSettings {
  readonly kind: 'static'
  readonly root: string
  readonly index?: readonly string[]
  readonly symlinks?: boolean
}

interface StaticPlan {
  readonly root: string
  readonly index: readonly string[]
  readonly symlinks: boolean
}

export const files: Kind<StaticSettings, StaticPlan> = {
  kind: 'static',
  summary: 'Files: types, ETag, ranges, precompressed forms (`.br`, `.gz`). Dotfiles and sources of programs are never sent.',
  schema: () =>
    group({
      kind: zod().literal('static'),
      root: must(text('the path of a folder'), 'The folder.'),
      index: may(list(text('the name of a file'), 'a list of names'), 'What shows a folder, the first that exists.', ['index.html']),
      symlinks: may(yes(), 'Symbolic links may lead out of the folder.', false),
    }),

  describe({ root, index = ['index.html'], symlinks = false }, scope) {
    const plan = { root: scope.folder('root', root), index, symlinks }
    return Promise.resolve({ plan, entries: [{ path: plan.root, kind: 'static' }] })
  },

  build: (plan) => staticFiles(plan),

  explain(plan, request) {
    const path = request.pathInfo
    if (hasDotSegment(path)) return Promise.resolve({ what: 'status 404', why: ['a name that begins with a dot is not served'] })
    if (isHidden(path)) return Promise.resolve({ what: 'status 404', why: ['program sources and configuration are not served'] })
    const shown = path.endsWith('/') ? ` (${plan.index.join(', ')} of that folder)` : ''
    return Promise.resolve({
      what: 'a file, or status 404 where it does not exist',
      program: `${plan.root}${path}${shown}`,
      why: [`files lie in ${plan.root}`],
    })
  },

  // What it would not send is as good as absent, so that a route after it gets its turn.
  files: (plan) => ({ root: plan.root, symlinks: plan.symlinks, accepts: (path) => !isHidden(path) }),
}
