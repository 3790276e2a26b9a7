#!/bin/bash
# run-tests.sh TOTALS LABEL PROGRAM...: run test programs, JOBS at a time, and print a line for each; the output of one
# that fails is shown. Adds a line "passed failed" for each to the file TOTALS.
# run-tests.sh --total TOTALS: print the sum; exits 1 if anything failed or nothing ran.
# RUN is a command to run the programs with (valgrind).
set -u

if [ "$1" = --total ]; then
    read -r passed failed < <(awk '{ p += $1; f += $2 } END { print p + 0, f + 0 }' "$2")
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ] && [ "$passed" != 0 ]
    exit
fi

run_one() {
    local program=$1 name log passed failed status
    name=${program##*tests/}
    log=$(mktemp)
    timeout -k 5 "${TEST_SECONDS:-600}" ${RUN:-} "./$program" >"$log" 2>&1
    status=$?
    passed=$(grep -c '^\[       OK \]' "$log")
    failed=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test(s).*/\1/p' "$log" | tail -n 1)
    [[ $program == *.sh && $status == 0 ]] && passed=1
    [[ $status != 0 && ${failed:-0} == 0 ]] && failed=1
    echo "$passed ${failed:-0}" >>"$totals"
    if [ $status = 0 ]; then
        printf 'ok     %-60s %4d\n' "$name" "$passed"
    else
        printf 'FAILED %-60s %4d passed, %d failed, status %d\n' "$name" "$passed" "$failed" "$status"
        sed 's/^/       /' "$log" | tail -n 200
    fi
    rm -f "$log"
}
export -f run_one
export totals=$1
echo "== $2"
shift 2
[ $# -gt 0 ] || exit 0
printf '%s\n' "$@" | xargs -P "${JOBS:-2}" -I{} bash -c 'run_one {}'
