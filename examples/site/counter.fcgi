#!/bin/sh
# Node tells modules by their suffix, so the program proper is beside this file; a name with a dot in front is never sent.
# exec: the process that is watched is the program itself.
exec node "${0%/*}/.counter.mjs"
