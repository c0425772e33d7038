#!/bin/sh
# Node tells modules by their suffix, so the program proper is beside this file. exec: the process that is watched is the program itself.
exec node "$(dirname "$0")/guestbook.mjs"
