#!/bin/sh
# A local redirect (RFC 3875, 6.2.2): a Location that is a path, and nothing else. The server sends what is there, and the
# browser does not hear of it: the address stays.

printf 'Location: /cgi-bin/path.sh/sent/here/by/elsewhere.sh\n\n'
