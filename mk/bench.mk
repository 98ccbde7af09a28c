# The load driver and `make bench`.
DRIVER_SRCS := $(wildcard bench/driver/*.c)
build/bench/driver: $(DRIVER_SRCS:%.c=build/opt/%.o) build/opt/lib.a
	@mkdir -p $(@D)
	@echo '  LD $@'; $(CC) $(CFLAGS_opt) $(LDFLAGS_opt) -o $@ $^ $(LIBS)
build/bench/floor: build/opt/bench/floor.o
	@mkdir -p $(@D)
	@echo '  LD $@'; $(CC) $(CFLAGS_opt) $(LDFLAGS_opt) -o $@ $^ -lpq

.PHONY: bench
bench: all build/bench/driver build/bench/floor	## measure (docs/performance.md); B=--full: with a backlog of a million; B=--quick
	python3 bench/run.py $(B)
