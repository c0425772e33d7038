// What a kind of application is to the configuration: how it is written, what that means on this machine, how it is built,
// and what it would do with a request. A new kind is a file with one of these, and a line in the table in index.ts.

import type { z } from 'zod'
import type { Backend, ByteString, GatewayRequest, Log, PoolStatus } from '../../core/index.ts'
import type { CgiLimits } from '../../cgi/index.ts'
import type { PhpLimits } from '../../php/index.ts'
import type { Guard, Spawner } from '../../process/index.ts'
import type { Look } from '../locate.ts'
import type { Down } from '../mending.ts'
import type { PlanEntry } from '../describe.ts'
import type { Secret } from '../values.ts'

/** Looking at what the settings of one application name: every mistake is told, none is thrown. */
export interface DescribeScope {
  /** The application's name. */
  readonly name: string
  /** Where programs are looked for. */
  readonly path: string
  /** A path of the configuration, made absolute from its folder. */
  resolve(path: string): string
  /** A mistake at `member` (`root`, `env.PASSWORD`). */
  problem(member: string, expected: string, got: string): void
  /** The absolute path of a folder that is there and may be entered; a problem otherwise. */
  folder(member: string, path: string): string
  /** The absolute path of a file that can be read; a problem otherwise. */
  file(member: string, path: string): string
  /** Secrets with absolute paths; a problem for each that cannot be read. */
  secrets(member: string, secrets: Readonly<Record<string, Secret>> | undefined): Record<string, Secret>
}

/** What an application is on this machine: plain data. */
export interface Described<Plan> {
  readonly plan: Plan
  /** For the table at the start and for `check`. */
  readonly entries: readonly PlanEntry[]
}

/** What an application gets from the process it lives in. */
export interface BuildScope {
  readonly name: string
  readonly log: Log
  readonly guard?: Guard
  /** Asked for when the first program is to run. */
  readonly spawner?: () => Spawner
  /** What does not come up is a reason for all not to: a front before this one goes on. Default: it costs its own requests. */
  readonly strict?: boolean
  /** Names of those that `strict` is not for: they were down before, too. */
  readonly excused?: ReadonlySet<string>
  /** Hears which are down. */
  readonly down?: Down
  /** All applications together, and the names that its sites have. Asked only once all are built. */
  readonly server?: { pools(): readonly PoolStatus[]; readonly hosts: readonly string[] }
  /** In place of what the plan says. */
  readonly limits?: { readonly php?: Partial<PhpLimits>; readonly cgi?: Partial<CgiLimits> }
}

/** What an application would do with a request. */
export interface Explained {
  /** One sentence: what answers. */
  readonly what: string
  /** What runs: the path of a program or script, the address of an upstream. */
  readonly program?: string
  /** The steps that led to it, in order. */
  readonly why: readonly string[]
  /** Every variable it would get, in the order it gets them; secrets masked. */
  readonly variables?: readonly (readonly [name: ByteString, value: ByteString])[]
  /** What has to be done before it works. */
  readonly problem?: string
}

export interface Kind<Settings extends { readonly kind: string }, Plan> {
  readonly kind: Settings['kind']
  /** One line for the documentation. */
  readonly summary: string
  /** A strict object with `kind`, and a description for each member. */
  schema(): z.ZodObject
  describe(settings: Settings, scope: DescribeScope): Promise<Described<Plan>>
  /** Throws CONFIG where a secret has gone meanwhile. */
  build(plan: Plan, scope: BuildScope): Backend
  /** Runs nothing. `request` is what `build`'s application would get. */
  explain(plan: Plan, request: GatewayRequest): Promise<Explained>
  /** For `tryFiles`: the folder of its files, and which of them are its own. */
  files?(plan: Plan): { readonly root: string; readonly symlinks: boolean; accepts(path: ByteString, look: Look): boolean }
}

/** A kind whose settings and plan only it knows: they come from its own schema and its own `describe`. */
export type AnyKind = Kind<{ readonly kind: string }, unknown>

export function kindOf<Settings extends { readonly kind: string }, Plan>(kind: Kind<Settings, Plan>): AnyKind {
  return kind as unknown as AnyKind
}
