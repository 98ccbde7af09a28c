# The simulator of the engine: build/dbg/sim SEED STEPS repeats a run, SIM_TRACE=1 tells what happens in it.
SIM_SRCS := $(wildcard tests/sim/*.c)
build/dbg/sim: $(SIM_SRCS:%.c=build/dbg/%.o) build/dbg/lib.a
	@echo '  LD $@'; $(CC) $(CFLAGS_dbg) $(LDFLAGS_dbg) -o $@ $^ $(LIBS)
build/asan/sim: $(SIM_SRCS:%.c=build/asan/%.o) build/asan/lib.a
	@echo '  LD $@'; $(CC) $(CFLAGS_asan) $(LDFLAGS_asan) -o $@ $^ $(LIBS)
.PHONY: sim
sim: build/dbg/sim	## simulate workers, clients, database and faults around the engine: fixed seeds and a new one
	@build/dbg/sim

.PHONY: nightly
nightly: build/dbg/sim	## simulate with new seeds for HOURS (8), and name every seed that fails
	@build/dbg/sim for $$(( $(or $(HOURS),8) * 3600 ))
