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
# schema.sql and the files of web/ are carried inside the binary
build/gen/embed.S: schema.sql tools/genembed.py $(wildcard web/*)
	@mkdir -p build/gen
	python3 tools/genembed.py build/gen schema.sql $(wildcard web/*)
