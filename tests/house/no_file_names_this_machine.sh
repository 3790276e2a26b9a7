#!/bin/bash
# No file contains the path of this checkout, of somebody's home, or of a temporary folder with a number in it.
set -u
here=$(pwd)
pattern='(^|[^[:alnum:]_.])/(home|root|work|Users|tmp/[[:alnum:]_]*[0-9]{3,})/[[:alnum:]]'
found=$(find . -path ./build -prune -o -path ./.git -prune -o -type f -print0 |
    xargs -0 grep -InE -e "$pattern" --)
found+=$(find . -path ./build -prune -o -path ./.git -prune -o -type f -print0 |
    xargs -0 grep -InF -e "$here/" --)
[ -z "$found" ] || { echo "$found" >&2; exit 1; }
