# Compilers and warnings.  Everything in WARN and ALWAYS must be clean with gcc and clang.
CC ?= gcc
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wvla -Walloca \
	-Wformat=2 -Wundef -Wwrite-strings -Wcast-qual -Wpointer-arith -Wimplicit-fallthrough -Wdouble-promotion \
	-Wconversion -Wno-sign-conversion -Wswitch-enum -Wno-unused-parameter -Wno-missing-field-initializers
ALWAYS := -Werror=return-type -Werror=unused-result -Werror=implicit-function-declaration \
	-Werror=incompatible-pointer-types -Werror=int-conversion -Werror=format-security
HARD := -fstack-protector-strong -fno-strict-aliasing -fno-delete-null-pointer-checks -fPIE
CSTD := -std=gnu17
# rel is what ships: static with musl, every library from source (deps.lock).  All other modes are for the machine that builds.
DEPS_CACHE ?= $(HOME)/.cache/hatchet/deps
# what of the cache is this tree's: links
DEPS := $(CURDIR)/build/deps
SHIP := -O2 -g $(HARD) -ftrivial-auto-var-init=zero -ffunction-sections -fdata-sections -ffile-prefix-map=$(CURDIR)=. \
	-fno-canonical-system-headers
CFLAGS_rel := $(SHIP)
CFLAGS_arm64 := $(SHIP) -mno-outline-atomics
CFLAGS_opt := -O2 -g $(HARD) -D_FORTIFY_SOURCE=2
CFLAGS_dbg := -Og -g3 $(HARD) -Werror -DHATCHET_FAULTS -DHATCHET_SLOW_CHECKS
CFLAGS_asan := -O1 -g3 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -fno-strict-aliasing -DHATCHET_FAULTS -DHATCHET_SLOW_CHECKS
LDFLAGS_rel := -static-pie -Wl,-z,relro,-z,now,-z,noexecstack,--gc-sections,--build-id=sha1
LDFLAGS_arm64 := $(LDFLAGS_rel)
LDFLAGS_opt := -pie -Wl,-z,relro,-z,now
LDFLAGS_dbg := -pie
LDFLAGS_asan := -fsanitize=address,undefined
CC_rel := $(DEPS)/x64/bin/cc
CC_arm64 := $(DEPS)/arm64/bin/cc
# the compilers of rel and arm64 know their headers themselves
CPPFLAGS_rel := -D_GNU_SOURCE -Iinclude -isystem build/gen
CPPFLAGS_arm64 := $(CPPFLAGS_rel)
CPPFLAGS := $(CPPFLAGS_rel) -isystem $(DEPS)/glibc/include -isystem /usr/include/postgresql
MBEDTLS := libmbedtls.a libmbedx509.a libmbedcrypto.a
SHIPPED := libmimalloc.o libpq.a libnghttp2.a libprotobuf-c.a libev.a libjansson.a libz.a libzstd.a $(MBEDTLS)
LIBS_rel = $(addprefix $(DEPS)/x64/lib/,$(SHIPPED)) -lm
LIBS_arm64 = $(addprefix $(DEPS)/arm64/lib/,$(SHIPPED)) -lm
LIBS = -lpq -lnghttp2 -lprotobuf-c -lev -ljansson -lz -lzstd $(addprefix $(DEPS)/glibc/lib/,$(MBEDTLS)) -lm -lpthread
