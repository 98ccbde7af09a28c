# Generated code: protobuf-c from proto/, statements from src/store/sql/, both under build/gen, never in git.
PROTOS := $(wildcard proto/*.proto)
GEN_PB_C := $(PROTOS:proto/%.proto=build/gen/pb/%.pb-c.c)
SQLS := $(wildcard src/store/sql/*.sql)
GEN := $(GEN_PB_C) build/gen/sql.h build/gen/sql.c build/gen/embed.S

build/gen/pb/%.pb-c.c: proto/%.proto
	@mkdir -p build/gen/pb
	protoc-c -Iproto --c_out=build/gen/pb $<
build/gen/sql.h build/gen/sql.c &: $(SQLS) tools/gensql.py
	@mkdir -p build/gen
	python3 tools/gensql.py build/gen $(SQLS)
# the schema, the files of web/ and the projects of quickstart/ are carried inside the binary
EMBED := schema.sql src/store/functions.sql $(wildcard web/*) $(sort $(shell find quickstart -type f))
# a file that comes or goes changes no time stamp of another: the list itself is looked at
build/gen/embed.list: FORCE
	@mkdir -p build/gen
	@echo '$(EMBED)' | cmp -s - $@ || echo '$(EMBED)' > $@
.PHONY: FORCE
build/gen/embed.S: build/gen/embed.list $(EMBED) tools/genembed.py
	python3 tools/genembed.py build/gen $(EMBED)
