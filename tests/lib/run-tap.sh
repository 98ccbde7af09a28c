#!/bin/sh
# Runs TAP programs one after the other: shows only what failed, then one line of sums.
# TAP_VERBOSE=1 shows everything.
bad=0 passed=0 failed=0 skipped=0
for t in "$@"; do
	out=$("$t" 2>&1)
	rc=$?
	p=$(printf '%s\n' "$out" | grep -c '^ok ')
	s=$(printf '%s\n' "$out" | grep -c '^ok .*# SKIP$')
	f=$(printf '%s\n' "$out" | grep -c '^not ok ')
	[ $rc -eq 0 ] || [ "$f" -gt 0 ] || f=1
	passed=$((passed + p - s)) failed=$((failed + f)) skipped=$((skipped + s))
	if [ $rc -ne 0 ]; then
		bad=$((bad + 1))
		printf '%s FAILED\n%s\n' "$t" "$out" | grep -v '^ok '
	elif [ -n "$TAP_VERBOSE" ]; then
		printf '%s\n%s\n' "$t" "$out"
	fi
done
echo "$# programs, $bad of them failed"
echo "$passed passed, $failed failed, $skipped skipped"
[ $bad -eq 0 ]
