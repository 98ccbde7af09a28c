# Build, test and run hatchet.  `make help` lists the targets.
MODULES := base crypto json cel model io db net engine store pb svc api app
include mk/flags.mk
include mk/gen.mk
include mk/deps.mk
include mk/build.mk
include $(filter-out mk/flags.mk mk/gen.mk mk/deps.mk mk/build.mk,$(wildcard mk/*.mk))

.DEFAULT_GOAL := all
.PHONY: all dev help clean
all: build/hatchet	## release binary build/hatchet
dev: build/dbg/hatchet	## debug binary build/dbg/hatchet
clean:	## remove build/
	rm -rf build
help:	## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## ?(.*)/  \1\t\2/' | expand -t18
