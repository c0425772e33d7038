import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { PYTHON } from '../../test/fixtures/wsgi/open.ts'
import { has } from '../../test/peers.ts'
import { describeWsgi, findPython, locate, pythonVersion } from './find.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-test-find-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function lay(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
}

describe('the application of a folder', () => {
  test.each<[string, Readonly<Record<string, string>>, string | undefined, string]>([
    ['wsgi.py whatever is in it', { 'wsgi.py': '' }, 'wsgi.py', 'wsgi'],
    ['passenger_wsgi.py', { 'passenger_wsgi.py': '' }, 'passenger_wsgi.py', 'wsgi'],
    ['app.py with app', { 'app.py': 'from flask import Flask\napp = Flask(__name__)\n' }, 'app.py', 'wsgi'],
    ['app.py with a factory', { 'app.py': 'def create_app():\n  pass\n' }, 'app.py', 'wsgi'],
    ['app.py that imports one', { 'app.py': 'from site_ import application\n' }, 'app.py', 'wsgi'],
    [
      'application.py with a function',
      { 'application.py': 'def application(environ, start_response):\n  pass\n' },
      'application.py',
      'wsgi',
    ],
    ['wsgi.py before app.py', { 'app.py': 'app = 1\n', 'wsgi.py': '' }, 'wsgi.py', 'wsgi'],
    ['manage.py of Django', { 'manage.py': `os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'x.settings')` }, 'manage.py', 'django'],
    ['no app.py that is a script', { 'app.py': 'print("hello")\n  app = 1\n' }, undefined, ''],
    ['no manage.py that is not Django', { 'manage.py': 'print("hello")\n' }, undefined, ''],
    ['no folder without any', { 'main.py': 'app = 1\n' }, undefined, ''],
  ])('is %s', async (_, files, name, kind) => {
    lay(files)
    const found = await describeWsgi(folder)
    if (name === undefined) expect(found).toBeUndefined()
    else expect(found).toMatchObject({ file: join(folder, name), kind })
  })

  test.skipIf(!has('python3'))('comes with its Python and the version of that', async () => {
    lay({ 'wsgi.py': '' })
    expect(await describeWsgi(folder, dirname(PYTHON))).toMatchObject({
      python: PYTHON,
      version: expect.stringMatching(/^3\.\d+\.\d+/),
      venv: undefined,
    })
    const none = await describeWsgi(folder, '/nowhere')
    expect([none?.python, none?.version]).toEqual([undefined, undefined])
  })
})

describe.skipIf(!has('python3'))('Python', () => {
  test.each(['venv', '.venv'])('is that of a %s in the folder', async (name) => {
    lay({ 'wsgi.py': '' })
    mkdirSync(join(folder, name, 'bin'), { recursive: true })
    symlinkSync(PYTHON, join(folder, name, 'bin', 'python'))
    expect(findPython(folder)).toBe(join(folder, name, 'bin', 'python'))
    expect((await describeWsgi(folder))?.venv).toBe(join(folder, name))
  })

  test('is the first python3 on PATH otherwise, and that name where there is none', () => {
    writeFileSync(join(folder, 'python3'), '#!/bin/sh\n')
    chmodSync(join(folder, 'python3'), 0o755)
    expect(findPython('/', folder)).toBe(join(folder, 'python3'))
    expect(findPython('/', '/nowhere')).toBe('python3')
  })

  test('has no version when it is none', async () => {
    expect(await pythonVersion('/bin/false')).toBeUndefined()
    expect(await pythonVersion('/nowhere')).toBeUndefined()
  })
})

describe('what a worker is told', () => {
  test('is a file, by its path or by its name in the folder, or a module', () => {
    lay({ 'app.py': '', 'package/wsgi.py': '' })
    expect(locate(join(folder, 'app.py'), undefined)).toEqual({ application: join(folder, 'app.py'), folder })
    expect(locate('package/wsgi.py', folder)).toEqual({ application: join(folder, 'package/wsgi.py'), folder })
    expect(locate('package.wsgi:app', folder)).toEqual({ application: 'package.wsgi:app', folder })
    expect(locate('package:make()', folder)).toEqual({ application: 'package:make()', folder })
  })

  test.each(['nothing.py', 'package/none', '/nowhere', 'a b', 'a:b:c', 'a:', 'a-b', ''])('is never %j', (app) => {
    expect(() => locate(app, folder)).toThrow(expect.objectContaining({ code: 'CONFIG' }))
  })
})
