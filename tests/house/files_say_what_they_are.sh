#!/bin/bash
# Every C file begins with its own path and what it is for; a test, whose name is a claim, with what it is about.
set -u
failed=0
while read -r file; do
    file=${file#./}
    first=$(head -n 1 "$file")
    [[ $file == tests/* && $first == "// "[A-Za-z]* ]] ||
        [[ $first == "// $file: "?* ]] ||
        { echo "$file:1: should begin with // $file: what it is for" >&2; failed=1; }
done < <(find . -path ./build -prune -o -path ./.git -prune -o \( -name '*.c' -o -name '*.h' -o -name '*.def' -o -name '*.inc' \) -print)
exit $failed
