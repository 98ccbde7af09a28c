#!/bin/sh
# Runs TAP programs one after the other: shows only what failed, then one line of sums.
# TAP_VERBOSE=1 shows everything.
bad=0 total=0 skipped=0
for t in "$@"; do
	out=$("$t" 2>&1)
	rc=$?
	n=$(printf '%s\n' "$out" | grep -c '^ok ')
	s=$(printf '%s\n' "$out" | grep -c '# SKIP$')
	total=$((total + n))
	skipped=$((skipped + s))
	if [ $rc -ne 0 ]; then
		bad=$((bad + 1))
		printf '%s FAILED\n%s\n' "$t" "$out" | grep -v '^ok '
	elif [ -n "$TAP_VERBOSE" ]; then
		printf '%s\n%s\n' "$t" "$out"
	fi
done
echo "$# programs, $total tests passed ($skipped skipped), $bad programs failed"
[ $bad -eq 0 ]
