#!/bin/sh
# The event loop.
# shellcheck disable=SC2154,SC2164 # sourced by build-deps.sh after compile.sh, which says what is set
cp "$src/ev.h" "$out/include/"
objects o -I"$src" -fno-strict-aliasing -DEV_STANDALONE=1 -DEV_USE_EPOLL=1 -DEV_USE_EVENTFD=1 -DEV_USE_TIMERFD=1 \
	-DEV_USE_SIGNALFD=1 -DEV_USE_MONOTONIC=1 -DEV_USE_REALTIME=0 -DEV_USE_CLOCK_SYSCALL=0 -DEV_USE_NANOSLEEP=1 \
	-DEV_USE_SELECT=0 -DEV_USE_POLL=1 -- "$src/ev.c"
archive libev.a o
