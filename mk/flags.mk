# Compilers and warnings.  Everything in WARN and ALWAYS must be clean with gcc and clang.
CC ?= gcc
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wvla -Walloca \
	-Wformat=2 -Wundef -Wwrite-strings -Wcast-qual -Wpointer-arith -Wimplicit-fallthrough -Wdouble-promotion \
	-Wconversion -Wno-sign-conversion -Wswitch-enum -Wno-unused-parameter -Wno-missing-field-initializers
ALWAYS := -Werror=return-type -Werror=unused-result -Werror=implicit-function-declaration \
	-Werror=incompatible-pointer-types -Werror=int-conversion -Werror=format-security
HARD := -fstack-protector-strong -fno-strict-aliasing -fno-delete-null-pointer-checks -fPIE
DEPS_CACHE ?= $(HOME)/.cache/hatchet/deps
CPPFLAGS := -D_GNU_SOURCE -Iinclude -isystem build/gen -isystem $(DEPS_CACHE)/include -isystem /usr/include/postgresql
CSTD := -std=gnu17
LIBS = -lpq -lnghttp2 -lprotobuf-c -lev -ljansson -lz $(DEPS_CACHE)/lib/libmbedcrypto.a -lm -lpthread
CFLAGS_rel := -O2 -g $(HARD) -D_FORTIFY_SOURCE=2
CFLAGS_dbg := -Og -g3 $(HARD) -Werror -DHATCHET_FAULTS -DHATCHET_SLOW_CHECKS
CFLAGS_asan := -O1 -g3 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -fno-strict-aliasing -DHATCHET_FAULTS -DHATCHET_SLOW_CHECKS
LDFLAGS_rel := -pie -Wl,-z,relro,-z,now
LDFLAGS_dbg := -pie
LDFLAGS_asan := -fsanitize=address,undefined
