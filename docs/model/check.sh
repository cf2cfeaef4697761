#!/bin/sh
# Checks declared.pml: what must hold, and that each check can fail. Ends non-zero otherwise.
set -eu

model=$(cd "$(dirname "$0")" && pwd)/declared.pml
cc=${CC:-cc}
for tool in spin "$cc"; do
	command -v "$tool" >/dev/null || { echo "make model needs $tool; on Debian: apt-get install spin gcc libc6-dev" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

verdict=0

# run NAME EXPECTED(holds|fails) KIND(safety|liveness) [spin -D flags]
run() {
	name=$1 expected=$2 kind=$3
	shift 3
	rm -f pan pan.* ./*.trail
	spin -a "$@" "$model" >spin.out 2>&1 || { cat spin.out >&2; exit 1; }
	case $kind in
	safety) flags='-DSAFETY -DNOCLAIM' args='' ;;
	*) flags='-DNFAIR=3' args='-a -f' ;;
	esac
	"$cc" -O1 -w -DCOLLAPSE -DMEMLIM=2048 $flags -o pan pan.c
	./pan -m1000000 $args >out 2>&1 || true
	states=$(awk '/states, stored/ {print $1}' out)
	took=$(awk '/elapsed time/ {print $4}' out)
	# A search that was cut short has shown nothing.
	if grep -q -e 'out of memory' -e 'max search depth' -e 'reached -DMEMLIM' -e 'too small' out; then
		got=unfinished
	elif grep -q 'errors: 0$' out; then
		got=holds
	elif grep -q 'errors: 1$' out; then
		got=fails
	else
		got=unfinished
	fi
	mark=ok
	[ "$got" = "$expected" ] || { mark=WRONG verdict=1; cat out >&2; }
	printf '%-5s %-6s %-9s %10s states %6s s  %s\n' "$mark" "$got" "$kind" "$states" "$took" "$name"
	if [ "$got" = fails ]; then
		sed -n 's/^pan:1: /      /p' out
	fi
	if [ "$got" = fails ] && [ -n "${TRACE:-}" ]; then
		spin -t -p -g "$@" "$model"
	fi
}

run 'the protocol: stored exactly once' holds safety -DN=3
run 'the protocol: never stuck' holds liveness -DN=3 -DTROUBLES=2
run 'without the fence' fails safety -DN=3 -DNO_FENCE
run 'without the token' fails safety -DN=3 -DNO_TOKEN
run 'without the declaration' fails safety -DN=3 -DNO_DECLARE
run 'without joining anew: a commit arrives late' fails safety -DLATE_COMMIT
run '... joining anew after a silent commit, as the code does' holds safety -DN=3 -DTROUBLES=2 -DLATE_COMMIT -DREJOIN_ON_SILENCE
run 'the window of tokens passes over a batch stored in part' holds safety -DN=3 -DTROUBLES=2 -DFORGETS=1
run '... but a redo did not look at each table' fails safety -DN=3 -DFORGETS=1 -DNO_LOOK
run '... but an attempt after an error did not look' fails safety -DN=3 -DFORGETS=1 -DNO_LOOK_AGAIN
run 'a token is noted without its rows' holds safety -DN=3 -DTROUBLES=2 -DNOTES=1
run '... twice' holds safety -DN=2 -DTROUBLES=2 -DNOTES=2
run '... but nobody looked after an insert' fails safety -DN=3 -DNOTES=1 -DNO_NEXT_TOKEN
run '... but what a zombie did counts as done' fails safety -DN=3 -DTROUBLES=2 -DNOTES=1 -DTRUST_DONE
run 'limit: the window passes in the middle of an insert' fails safety -DN=3 -DFORGETS=1 -DPAUSED_IN_INSERT
exit $verdict
