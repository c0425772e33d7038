// Looking at what the settings of one application name, from its configuration's folder: mistakes are collected, not thrown.

import { accessSync, constants, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { isComputed } from '../core/index.ts'
import { mistake } from './problems.ts'
import { readSecret } from './secrets.ts'
import type { Stats } from 'node:fs'
import type { DescribeScope } from './kinds/kind.ts'
import type { Problem } from './problems.ts'
import type { Secret } from './values.ts'

export interface ScopeOptions {
  readonly name: string
  /** Of the application in the configuration. */
  readonly at: string
  /** What relative paths begin at. */
  readonly folder: string
  readonly path: string
}

/** Tells mistakes to `tell`. */
export function describeScope({ name, at, folder, path }: ScopeOptions, tell: (problem: Problem) => void): DescribeScope {
  const problem: DescribeScope['problem'] = (member, expected, got) => tell(mistake(member === '' ? at : `${at}.${member}`, expected, got))
  const absolute = (given: string): string => resolve(folder, given)
  return {
    name,
    path,
    resolve: absolute,
    problem,
    folder(member, given) {
      const found = absolute(given)
      const why = faultOfFolder(found)
      if (why !== undefined) problem(member, 'a folder', `${found}: ${why}`)
      return found
    },
    file(member, given) {
      const found = absolute(given)
      const why = faultOfFile(found)
      if (why !== undefined) problem(member, 'a file', `${found}: ${why}`)
      return found
    },
    secrets(member, secrets = {}) {
      const out: Record<string, Secret> = {}
      for (const [variable, given] of Object.entries(secrets)) {
        const value = typeof given === 'object' && 'file' in given ? { file: absolute(given.file) } : given
        out[variable] = value
        checkSecret(`${member}.${variable}`, variable, value, problem)
      }
      return out
    },
  }
}

function checkSecret(member: string, variable: string, value: Secret, problem: DescribeScope['problem']): void {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(variable))
    problem(member, 'the name of a variable: letters, digits and "_"', JSON.stringify(variable))
  else if (isComputed(variable)) problem(member, 'a variable that no request decides', `${variable}, which the server computes`)
  try {
    if (readSecret(value, variable).includes('\0')) problem(member, 'a text', 'one with a NUL byte')
  } catch {
    const where = typeof value === 'string' ? '' : 'env' in value ? `${value.env}, which is not set` : `${value.file}, which cannot be read`
    const what = typeof value === 'object' && 'env' in value ? "a variable of Viaduct's own environment" : 'a file that can be read'
    problem(member, what, where)
  }
}

/** Why it is no folder that can be entered; undefined when it is one. */
export function faultOfFolder(path: string): string | undefined {
  const found = look(path)
  if (found === undefined) return 'it does not exist'
  if (!found.isDirectory()) return 'it is not a folder'
  return access(path, constants.X_OK) ? undefined : 'it cannot be entered by the user that Viaduct runs as'
}

function faultOfFile(path: string): string | undefined {
  const found = look(path)
  if (found === undefined) return 'it does not exist'
  if (!found.isFile()) return 'it is not a file'
  return access(path, constants.R_OK) ? undefined : 'it cannot be read by the user that Viaduct runs as'
}

function look(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch {
    // Not there, or in a folder that may not be entered: for us it does not exist.
    return undefined
  }
}

function access(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}
