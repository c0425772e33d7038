// What a php-fpm command line asks for, as plain data.

export interface Invocation {
  /** `help` is asked for and ends with 0; `mistake` shows the same and ends with 64. */
  readonly action: 'run' | 'help' | 'mistake' | 'version' | 'information' | 'modules'
  /** `-y` */
  readonly config: string | undefined
  /** `-p` */
  readonly prefix: string | undefined
  /** `-g` */
  readonly pid: string | undefined
  /** `-c`: a php.ini or its folder. */
  readonly phpIni: string | undefined
  /** `-n` */
  readonly noPhpIni: boolean
  /** `-d name=value`, as written, in order. */
  readonly defines: readonly string[]
  /** `-e` */
  readonly extendedInfo: boolean
  /** How often `-t` was given: once tests, twice or more also shows. */
  readonly test: number
  /** `-D`: true, `-F`: false, the last one counts; undefined: as the configuration says. */
  readonly daemonize: boolean | undefined
  /** `-O` */
  readonly forceStderr: boolean
  /** `-R` */
  readonly allowRoot: boolean
}
