// The command line of `viaduct completion`. Apart from what it does, which loads more.

import type { CommandHelp } from './help.ts'

export const SHELLS = ['bash', 'zsh', 'fish'] as const

export const COMPLETION: CommandHelp = {
  name: 'completion',
  usage: 'bash | zsh | fish',
  summary: 'Print a script by which a shell completes commands and options',
  about: ['The script knows all commands, their options, what these may be followed by, and files. Print it anew', 'after an update.'].join(
    '\n',
  ),
  words: SHELLS,
  options: { help: { short: 'h', help: 'This help' } },
  examples: [
    ['viaduct completion bash > ~/.local/share/bash-completion/completions/viaduct', 'bash, with bash-completion'],
    ['eval "$(viaduct completion bash)"', 'bash, in ~/.bashrc'],
    ['viaduct completion zsh > ~/.zfunc/_viaduct', 'zsh; ~/.zshrc: fpath+=~/.zfunc; autoload -Uz compinit; compinit'],
    ['viaduct completion fish > ~/.config/fish/completions/viaduct.fish', 'fish'],
  ],
}
