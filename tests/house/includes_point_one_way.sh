#!/bin/bash
# The arrows between folders: a folder includes only itself and those listed here, of another folder only its public
# headers, and every path is written from the project's root.
set -u
declare -A may_include=(
    [base]="base"
    [heap]="base heap"
    [gc]="base heap gc"
    [image]="base heap gc image"
    [interp]="base heap gc interp"
    [asm]="base heap gc interp asm"
)
failed=0
complain() { echo "$1" >&2; failed=1; }

for folder in "${!may_include[@]}"; do
    while IFS=: read -r file line text; do
        included=$(sed 's/^[^"]*"\([^"]*\)".*/\1/' <<<"$text")
        other=${included%%/*}
        [[ $included == */* ]] || complain "$file:$line: \"$included\" is not written from the root"
        [[ " ${may_include[$folder]} " == *" $other "* ]] || complain "$file:$line: $folder may not include $included"
        [[ $other != "$folder" && $included == *_int.h ]] && complain "$file:$line: $included is private to $other"
        [[ -e $included ]] || complain "$file:$line: there is no $included"
    done < <(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' /dev/null "$folder"/*.[ch] "$folder"/*.def "$folder"/*.inc 2>/dev/null)
done
for folder in */; do
    folder=${folder%/}
    compgen -G "$folder/*.c" >/dev/null || continue
    [[ -n ${may_include[$folder]:-} ]] || complain "$folder/: its arrows are not in this test"
done
exit $failed
